"""Failures: the groups equal what is in the table of dispositions, at any moment, whatever has happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from deliveries import CUSTOMER, ask, deliver, ms, open_account, post, pumping, settle, somebody_waits, ucid

from app.domain.errors import NotFound
from app.domain.failures import THINGS, Thing
from app.sandbox import Sandbox
from app.services.keys import OPERATOR, Caller
from app.services.replays import read_request
from app.settings import Settings
from app.storage import schema
from app.storage.failures import Wanted, reopen
from app.wiring import Services

pytestmark = pytest.mark.usefixtures("account")

OTHER = "other"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"retry_delays": [ms(5)], "max_attempts": 2})


async def listed(services: Services, **wanted: Any) -> list[dict[str, Any]]:
    return [*(await services.failures.all(Wanted(**wanted), limit=1000)).failures]


async def the_only(services: Services) -> dict[str, Any]:
    (failure,) = await listed(services)
    return failure


async def fold(services: Services, settings: Settings) -> None:
    """What the scheduler does each second."""
    async with pumping(settings) as deliverer:
        await deliverer.upkeep.tick()


async def fail(services: Services, number: int, cause: str = "invalid_agent", **fields: object) -> UUID:
    """A disposition that has failed, written by hand as in an incident."""
    made = await post(services, ucid(number), **fields)
    statement = "UPDATE dispositions SET state = 'failed', cause = :cause, finished_at = now() WHERE id = :id"
    await ask(services, statement, id=made, cause=cause)
    return made


async def the_groups_must_be_right(services: Services) -> None:
    rows = await ask(
        services,
        "SELECT customer, cause, agent_id, did, disposition FROM dispositions d JOIN accounts a ON a.id = account_id "
        "WHERE state = 'failed' AND cause IN ('invalid_agent', 'invalid_call', 'empty_disposition')",
    )
    expected = Counter((row.customer, row.cause, getattr(row, THINGS[row.cause])) for row in rows)
    found = {
        (one["account"], one["cause"], one["value"]): one["count"]
        for one in await listed(services)
        if one["cause"] in ("invalid_agent", "invalid_call", "empty_disposition")
    }
    assert found == expected
    [row] = await ask(services, "SELECT count(*) FROM dispositions WHERE state = 'failed'")
    assert sum(one["count"] for one in await listed(services)) == row.count
    [row] = await ask(services, "SELECT count(*) FROM failure_members")
    assert sum(one["count"] for one in await listed(services)) == row.count


async def test_two_hundred_failures_with_three_things_to_fix_are_three(services: Services, settings: Settings) -> None:
    for number in range(60):
        wrong = ({"agent_id": "unknown-1"}, {"agent_id": "unknown-2"}, {"disposition": "odd-refusal"})[number % 3]
        await post(services, ucid(number), **wrong)
    async with pumping(settings) as deliverer:
        await settle(services, deliverer)
    found = {(one["thing"], one["value"]): one for one in await listed(services)}
    assert {key: one["count"] for key, one in found.items() if key[0] == "agent_id"} == {
        ("agent_id", "unknown-1"): 20,
        ("agent_id", "unknown-2"): 20,
    }
    assert len(found) == 3
    agent = found["agent_id", "unknown-1"]
    assert (agent["account"], agent["cause"], agent["owner"]) == (CUSTOMER, "invalid_agent", "data")
    assert agent["hint"].startswith(f"Agent 'unknown-1' does not exist in CloudAgent's account '{CUSTOMER}'")
    assert agent["sources"] == ["cli"]
    assert agent["reply"] == "Invalid agent"
    assert agent["since"] <= agent["last_at"]
    [newest] = await ask(services, "SELECT max(id::text) AS id FROM dispositions WHERE agent_id = 'unknown-1'")
    assert str(agent["sample"]) == newest.id


async def test_the_groups_equal_the_table_after_a_random_mix_folded_or_not(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    random = Random(5)
    await open_account(services, sandbox, OTHER)
    async with pumping(settings) as deliverer:
        for _ in range(3):
            wrong = ({"agent_id": "unknown-1"}, {"agent_id": "unknown-2"}, {"disposition": "odd-refusal"}, {})
            await asyncio.gather(
                *(
                    post(
                        services,
                        ucid(random.randrange(40)),
                        account=random.choice((CUSTOMER, OTHER)),
                        comments=str(random.random()),
                        **random.choice(wrong),
                    )
                    for _ in range(30)
                )
            )
            await settle(services, deliverer)
            await the_groups_must_be_right(services)
            await deliverer.upkeep.tick()
            await the_groups_must_be_right(services)
            failed = await ask(services, "SELECT id FROM dispositions WHERE state = 'failed' ORDER BY id LIMIT 5")
            await ask(
                services,
                "UPDATE dispositions SET state = 'queued', cause = NULL WHERE id = ANY(:ids)",
                ids=[row.id for row in failed[:3]],
            )
            await ask(services, "DELETE FROM dispositions WHERE id = ANY(:ids)", ids=[row.id for row in failed[3:]])
            await the_groups_must_be_right(services)
    [row] = await ask(services, "SELECT count(*) FROM failure_deltas")
    await fold(services, settings)
    await the_groups_must_be_right(services)
    [row] = await ask(services, "SELECT count(*) FROM failure_deltas")
    assert row.count == 0


async def test_what_is_sent_again_leaves_its_group_and_what_is_mended_is_none(
    services: Services, settings: Settings
) -> None:
    one, two = await fail(services, 1, agent_id="x7"), await fail(services, 2, agent_id="x7")
    failure = await the_only(services)
    await services.actions.retry(one, OPERATOR)
    assert (await the_only(services))["count"] == 1
    await fold(services, settings)
    await ask(services, "DELETE FROM dispositions WHERE id = :id", id=two)
    assert await listed(services) == []
    with pytest.raises(NotFound):
        await services.failures.get(failure["id"], OPERATOR)
    with pytest.raises(NotFound):
        await services.failures.acknowledge(failure["id"], OPERATOR)


async def test_words_that_differ_by_a_number_are_one_group(services: Services) -> None:
    for number in range(3):
        made = await post(services, ucid(number))
        await ask(
            services,
            "INSERT INTO attempts (id, disposition_id, account_id, number, epoch, worker, started_at, reply_details) "
            "SELECT uuidv7(), id, account_id, 1, 1, '', now(), :words FROM dispositions WHERE id = :id",
            id=made,
            words=f"Call {number}77 is  locked",
        )
        await ask(services, "UPDATE dispositions SET state = 'failed', cause = 'refused' WHERE id = :id", id=made)
    failure = await the_only(services)
    assert (failure["thing"], failure["value"], failure["count"]) == ("reply", "Call # is locked", 3)
    assert failure["reply"] == "Call 277 is  locked"


async def test_what_expired_on_hold_is_its_holder_s_whatever_becomes_of_the_hold(
    services: Services, settings: Settings, sandbox: Sandbox
) -> None:
    sandbox.account(CUSTOMER, api_key="another")
    await deliver(services, settings, [await post(services)])
    await ask(services, "UPDATE dispositions SET expires_at = now()")
    await fold(services, settings)
    await services.accounts.release(CUSTOMER, actor="test")
    failure = await the_only(services)
    assert (failure["cause"], failure["thing"], failure["value"]) == ("expired", "hold", "authentication_failed")
    assert failure["owner"] == "credentials"
    await ask(services, "DELETE FROM dispositions")
    assert await listed(services) == []


@pytest.mark.parametrize("thing", [*Thing])
async def test_each_cause_gives_the_thing_that_the_domain_says(services: Services, thing: Thing) -> None:
    causes = [cause for cause, named in THINGS.items() if named is thing] or ["invalid_action"]
    if thing is Thing.HOLD:
        causes = ["expired"]
        await services.accounts.hold(CUSTOMER, actor="test")
    for number, cause in enumerate(causes):
        await fail(services, number, cause)
    assert {one["thing"] for one in await listed(services)} == {thing}
    assert all(one["hint"] and "{" not in one["hint"] for one in await listed(services))


async def test_an_acknowledged_failure_says_by_whom_and_is_open_again_when_it_comes_back(
    services: Services, settings: Settings
) -> None:
    await fail(services, 1, agent_id="x7")
    before = await the_only(services)
    anna = Caller("client:anna", frozenset({"operate"}))
    known = await services.failures.acknowledge(before["id"], anna, note="Asha corrects the user map")
    assert known == await the_only(services)
    said = (known["acknowledged"], known["acknowledged_by"], known["note"])
    assert said == (True, "client:anna", "Asha corrects the user map")
    assert await listed(services, acknowledged=False) == []
    [event] = await ask(services, "SELECT * FROM events WHERE subject = :subject", subject=f"failure:{before['id']}")
    assert (event.actor, event.action, event.reason) == ("client:anna", "failure acknowledged", known["note"])

    await fail(services, 2, agent_id="x7")
    for _ in range(2):  # not folded yet, and folded
        back = await the_only(services)
        assert (back["acknowledged"], back["count"], back["note"]) == (False, 2, "Asha corrects the user map")
        assert back["since"] == before["since"]
        await fold(services, settings)


async def test_an_acknowledgement_can_be_taken_back(services: Services) -> None:
    await fail(services, 1)
    failure = await the_only(services)
    await services.failures.acknowledge(failure["id"], OPERATOR)
    for _ in range(2):
        assert (await services.failures.reopen(failure["id"], OPERATOR, reason="not mended"))["acknowledged"] is False
    actions = [row.action for row in await ask(services, "SELECT action FROM events WHERE subject LIKE 'failure:%'")]
    assert actions == ["failure acknowledged", "failure reopened"]


async def test_since_begins_anew_when_a_group_was_empty(services: Services, settings: Settings) -> None:
    await fail(services, 1)
    await ask(services, "UPDATE failure_deltas SET first_at = first_at - interval '1 day'")
    await fold(services, settings)
    before = await the_only(services)
    await ask(services, "UPDATE dispositions SET state = 'cancelled', cause = NULL")
    await fold(services, settings)
    await fail(services, 2)
    for _ in range(2):
        after = await the_only(services)
        assert after["id"] == before["id"]
        assert after["since"] - before["since"] > timedelta(hours=23)
        await fold(services, settings)


async def test_holds_are_shown_with_what_waits_for_them(services: Services, sandbox: Sandbox) -> None:
    await open_account(services, sandbox, OTHER)
    await post(services)
    await services.accounts.hold(CUSTOMER, actor="test", reason="maintenance")
    found = await services.failures.all(Wanted(), limit=10)
    (hold,) = found.holds
    assert (hold["account"], hold["cause"], hold["reason"], hold["waiting"]) == (CUSTOMER, "operator", "maintenance", 1)
    assert (await services.failures.all(Wanted(only_accounts=frozenset({OTHER})), limit=10)).holds == []


async def test_several_writers_fail_at_once_and_none_waits_for_another(services: Services) -> None:
    """Two transactions that make the same group grow, both open at the same time."""
    one, two = await post(services, ucid(1)), await post(services, ucid(2))
    statement = "UPDATE dispositions SET state = 'failed', cause = 'invalid_agent' WHERE id = '{}'"
    async with asyncio.timeout(5), services.engine.begin() as first, services.engine.begin() as second:
        await first.exec_driver_sql(statement.format(one))
        await second.exec_driver_sql(statement.format(two))
    assert (await the_only(services))["count"] == 2


async def test_the_id_of_a_failure_tells_nobody_what_it_is_about(services: Services, sandbox: Sandbox) -> None:
    """It stands in links that a viewer sees, who sees no phone number."""
    await open_account(services, sandbox, OTHER)
    for account in (CUSTOMER, OTHER):
        await fail(services, 1, "invalid_call", account=account, did="911234567890")
    first, second = await listed(services)
    assert first["value"] == second["value"] == "911234567890"
    guesses = await ask(
        services,
        "SELECT md5(jsonb_build_array(id, 'invalid_call', 'did', '911234567890')::text)::uuid AS id FROM accounts",
    )
    assert {first["id"], second["id"]}.isdisjoint(guess.id for guess in guesses)


async def test_migrating_to_new_ids_keeps_what_is_known_of_failures(services: Services, settings: Settings) -> None:
    await fail(services, 1)
    await services.failures.acknowledge((await the_only(services))["id"], OPERATOR, note="told the CRM's people")
    await fail(services, 2, "invalid_call")  # not folded yet
    before = await listed(services)
    ids = {str(one["id"]) for one in before}
    conditions = {"failure": sorted(ids)}
    await services.replays.create(read_request({"filter": conditions, "reason": "mended"}, OPERATOR), OPERATOR)
    await services.schedules.create(
        {"name": "nightly", "cron": "0 3 * * *", "replay": {"filter": conditions, "reason": "mended"}}, OPERATOR
    )
    for migrate, revision in ((schema.downgrade, "0013"), (schema.upgrade, "0014")):
        await services.engine.dispose()  # statements that are prepared on its connections know the tables of before
        await migrate(services.engine, revision)
        renamed = {str(row.id) for row in await ask(services, "SELECT failure_id AS id FROM failure_members")}
        assert ids.isdisjoint(renamed)
        ids = renamed
        for kept in ("SELECT filter AS of FROM replays", "SELECT replay -> 'filter' AS of FROM schedules"):
            [row] = await ask(services, kept)
            assert {*row.of["failure"]} == ids
    assert without_ids(await listed(services)) == without_ids(before)
    await the_groups_must_be_right(services)
    await fold(services, settings)
    assert without_ids(await listed(services)) == without_ids(before)


def without_ids(failures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(({**one, "id": None} for one in failures), key=lambda one: str(one["cause"]))


async def test_of_two_who_reopen_a_failure_at_once_the_later_one_finds_it_open(services: Services) -> None:
    await fail(services, 1)
    failure = await the_only(services)
    await services.failures.acknowledge(failure["id"], OPERATOR)
    async with services.engine.begin() as other:
        assert await reopen(other, failure["id"])
        late = asyncio.create_task(services.failures.reopen(failure["id"], OPERATOR))
        await somebody_waits(services)
    assert not (await late)["acknowledged"]
