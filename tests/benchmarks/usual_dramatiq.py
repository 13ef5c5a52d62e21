"""The usual delivery as dramatiq's actor: ``dramatiq tests.benchmarks.usual_dramatiq``."""

from __future__ import annotations

import os
from collections.abc import Iterable

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks import usual

_socket = os.environ["BENCH_BROKER_URL"].partition("://")[2].partition("?")[0]
broker = RedisBroker(client=redis.Redis(unix_socket_path=_socket))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="usual")
def deliver(disposition_id: str) -> None:
    """One disposition."""
    usual.deliver(disposition_id)


def enqueue(ids: Iterable[str]) -> None:
    """A message for each."""
    for one in ids:
        deliver.send(one)
