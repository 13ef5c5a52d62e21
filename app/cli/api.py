"""``wrapup api``: the HTTP API in this process."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from types import FrameType
from typing import Annotated, cast

import structlog
import typer
import uvicorn
from fastapi import FastAPI

from app.cli.beside import settings_for
from app.cli.options import DataDir
from app.domain.errors import ConfigurationError
from app.logging import configure_logging
from app.secrets import Cipher
from app.web.main import create_app
from app.web.protocol import Protocol

log = structlog.get_logger(__name__)

_GRACE_SECONDS = 20  # for requests under way, when told to stop


def api(
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    data_dir: DataDir = None,
) -> None:
    """Run the HTTP API, until SIGTERM or Ctrl-C."""
    settings = settings_for(data_dir)
    settings.require_database_url()
    settings.require_broker_url()
    Cipher(settings.require_secret_keys())
    configure_logging(settings.log_level, settings.log_format)
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            loop="uvloop",
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # the drop-in's queries hold the apiKey
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    # When it has stopped in order, uvicorn raises the signal again. That is to be an end like any other.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # The thread that rings for workers is to give way quickly: a request that waits for it waits in vain.
    sys.setswitchinterval(0.0005)
    # What is loaded by now stays. A collection that walks through it stops every request for tens of milliseconds, and
    # the default threshold has one begin every few requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    with _listen(host, port) as listening:
        log.info("api listens", host=host, port=listening.getsockname()[1])
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Sends the streams of open pages home when it is told to stop: else they would hold it up for the whole grace."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop."""
        state = cast(FastAPI, self.config.app).state
        if hasattr(state, "services"):  # it has started
            state.services.pulse.ending = True
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        raise ConfigurationError(f"Can't listen on {host}:{port}: {why}. Choose another --host or --port.") from None
