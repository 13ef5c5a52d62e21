"""Celery, set up for what it is here: a supervisor of child processes and the receiver of wake-ups."""

from __future__ import annotations

import multiprocessing
import warnings

from celery import Celery
from celery.platforms import SecurityWarning
from celery.signals import celeryd_init, setup_logging, worker_process_init, worker_process_shutdown

from app.broker import QUEUE
from app.domain.errors import ConfigurationError
from app.logging import configure_logging
from app.secrets import Cipher
from app.settings import load_settings
from app.storage.engine import database_url
from workers.runtime import runtime

# Root in a container is common; and what is warned about, pickle, is not taken here.
warnings.filterwarnings("ignore", category=SecurityWarning)

settings = load_settings()

celery_app = Celery("wrapup", broker=settings.require_broker_url(), include=["workers.tasks"])
celery_app.conf.update(
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    # A message carries no truth: taken is done. What it was about stands in the database.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    # Seconds. Without them a frozen broker keeps the worker from stopping, and from noticing.
    broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_cancel_long_running_tasks_on_connection_loss=True,  # there are none; False is warned about at each loss
    worker_hijack_root_logger=False,
    worker_concurrency=max(2, multiprocessing.cpu_count()),
)


@setup_logging.connect
def _configure_logging(**_: object) -> None:
    configure_logging(settings.log_level, settings.log_format)


@celeryd_init.connect
def _check_settings(**_: object) -> None:
    """A setting that a child needs and lacks is said once by the parent, not for ever by dying children."""
    try:
        database_url(settings.require_database_url())
        Cipher(settings.require_secret_keys())
    except ConfigurationError as error:
        raise SystemExit(f"wrapup: {error}") from None  # any other exception Celery would log, and go on


@worker_process_init.connect
def _start_runtime(**_: object) -> None:
    # In the child, after the fork: nothing of this may be opened before.
    runtime.start(settings)


@worker_process_shutdown.connect
def _stop_runtime(**_: object) -> None:
    runtime.stop()
