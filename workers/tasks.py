"""The one task. It carries nothing: it says that something may be due, and the pump looks for itself."""

from __future__ import annotations

from app.broker import TASK
from workers.celery_app import celery_app
from workers.runtime import runtime


@celery_app.task(name=TASK, shared=False)
def deliver() -> None:
    """Wakes this child's pump (``app/services/delivery.py``), which delivers what is due."""
    runtime.wake()
