"""The usual delivery as Celery's task: ``celery -A tests.benchmarks.usual_celery worker``."""

from __future__ import annotations

import os
from collections.abc import Iterable

from celery import Celery

from tests.benchmarks import usual

celery_app = Celery("usual", broker=os.environ["BENCH_BROKER_URL"])
celery_app.conf.update(task_default_queue="usual", task_ignore_result=True)


@celery_app.task(name="deliver")
def deliver(disposition_id: str) -> None:
    """One disposition."""
    usual.deliver(disposition_id)


def enqueue(ids: Iterable[str]) -> None:
    """A message for each."""
    with celery_app.producer_or_acquire() as producer:
        for one in ids:
            deliver.apply_async((one,), producer=producer)
