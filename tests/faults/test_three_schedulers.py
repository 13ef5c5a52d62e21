"""Three schedulers at once, with no worker and no broker: all is done, and nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Row, text

from app.sandbox import Sandbox
from app.services.keys import OPERATOR
from app.wiring import Services
from tests.faults.servers import Broker
from tests.installation import CALL, Wrapup, ucids, until

DELIVERED = 300
EXPIRED = 60


async def ask(services: Services, sql: str) -> Sequence[Row[tuple[object, ...]]]:
    """The rows that a query gives."""
    async with services.engine.connect() as connection:
        return (await connection.execute(text(sql))).all()


async def test_three_schedulers_deliver_and_expire_everything_once(
    wrapup: Wrapup, services: Services, cloudagent: Sandbox, broker: Broker
) -> None:
    broker.stop()
    cloudagent.misbehave(latency="5ms-50ms")
    numbers = list(ucids(DELIVERED + EXPIRED))
    for ucid in numbers[:DELIVERED:3]:
        cloudagent.script(ucid, ["503"])  # a third of them needs a second attempt
    for ucid in numbers:
        await services.intake.accept({"account": "acme", "ucid": ucid, **CALL}, OPERATOR)
    late = "'" + "', '".join(numbers[DELIVERED:]) + "'"
    async with services.engine.begin() as connection:
        await connection.execute(text(f"UPDATE dispositions SET expires_at = now() WHERE ucid IN ({late})"))

    schedulers = [wrapup.start("scheduler", WRAPUP_RETRY_DELAYS="100ms") for _ in range(3)]
    await until(lambda: all("scheduler ready" in one.output for one in schedulers))

    async def final() -> bool:
        return (await ask(services, "SELECT count(*) FROM dispositions WHERE finished_at IS NULL"))[0][0] == 0

    await until(final)

    states = Counter(row.state for row in await ask(services, "SELECT state FROM dispositions"))
    assert states == {"delivered": DELIVERED, "failed": EXPIRED}
    # Each call that was made has its attempt, and each attempt its call.
    made = Counter(str(row.id) for row in await ask(services, "SELECT id FROM attempts"))
    assert Counter(arrival.request_id for arrival in cloudagent.log) == made
    assert len(made) == DELIVERED + len(numbers[:DELIVERED:3])
    # Each change has one event.
    events = await ask(services, "SELECT action, disposition_id, count(*) AS n FROM events GROUP BY 1, 2")
    told = Counter(row.action for row in events if row.disposition_id is not None)
    assert told["delivered"] == DELIVERED
    assert told["failed"] == EXPIRED
    assert all(row.n == 1 for row in events if row.disposition_id is not None)
    # And nobody stood in anybody's way.
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert (await ask(services, deadlocks))[0][0] == 0
    workers = {row.worker for row in await ask(services, "SELECT DISTINCT worker FROM attempts")}
    print("attempts were made by", len(workers))
    for one in schedulers:
        assert await one.stop() == 0
        for trouble in ("database trouble", "a delivery broke", "after the lease was out", "Traceback"):
            assert trouble not in one.output
