"""Tokens against the stand-in and a real database: one for all workers, asked for by one at a time, ten an hour."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from deliveries import API_KEY, CUSTOMER, ask, open_account, somebody_waits, until

from app.cloudagent.addresses import AddressPolicy
from app.cloudagent.client import CloudAgentClient
from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Certainty, Outcome, Verdict
from app.sandbox import Sandbox
from app.sandbox.log import Request
from app.secrets import Cipher, Secret
from app.services.accounts import AccountSettings
from app.services.tokens import Holder, Token, Tokens
from app.settings import Settings
from app.storage import tokens as token_rows
from app.wiring import Services

NewWorker = Callable[..., Tokens]


class Clock:
    """CloudAgent's clock."""

    ahead = 0.0  # seconds

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key=API_KEY, clock=clock) as running:
        yield running


@pytest.fixture
async def account(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, api="v2-json-token")


@pytest.fixture
async def holder(services: Services, sandbox: Sandbox, account: None) -> Holder:
    found = await services.accounts.get(CUSTOMER)
    return Holder(found.id, CUSTOMER, Endpoint(sandbox.url, "v2-json-token"), Credentials(Secret(API_KEY)))


@pytest.fixture
async def new_worker(services: Services, settings: Settings) -> AsyncIterator[NewWorker]:
    """Makes what a worker gets its tokens from; nothing is shared between two of them but the database."""
    async with AsyncExitStack() as stack:

        def make(deadline: float = 5) -> Tokens:
            client = CloudAgentClient(CloudAgentTransport(AddressPolicy(allow_loopback=True)))
            made = Tokens(services.engine, client, Cipher(settings.require_secret_keys()), deadline=deadline)
            stack.push_async_callback(client.aclose)
            stack.push_async_callback(made.aclose)
            return made

        yield make


@pytest.fixture
def worker(new_worker: NewWorker) -> Tokens:
    return new_worker()


def requests(sandbox: Sandbox) -> list[Request]:
    return [request for request in sandbox.log if request.path == "/ca_apis/CAToken/generateToken"]


async def row(services: Services) -> Any:
    [found] = await ask(services, "SELECT * FROM tokens")
    return found


async def grow_older(services: Services, minutes: int) -> None:
    """As if so much time had passed."""
    await ask(
        services,
        "UPDATE tokens SET made_at = made_at - make_interval(mins => :m), asking_until = asking_until - "
        "make_interval(mins => :m), asked = ARRAY(SELECT at - make_interval(mins => :m) FROM unnest(asked) AS at)",
        m=minutes,
    )


async def got(worker: Tokens, holder: Holder, **more: Any) -> Token:
    token = await worker.get(holder, within=5, **more)
    assert isinstance(token, Token), token
    return token


async def refused(worker: Tokens, holder: Holder, *, within: float = 5) -> Verdict:
    verdict = await worker.get(holder, within=within)
    assert isinstance(verdict, Verdict)
    assert verdict.certainty is Certainty.NOT_SENT  # the disposition was not
    assert verdict.reply_details is not None
    assert verdict.reply_details.startswith("no token: ")
    return verdict


# One for all.


async def test_all_calls_of_all_workers_share_one_token(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    sandbox.misbehave(latency="50ms")
    workers = [new_worker() for _ in range(3)]
    tokens = await asyncio.gather(*(got(worker, holder) for worker in workers * 20))
    assert len({token.secret.reveal() for token in tokens}) == 1
    [request] = requests(sandbox)
    assert (request.credential, request.credential_right) == ("json_key", True)
    assert (await row(services)).number == 1


async def test_it_is_encrypted_where_it_is_stored(
    worker: Tokens, services: Services, settings: Settings, holder: Holder
) -> None:
    token = await got(worker, holder)
    stored = (await row(services)).token
    assert token.secret.reveal() not in stored
    assert Cipher(settings.require_secret_keys()).decrypt(stored) == token.secret
    assert token.secret.reveal() not in repr(token)


async def test_it_is_replaced_ahead_of_its_end_while_it_serves_on(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    first = await got(new_worker(), holder)
    await grow_older(services, 51)
    sandbox.misbehave(latency="200ms")
    worker = new_worker()
    assert (await got(worker, holder)).number == first.number  # at once: it did not wait for the new one
    await sandbox.arrivals(2)

    async def replaced() -> bool:
        return bool((await row(services)).number == 2)

    await until(replaced)
    assert (await got(worker, holder, anew=True)).number == 2
    assert len(requests(sandbox)) == 2


async def test_one_that_has_come_to_its_end_is_not_used_again(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    await got(new_worker(), holder)
    await grow_older(services, 60)
    assert (await got(new_worker(), holder)).number == 2


async def test_a_replacement_that_fails_leaves_the_old_one_and_is_not_tried_again_at_once(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    await got(new_worker(), holder)
    await grow_older(services, 51)
    sandbox.scripts.token("503*")
    for _ in range(5):
        assert (await got(new_worker(), holder)).number == 1
        await sandbox.arrivals(2)
    assert len(requests(sandbox)) == 2


# Who asks.


async def test_while_one_asks_the_others_wait_until_it_is_taken_for_lost(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    async with services.engine.begin() as connection:  # a worker that dies right after
        await token_rows.lock(connection, holder.account_id)
        await token_rows.begin(connection, holder.account_id, lease=timedelta(seconds=15))
    verdict = await refused(worker, holder, within=0.3)
    assert (verdict.outcome, requests(sandbox)) == (Outcome.UNREACHABLE, [])
    await ask(services, "UPDATE tokens SET asking_until = clock_timestamp()")
    await got(worker, holder)
    assert len((await row(services)).asked) == 2  # the lost one's may have been made


async def test_one_that_comes_after_its_lease_is_not_kept(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    async with services.engine.begin() as connection:
        await token_rows.lock(connection, holder.account_id)
        slow = await token_rows.begin(connection, holder.account_id, lease=timedelta(0))
    await got(worker, holder)
    async with services.engine.begin() as connection:
        assert await token_rows.store(connection, holder.account_id, slow, "late") is None
        await token_rows.give_up(connection, holder.account_id, slow, serves=False, unsent=True)
    found = await row(services)
    assert (found.number, len(found.asked)) == (1, 2)


@pytest.mark.parametrize("change", [{"api_key": Secret("another")}, {"base_url": "http://127.0.0.1:9"}])
async def test_a_token_does_not_outlive_the_settings_that_it_was_made_with(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder, change: dict[str, Any]
) -> None:
    await got(worker, holder)
    await services.accounts.set(CUSTOMER, AccountSettings(max_in_flight=7), actor="test")
    assert (await row(services)).token is not None
    sandbox.misbehave(latency="300ms")
    renewing = asyncio.create_task(worker.renew(holder, within=5))
    await sandbox.arrivals(2)
    await services.accounts.set(CUSTOMER, AccountSettings(**change), actor="test")
    verdict = await renewing  # the one that was on its way is another account's, too
    assert isinstance(verdict, Verdict)
    assert (await row(services)).token is None


@pytest.mark.parametrize("change", [{"api_key": Secret("another")}, {"base_url": "http://127.0.0.1:9"}])
async def test_none_is_asked_for_with_settings_that_were_changed_while_it_was_waited_for(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder, change: dict[str, Any]
) -> None:
    async with services.engine.begin() as connection:  # a worker that dies right after
        await token_rows.lock(connection, holder.account_id)
        await token_rows.begin(connection, holder.account_id, lease=timedelta(seconds=15))
    waiting = asyncio.create_task(refused(worker, holder))
    await services.accounts.set(CUSTOMER, AccountSettings(**change), actor="test")
    assert (await waiting).outcome is Outcome.NO_TOKEN
    assert requests(sandbox) == []


async def test_the_first_one_is_not_asked_for_while_the_settings_are_changed(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    async with services.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE accounts SET base_url = 'http://127.0.0.1:9'")
        await token_rows.drop(connection, holder.account_id)
        waiting = asyncio.create_task(refused(worker, holder))
        await somebody_waits(services)
    assert (await waiting).outcome is Outcome.NO_TOKEN
    assert requests(sandbox) == []


# How many.


async def test_the_eleventh_within_an_hour_is_not_asked_for(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, clock: Clock, holder: Holder
) -> None:
    for number in range(1, 11):
        assert (await got(new_worker(), holder)).number == number
        await ask(services, "UPDATE tokens SET token = NULL")
        if 5 <= number < 10:  # as long as it takes until the next one may be asked for
            await grow_older(services, 9 if number == 9 else 5)
    verdict = await refused(new_worker(), holder)
    assert verdict.outcome is Outcome.NO_TOKEN
    assert "10 were asked for within the hour; the next is asked for at 20" in str(verdict.reply_details)
    assert 60 * 25 < int(str(verdict.retry_after)) < 60 * 35  # the first was half an hour ago
    assert len(requests(sandbox)) == 10
    await grow_older(services, 35)
    clock.ahead = 3601  # all ten came within the same second there
    assert (await got(new_worker(), holder)).number == 11


async def test_the_sixth_in_a_row_waits(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    for _ in range(5):
        await got(new_worker(), holder)
        await ask(services, "UPDATE tokens SET token = NULL")
    verdict = await refused(new_worker(), holder)
    assert (verdict.outcome, len(requests(sandbox))) == (Outcome.NO_TOKEN, 5)
    assert 25 <= int(str(verdict.retry_after)) <= 30


async def test_cloudagents_own_word_that_it_is_too_much_is_heeded(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    """Somebody else, without Wrapup, asks for tokens of this account, too."""
    account = sandbox.gate.accounts[CUSTOMER]
    for _ in range(10):
        sandbox.gate.generate_token(account, time.time())
    for _ in range(3):
        verdict = await refused(worker, holder)
        assert verdict.outcome is Outcome.NO_TOKEN
        assert int(str(verdict.retry_after)) > 590
    assert len(requests(sandbox)) == 1


# What goes wrong.


@pytest.mark.parametrize(
    ("step", "outcome", "details", "counted"),
    [
        ("hang", Outcome.UNREACHABLE, "no full reply within 0.5 s", 1),
        ("reset_before", Outcome.UNREACHABLE, "without a reply", 1),
        ("503", Outcome.UPSTREAM_ERROR, "the reply makes no sense", 1),
        ("html", Outcome.UPSTREAM_ERROR, "the reply makes no sense", 1),
        ("error", Outcome.RETRY_LATER, "Unable to Dispose . Please retry after some time.", 1),
        ("404", Outcome.MISCONFIGURED, "the reply makes no sense", 1),
        ("401", Outcome.AUTHENTICATION_FAILED, "Authentication fails", 1),
        ("unknown_fail", Outcome.AUTHENTICATION_FAILED, "Campaign is archived", 1),
        ("empty_disposition", Outcome.AUTHENTICATION_FAILED, "Empty disposition code", 1),
    ],
)
async def test_what_keeps_a_token_away_is_what_the_attempt_comes_to(
    new_worker: NewWorker,
    services: Services,
    sandbox: Sandbox,
    holder: Holder,
    step: str,
    outcome: Outcome,
    details: str,
    counted: int,
) -> None:
    sandbox.scripts.token(step)
    verdict = await refused(new_worker(deadline=0.5), holder)
    assert verdict.outcome is outcome
    assert details in str(verdict.reply_details)
    found = await row(services)
    assert (found.token, found.asking_until, len(found.asked)) == (None, None, counted)
    await got(new_worker(), holder)  # the next one tries again


async def test_a_wrong_key_is_said_in_cloudagents_words(worker: Tokens, sandbox: Sandbox, holder: Holder) -> None:
    sandbox.account(CUSTOMER, api_key="another")
    verdict = await refused(worker, holder)
    assert verdict.outcome is Outcome.AUTHENTICATION_FAILED
    assert verdict.reply_details == "no token: Invalid userName or apiKey"


async def test_a_request_that_was_not_sent_is_not_counted(
    worker: Tokens, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    nowhere = Holder(holder.account_id, CUSTOMER, Endpoint("http://127.0.0.1:9", "v2-json-token"), holder.credentials)
    await ask(services, "UPDATE accounts SET base_url = 'http://127.0.0.1:9'")
    assert (await refused(worker, nowhere)).outcome is Outcome.UNREACHABLE
    assert (await row(services)).asked == []


@pytest.mark.parametrize("step", ["half", "500_success", "slow_drip:20ms"])
async def test_a_token_that_is_not_believed_is_not_repeated(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder, step: str
) -> None:
    """The reply has one in it, and comes broken, too late or with the wrong status."""
    sandbox.scripts.token(step)
    verdict = await refused(new_worker(deadline=0.3), holder)
    live = sandbox.gate._tokens[CUSTOMER].live
    assert live is not None
    assert live.text[:8] not in repr(verdict)


# What becomes of one.

ANSWERED = Verdict(Outcome.SAVED, Certainty.ANSWERED, 1)
REFUSED = Verdict(Outcome.AUTHENTICATION_FAILED, Certainty.ANSWERED, 1, reply_details="Invalid Token")


async def test_one_that_served_and_is_refused_was_ended_and_another_is_asked_for(
    new_worker: NewWorker, services: Services, sandbox: Sandbox, holder: Holder
) -> None:
    worker, neighbour = new_worker(), new_worker()
    token = await got(worker, holder)
    assert await worker.judge(holder, token, ANSWERED) == ANSWERED
    assert (await row(services)).accepted
    verdicts = [await one.judge(holder, token, REFUSED) for one in (neighbour, worker, worker)]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.TOKEN_EXPIRED] * 3
    assert (await got(neighbour, holder)).number == 2
    # A late refusal of the old one takes nothing from the new one.
    await worker.judge(holder, token, REFUSED)
    assert (await got(worker, holder, anew=True)).number == 2
    assert len(requests(sandbox)) == 2


async def test_one_that_was_never_taken_and_is_refused_is_a_matter_of_the_account(
    worker: Tokens, services: Services, holder: Holder
) -> None:
    token = await got(worker, holder)
    verdict = await worker.judge(holder, token, REFUSED)
    assert verdict.outcome is Outcome.AUTHENTICATION_FAILED
    assert verdict.reply_details == "a token that was just made is refused: Invalid Token"
    assert (await row(services)).token is None
