"""What intake is measured against: the echo ceiling and the usual way, each one process.

``uvicorn tests.benchmarks.rivals:echo`` answers what Wrapup answers, with the same framework and the same model, and
stores nothing. ``uvicorn tests.benchmarks.rivals:usual`` is what most services do: a session, an INSERT, a COMMIT and
a ``send_task`` for each request.
"""

from __future__ import annotations

import os
from uuid import UUID

import uuid_utils.compat as uuids
from celery import Celery
from fastapi import FastAPI
from sqlalchemy import Column, MetaData, Table, Text, Uuid, create_engine, insert
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.domain.lifecycle import State
from app.storage.engine import database_url
from app.web.shapes import DispositionIn, ReceiptOut

echo = FastAPI()


def _receipt(disposition: DispositionIn, disposition_id: UUID) -> ReceiptOut:
    return ReceiptOut(
        id=disposition_id,
        state=State.QUEUED,
        account=disposition.account,
        ucid=disposition.ucid,
        duplicate=False,
    )


@echo.post("/v1/dispositions", status_code=202)
async def echo_disposition(disposition: DispositionIn, response: Response) -> ReceiptOut:
    """The same answer, and nothing behind it."""
    disposition_id = uuids.uuid7()
    response.headers["Location"] = f"/v1/dispositions/{disposition_id}"
    return _receipt(disposition, disposition_id)


usual = FastAPI()
_names = ("ucid", "did", "agent_id", "disposition", "comments", "reference", "account")
_table = Table(
    "usual_dispositions", MetaData(), Column("id", Uuid, primary_key=True), *(Column(name, Text) for name in _names)
)

if "BENCH_DATABASE_URL" in os.environ:
    _engine = create_engine(database_url(os.environ["BENCH_DATABASE_URL"]), pool_size=20, max_overflow=20)
    _celery = Celery("usual", broker=os.environ["BENCH_BROKER_URL"])
    _celery.conf.task_default_queue = "usual"
    _table.metadata.create_all(_engine)


@usual.post("/v1/dispositions", status_code=202)
def usual_disposition(disposition: DispositionIn, response: Response) -> ReceiptOut:
    """One session, one INSERT, one COMMIT, one message; in FastAPI's thread pool, as synchronous routes are."""
    disposition_id = uuids.uuid7()
    with Session(_engine) as session:
        session.execute(
            insert(_table).values(id=disposition_id, **{name: getattr(disposition, name) for name in _names})
        )
        session.commit()
    _celery.send_task("deliver", [str(disposition_id)], ignore_result=True)
    response.headers["Location"] = f"/v1/dispositions/{disposition_id}"
    return _receipt(disposition, disposition_id)
