"""``wrapup accounts``: set up, listed, held, released, tested."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.options import AsJson, AsJsonLines, DataDir, Reason
from app.cli.printing import cell, console, note, print_json, table
from app.cli.secrets import read_secret
from app.cli.session import run
from app.cloudagent.client import FLAVOURS
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.services.trials import Result, Trial
from app.storage.accounts import Account
from app.wiring import Services

accounts = typer.Typer(no_args_is_help=True, help="CloudAgent's customers: set up, hold, release, test.")

Customer = Annotated[str, typer.Argument(help="CloudAgent's user name.", show_default=False)]

_SHOWN = (
    *("customer", "base_url", "path", "api", "max_in_flight", "rate_per_second", "callback_format"),
    *("late_callback", "on_hold", "hold_cause", "hold_reason", "held_at", "doubt", "probe_at", "learned_rate"),
    *("created_at", "updated_at"),
)


@accounts.command("set")
def set_account(
    customer: Customer,
    api_key_stdin: Annotated[
        bool, typer.Option("--api-key-stdin", help="Read the apiKey from stdin; in a terminal, ask for it.")
    ] = False,
    base_url: Annotated[str | None, typer.Option(help="Where CloudAgent is: https://HOST")] = None,
    path: Annotated[str | None, typer.Option(help="In place of the path that the API has by its manual.")] = None,
    api: Annotated[str | None, typer.Option(help=f"The flavour of the API: {', '.join(FLAVOURS)}")] = None,
    rate_per_second: Annotated[float | None, typer.Option(help="Calls a second at most; 0: no limit.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Calls at a time at most.")] = None,
    late_callback: Annotated[
        str | None, typer.Option(help="Once a call-back time has passed: `deliver` all the same, or `review` first.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an account, or change what is given of it.

    With a new apiKey or address one call goes first, as a probe. That lifts a hold whose cause was the old one; what
    an operator holds `wrapup accounts release` lets go.
    """
    given = (base_url, path, api, rate_per_second, max_in_flight, late_callback)
    if not api_key_stdin and all(one is None for one in given):
        raise typer.BadParameter("nothing to set: give --api-key-stdin or another option")
    settings = AccountSettings(
        api_key=read_secret("api_key", f"apiKey of {customer}") if api_key_stdin else None,
        base_url=base_url,
        path=path,
        api=api,
        max_in_flight=max_in_flight,
        rate_per_second=rate_per_second,
        late_callback=late_callback,
    )

    async def work(services: Services) -> Account:
        return await services.accounts.set(customer, settings, actor=OPERATOR.actor)

    account = run(work, data_dir)
    _print(account, as_json)
    if account.on_hold and not as_json:
        note(f"It is on hold. `wrapup accounts release {customer}` lets it go on.")


@accounts.command("list")
def list_accounts(data_dir: DataDir = None, as_json: AsJsonLines = False) -> None:
    """List the accounts."""

    async def work(services: Services) -> list[Account]:
        return await services.accounts.all()

    found = run(work, data_dir)
    if as_json:
        for account in found:
            print_json(_shown(account))
        return
    rows = table("account", "base URL", "API", "in flight", "a second", "in doubt", "on hold", "since", "why")
    for one in found:
        where = one.base_url + (one.path or "")
        limits = (str(one.max_in_flight), _rate(one))
        hold = map(cell, (one.hold_cause, one.held_at, one.hold_reason))
        rows.add_row(cell(one.customer), cell(where), cell(one.api), *limits, _doubt(one), *hold)
    console(wide=True).print(rows)


@accounts.command()
def hold(customer: Customer, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop an account's deliveries at once. They wait; nothing is dropped."""

    async def work(services: Services) -> Account:
        return await services.accounts.hold(customer, actor=OPERATOR.actor, reason=reason)

    _print(run(work, data_dir), as_json)


@accounts.command()
def release(customer: Customer, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let an account's deliveries go on."""

    async def work(services: Services) -> Account:
        return await services.accounts.release(customer, actor=OPERATOR.actor, reason=reason)

    _print(run(work, data_dir), as_json)


_RESULTS = {Result.OK: "ok", Result.FAILED: "failed", Result.NOT_CHECKED: "not checked"}


@accounts.command("test")
def try_account(customer: Customer, reason: Reason = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Try an account's address and credentials without disposing a call.

    Works on hold, too. With v2-json-token it makes a token, which counts among the ten of an hour. Exit status 1 if
    something failed; what could not be checked did not fail.
    """

    async def work(services: Services) -> Trial:
        return await services.trials.run(customer, actor=OPERATOR.actor, reason=reason)

    trial = run(work, data_dir)
    if as_json:
        print_json({"customer": trial.customer, "api": trial.api, "ok": trial.ok, "checks": trial.checks})
    else:
        for check in trial.checks:
            todo = f" -> {check.todo}" if check.todo else ""
            print(cell(f"{_RESULTS[check.result]:11}  {check.name}: {check.found}{todo}"))
    if not trial.ok:
        raise typer.Exit(1)


def _rate(account: Account) -> str:
    rate = "any" if account.rate_per_second is None else f"{account.rate_per_second:g}"
    return rate if account.learned_rate is None else f"{rate}, now {account.learned_rate:.2g}"


def _doubt(account: Account) -> str:
    return "" if account.doubt is None else f"{account.doubt}, probe {cell(account.probe_at)}"


def _shown(account: Account) -> dict[str, Any]:
    return {name: getattr(account, name) for name in _SHOWN}


def _print(account: Account, as_json: bool) -> None:
    if as_json:
        print_json(_shown(account))
    elif account.on_hold:
        why = f": {account.hold_reason}" if account.hold_reason else ""
        print(cell(f"{account.customer} on hold ({account.hold_cause}){why}"))
    elif account.doubt is not None:
        print(
            cell(f"{account.customer} {account.base_url}, in doubt ({account.doubt}): one call goes first, as a probe")
        )
    else:
        print(cell(f"{account.customer} {account.base_url}"))
