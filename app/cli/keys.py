"""``wrapup keys``: the keys of those who use the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.options import AsJson, AsJsonLines, DataDir, Reason, duration
from app.cli.printing import cell, console, note, print_json, table
from app.cli.session import run
from app.services.keys import OPERATOR, Scope
from app.storage.keys import Key
from app.wiring import Services

keys = typer.Typer(no_args_is_help=True, help="Keys for the API: make, list, rotate, revoke.")

Name = Annotated[str, typer.Argument(help="Whose key it is: crm-prod, say.", show_default=False)]


@keys.command()
def create(
    name: Name,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it may do: {', '.join(Scope)}. Give it once for each.")
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Bind it to this account; may be repeated. Else all are its own.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it works: 90d, say. Else until revoked.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, only it, and only now."""
    expires_at = None if expires is None else datetime.now(UTC) + duration("--expires", expires)

    async def work(services: Services) -> str:
        return await services.keys.create(name, scope or (), account or (), expires_at=expires_at, actor=OPERATOR.actor)

    key = run(work, data_dir)
    if as_json:
        shown = {"name": name, "key": key, "scopes": scope, "accounts": account or [], "expires_at": expires_at}
        print_json(shown)
    else:
        print(key)
        note("Keep it now: it is stored as a digest only, and can't be shown again.")


@keys.command("list")
def list_keys(data_dir: DataDir = None, as_json: AsJsonLines = False) -> None:
    """List the keys, each by its first characters."""

    async def work(services: Services) -> list[Key]:
        return await services.keys.all()

    found = run(work, data_dir)
    if as_json:
        for key in found:
            print_json(key)
        return
    rows = table("name", "key", "scopes", "accounts", "created", "last used", "replaced", "expires", "revoked")
    for key in found:
        bound = ", ".join(key.accounts) or "all"
        times = map(cell, (key.created_at, key.last_used_at, key.replaced_at, key.expires_at, key.revoked_at))
        rows.add_row(cell(key.name), f"{key.prefix}…", ", ".join(key.scopes), cell(bound), *times)
    console(wide=True).print(rows)


@keys.command()
def rotate(
    name: Name,
    grace: Annotated[
        str, typer.Option(help="How long the keys that it has work yet: 24h, say. 0s: they end now.")
    ] = "24h",
    expires: Annotated[
        str | None, typer.Option(help="How long the new one works: 90d, say. Else as long as the last one was given.")
    ] = None,
    reason: Reason = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a client's new key and print it, only it, and only now. Those that it has work for a grace yet."""
    left = duration("--grace", grace)
    expires_at = None if expires is None else datetime.now(UTC) + duration("--expires", expires)

    async def work(services: Services) -> tuple[str, Key]:
        key = await services.keys.rotate(name, grace=left, expires_at=expires_at, actor=OPERATOR.actor, reason=reason)
        return key, await services.keys.get(name)

    key, stored = run(work, data_dir)
    if as_json:
        print_json(
            {
                "name": name,
                "key": key,
                "scopes": stored.scopes,
                "accounts": stored.accounts,
                "expires_at": stored.expires_at,
            }
        )
    else:
        print(key)
        note(f"Keep it now: it can't be shown again. The keys that {name} has work for {grace} yet.")


@keys.command()
def revoke(name: Name, reason: Reason = None, data_dir: DataDir = None) -> None:
    """Make a client's keys useless, within seconds."""

    async def work(services: Services) -> None:
        await services.keys.revoke(name, actor=OPERATOR.actor, reason=reason)

    run(work, data_dir)
    print(cell(f"{name} revoked"))
