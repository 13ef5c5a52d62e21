"""The apiKey of an account is nowhere but encrypted in its row and on the wire, whatever fails, at debug log level."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator, Collection, Iterable
from urllib.parse import quote, quote_plus

import pytest
import redis
import structlog
from deliveries import ask, deliver, fields, ms, open_account, post, pumping, ucid, until

from app.domain.errors import InvalidInput
from app.domain.filters import Filter
from app.logging import configure_logging
from app.sandbox import DECORATIONS, FAULTS, Account, Sandbox
from app.sandbox.rules import Verdict
from app.secrets import Secret
from app.services.accounts import AccountSettings
from app.services.keys import OPERATOR
from app.settings import Settings
from app.wiring import Services

CANARY = "KK+canary/0123456789=%&"
SPELLINGS = {
    CANARY,
    quote(CANARY, safe=""),
    quote_plus(CANARY),
    quote(CANARY),
    base64.b64encode(CANARY.encode()).decode(),
    CANARY.encode().hex(),
    "canary",
}


class Everything(logging.Handler):
    """Keeps all that is logged by anybody, as it is written and as it is held."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.loggers.add(record.name)
        self.lines += [self.format(record), repr(record.__dict__)]
        if record.exc_info:
            self.lines.append("".join(traceback.format_exception(*record.exc_info)))


@pytest.fixture
async def logged() -> AsyncIterator[Everything]:
    """All that anybody logs at debug level. More than Wrapup's own debug level shows: SQLAlchemy logs each row, and
    asyncio each callback with its arguments.
    """
    root, sqlalchemy = logging.getLogger(), logging.getLogger("sqlalchemy")
    before = root.handlers[:], root.level, sqlalchemy.level
    configure_logging("debug", "json")
    sqlalchemy.setLevel(logging.DEBUG)
    everything = Everything()
    root.handlers[:] = [everything]
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    yield everything
    root.handlers[:], root.level, sqlalchemy.level = before
    structlog.reset_defaults()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(5)], "max_attempts": 2, "breaker_pauses": [ms(5)]})


def must_not_be_in(texts: Iterable[str], where: str, spellings: Collection[str] = SPELLINGS) -> None:
    found = [(spelling, text[:300]) for text in texts for spelling in spellings if spelling in text]
    assert not found, f"the key is in {where}"


async def tables(services: Services) -> dict[str, list[str]]:
    """Every row of every table as text."""
    named = await ask(services, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    return {
        row.table_name: [
            str(one.text) for one in await ask(services, f"SELECT t::text AS text FROM {row.table_name} t")
        ]
        for row in named
    }


def broker_contents(broker_url: str) -> list[str]:
    contents = []
    with redis.Redis.from_url(broker_url.replace("redis+socket", "unix").split("?")[0]) as broker:
        for key in broker.keys("*"):
            kind = broker.type(key)
            value: object = broker.lrange(key, 0, -1) if kind == b"list" else broker.dump(key)
            contents += [key.decode(), repr(value)]
    return contents


async def test_the_key_is_nowhere_whatever_cloudagent_does(
    logged: Everything, services: Services, settings: Settings, sandbox: Sandbox, broker_url: str
) -> None:
    await open_account(services, sandbox, "acme", api_key=CANARY)
    await open_account(services, sandbox, "rejected", api_key=CANARY)
    await open_account(services, sandbox, "nowhere", api_key=CANARY, base_url="https://cloudagent.invalid")
    await open_account(services, sandbox, "no TLS", api_key=CANARY, base_url=sandbox.url.replace("http:", "https:"))
    sandbox.account("rejected", api_key="another")
    holding = {"401", "403", "404", "redirect", "auth_fail"}
    slow = {"hang", "hang_after", "slow_drip"}
    steps = [name for name in [*FAULTS, *DECORATIONS] if name not in holding | slow]
    ids = []
    for number, step in enumerate(steps):
        sandbox.script(ucid(number), f"{step},{step}")
        ids.append(await post(services, ucid(number), account="acme"))
    for customer in ("rejected", "nowhere", "no TLS"):
        ids.append(await post(services, account=customer))
    for number, step in enumerate(sorted(holding)):
        await open_account(services, sandbox, f"held{number}", api_key=CANARY)
        sandbox.script(ucid(100 + number), f"{step}*")
        ids.append(await post(services, ucid(100 + number), account=f"held{number}"))
    whole = await deliver(services, settings, ids, seconds=20)
    assert {one["state"] for one in whole} == {"delivered", "failed", "held"}
    slow_ids = []
    for number, step in enumerate(sorted(slow)):
        sandbox.script(ucid(200 + number), f"{step}*")
        slow_ids.append(await post(services, ucid(200 + number), account="acme"))
    whole += await deliver(services, settings.model_copy(update={"call_deadline_seconds": 0.2}), slow_ids)
    services.bell.ring()

    outcomes = {attempt["outcome"] for one in whole for attempt in one["attempts"]}
    assert len(outcomes) >= 10, "not much went wrong"
    assert any(request.credential_right for request in sandbox.log), "it was on the wire"
    assert {"app.services.delivery", "asyncio"} <= logged.loggers
    assert any(name.startswith("sqlalchemy.engine") for name in logged.loggers)

    must_not_be_in(logged.lines, "the log")
    must_not_be_in([repr(one) for one in whole], "what is shown")
    must_not_be_in([repr(one) async for one in services.reports.export(Filter())], "the export")
    must_not_be_in([repr(await services.reports.stats(OPERATOR)), repr(await services.health.metrics())], "the figures")
    must_not_be_in([repr(account) for account in await services.accounts.all()], "an account as it is handled")
    for table, rows in (await tables(services)).items():
        must_not_be_in(rows, f"the table {table}")
    must_not_be_in(broker_contents(broker_url), "the broker")
    must_not_be_in([repr(services), repr(settings)], "what is wired together")


async def test_the_token_in_the_account_is_the_only_trace_of_the_key(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    """The key as it is encrypted is not copied elsewhere, either."""
    await open_account(services, sandbox, "acme", api_key=CANARY)
    sandbox.script(ucid(1), "503,ok")
    await deliver(services, settings, [await post(services, ucid(1), account="acme")])
    [account] = await services.accounts.all()
    assert account.api_key not in ("", CANARY)
    everywhere = await tables(services)
    assert [table for table, rows in everywhere.items() for row in rows if account.api_key in row] == ["accounts"]


@pytest.mark.parametrize("api", ["v2-json-key", "v2-json-token"])
async def test_key_and_token_are_nowhere_in_v2_whatever_cloudagent_does(
    logged: Everything, services: Services, settings: Settings, sandbox: Sandbox, broker_url: str, api: str
) -> None:
    made: list[str] = []
    generate = sandbox.gate.generate_token

    def noted(account: Account, now: float) -> Verdict:
        verdict = generate(account, now)
        made.append(str(verdict.reply.fields.get("token")))
        return verdict

    sandbox.gate.generate_token = noted  # type: ignore[method-assign]  # the stand-in's, to know what it gave
    slow = {"hang", "hang_after", "slow_drip"}
    steps = [name for name in [*FAULTS, *DECORATIONS] if name not in slow]
    asked = ["half", "500_success", "gzip_bomb", "html", "unknown_fail", "wrong_content_type", "message"]
    for number in range(len(steps) + len(asked)):
        await open_account(services, sandbox, f"acme{number}", api_key=CANARY, api=api)
    ids = []
    for number, step in enumerate(steps):
        sandbox.script(ucid(number), step)
        ids.append(await post(services, ucid(number), account=f"acme{number}"))
    whole = await deliver(services, settings, ids, seconds=20)
    for number, step in enumerate(asked, len(steps)):
        sandbox.scripts.token(step)
        whole += await deliver(services, settings, [await post(services, ucid(number), account=f"acme{number}")])
    trial = await services.trials.run("acme0", actor="test")

    spoken = {*SPELLINGS, *made} if api == "v2-json-token" else SPELLINGS
    assert (len(made) > 3) == (api == "v2-json-token")
    assert any(request.credential_right for request in sandbox.log), "it was on the wire"
    must_not_be_in(logged.lines, "the log", spoken)
    must_not_be_in([repr(one) for one in whole], "what is shown", spoken)
    must_not_be_in([repr(one) async for one in services.reports.export(Filter())], "the export", spoken)
    must_not_be_in([repr(trial), repr(services), repr(settings)], "what is wired together", spoken)
    for table, rows in (await tables(services)).items():
        must_not_be_in(rows, f"the table {table}", spoken)
    must_not_be_in(broker_contents(broker_url), "the broker", spoken)


async def test_errors_do_not_show_the_key(logged: Everything, services: Services, sandbox: Sandbox) -> None:
    errors: list[BaseException] = []
    wrong = [
        AccountSettings(api_key=Secret(CANARY), base_url=f"https://host/?apiKey={CANARY}"),
        AccountSettings(api_key=Secret(CANARY), base_url=f"https://{quote_plus(CANARY)}@host/"),
        AccountSettings(api_key=Secret(CANARY), base_url=sandbox.url, path=f"/x?apiKey={CANARY}"),
        AccountSettings(api_key=Secret(f"{CANARY} {CANARY}"), base_url=sandbox.url),
        AccountSettings(api_key=Secret(CANARY), base_url=sandbox.url, api="none"),
    ]
    for settings in wrong:
        with pytest.raises(InvalidInput) as refused:
            await services.accounts.set("acme", settings, actor="test")
        errors.append(refused.value)
    # The database refuses it: the driver's error knows the statement and its parameters.
    await ask(services, "ALTER TABLE accounts ADD CHECK (customer <> 'acme')")
    with pytest.raises(Exception, match="accounts_customer_check") as broken:
        await services.accounts.set("acme", AccountSettings(api_key=Secret(CANARY)), actor="test")
    errors.append(broken.value)
    # Sent where it does not belong.
    with pytest.raises(InvalidInput) as refused:
        await services.intake.accept(fields(apiKey=CANARY, api_key=CANARY), OPERATOR)
    errors.append(refused.value)
    texts = [line for error in errors for line in ("".join(traceback.format_exception(error)), repr(error), str(error))]
    must_not_be_in(texts, "an error")
    must_not_be_in(logged.lines, "the log")


async def test_a_database_that_goes_away_during_a_call_makes_no_log_line_show_the_key(
    logged: Everything, services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    await open_account(services, sandbox, "acme", api_key=CANARY)
    sandbox.misbehave(latency="300ms")
    await post(services, account="acme")
    async with pumping(settings):
        await sandbox.arrivals(1)
        await ask(services, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ 'worker'")
        await until(lambda: ask(services, "SELECT FROM dispositions WHERE state = 'delivered'"))
    assert any("trying again" in line for line in logged.lines)  # to claim, to record, or both
    must_not_be_in(logged.lines, "the log")
