"""The usual delivery, one job for each disposition, for Celery, dramatiq and procrastinate alike.

A job reads its disposition, commits the attempt, calls CloudAgent with a client that is kept, and commits what came of
it: attempt, state and event, in a SQLAlchemy session with mapped classes. The rows and the indexes are Wrapup's. It has
it easier than Wrapup: no lease, no limits of accounts, no triggers that count, and the apiKey lies in clear.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import httpx
import uuid_utils.compat as uuids
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.storage.engine import database_url

TABLES = """
    CREATE TABLE usual_dispositions (LIKE dispositions INCLUDING DEFAULTS INCLUDING INDEXES);
    CREATE TABLE usual_attempts (LIKE attempts INCLUDING DEFAULTS INCLUDING INDEXES);
    CREATE TABLE usual_events (LIKE events INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING IDENTITY);
"""
_PATH = "/CAServices/Disposition/DispositionAPIV3.php"


class _Mapped(DeclarativeBase):
    """The columns that a delivery reads or writes."""


class Account(_Mapped):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]
    base_url: Mapped[str]


class Disposition(_Mapped):
    __tablename__ = "usual_dispositions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[int]
    ucid: Mapped[str]
    did: Mapped[str]
    agent_id: Mapped[str]
    disposition: Mapped[str]
    comments: Mapped[str | None]
    state: Mapped[str]
    outcome: Mapped[str | None]
    attempt_count: Mapped[int]
    tries: Mapped[int]
    finished_at: Mapped[datetime | None]


class Attempt(_Mapped):
    __tablename__ = "usual_attempts"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    disposition_id: Mapped[UUID]
    account_id: Mapped[int]
    number: Mapped[int]
    epoch: Mapped[int]
    worker: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    certainty: Mapped[str | None]
    http_status: Mapped[int | None]
    reply_status: Mapped[str | None]
    reply_details: Mapped[str | None]
    latency_ms: Mapped[int | None]


class Event(_Mapped):
    __tablename__ = "usual_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    actor: Mapped[str]
    action: Mapped[str]
    account_id: Mapped[int]
    disposition_id: Mapped[UUID]
    from_state: Mapped[str]
    to_state: Mapped[str]


@cache
def _engine() -> Engine:
    return create_engine(database_url(os.environ["BENCH_DATABASE_URL"]), pool_size=int(os.environ["BENCH_POOL"]))


@cache
def _client() -> httpx.Client:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.Client(timeout=10, limits=limits, trust_env=False)


def deliver(disposition_id: str) -> None:
    """Delivers one. Engine and client are made at the first use, which in a prefork child is after the fork."""
    with Session(_engine(), expire_on_commit=False) as session:
        disposition = session.get_one(Disposition, UUID(disposition_id))
        account = session.get_one(Account, disposition.account_id)
        attempt = Attempt(
            id=uuids.uuid7(),
            disposition_id=disposition.id,
            account_id=account.id,
            number=1,
            epoch=1,
            worker="usual",
            started_at=datetime.now(UTC),
        )
        session.add(attempt)
        disposition.state, disposition.attempt_count, disposition.tries = "sending", 1, 1
        session.commit()

        reply = _client().get(account.base_url + _PATH, params=_parameters(account, disposition))
        said = reply.raise_for_status().json()

        attempt.finished_at = disposition.finished_at = datetime.now(UTC)
        attempt.outcome = disposition.outcome = "saved"
        attempt.certainty, attempt.http_status = "answered", reply.status_code
        attempt.reply_status, attempt.reply_details = said["status"].strip(), said["details"]
        attempt.latency_ms = round(reply.elapsed.total_seconds() * 1000)
        disposition.state = "delivered"
        session.add(
            Event(
                actor="usual",
                action="delivered",
                account_id=account.id,
                disposition_id=disposition.id,
                from_state="sending",
                to_state="delivered",
            )
        )
        session.commit()


def _parameters(account: Account, disposition: Disposition) -> dict[str, str | None]:
    return {
        "apiKey": "bench",
        "customer": account.customer,
        "did": disposition.did,
        "agentID": disposition.agent_id,
        "disposition": disposition.disposition,
        "ucid": disposition.ucid,
        "action": "set",
        "comments": disposition.comments,
    }
