"""``wrapup up``: all of Wrapup in one command."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from app.cli.demo import ACCOUNT, Demo, StandIn, prepare_sandbox
from app.embedded.addresses import Address, usable_address
from app.embedded.data_dir import hold, secret_key
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.processes import Command
from app.embedded.servers import Servers
from app.embedded.supervisor import Supervisor
from app.embedded.valkey import EmbeddedValkey
from app.logging import configure_logging
from app.settings import Settings, load_settings
from app.storage import schema
from app.wiring import open_services


def up(
    host: Annotated[str, typer.Option(help="Where the API listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keeps everything. Else WRAPUP_DATA_DIR, or .wrapup")
    ] = None,
    worker_processes: Annotated[int | None, typer.Option(min=1, help="Of the worker.")] = None,
    sandbox: Annotated[
        bool | None,
        typer.Option(
            "--sandbox/--no-sandbox",
            help="With a CloudAgent stand-in or not. Else: if there is no account, or it was there before.",
        ),
    ] = None,
) -> None:
    """Run Wrapup with all that it needs, until Ctrl-C.

    Starts PostgreSQL and Valkey where no URL is given, migrates, and keeps API, worker and scheduler running.
    """
    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    configure_logging(settings.log_level, settings.log_format)
    with hold(settings.data_dir):
        api = usable_address(host, port)
        try:
            _run(settings, api, worker_processes, sandbox)
        finally:
            Servers.forget(settings.data_dir)


def _run(settings: Settings, api: Address, worker_processes: int | None, sandbox: bool | None) -> None:
    if settings.secret_keys is None:
        settings = _with(settings, secret_keys=secret_key(settings.data_dir))
    postgres = valkey = None
    if settings.database_url is None:
        postgres = EmbeddedPostgres(settings.data_dir, bin_dir=settings.postgres_bin_dir)
        settings = _with(settings, database_url=postgres.url)
    if settings.broker_url is None:
        valkey = EmbeddedValkey(settings.data_dir, binary=settings.valkey_binary)
        settings = _with(settings, broker_url=valkey.url)
    servers = Servers(settings.require_database_url(), settings.require_broker_url(), api.url)

    def announce(pids: Mapping[str, int]) -> None:
        replace(servers, pids=dict(pids)).write(settings.data_dir)

    with Supervisor(announce) as supervisor:
        if postgres:
            postgres.prepare()
        supervisor.start(*(server.command for server in (postgres, valkey) if server))
        demo = asyncio.run(_prepare(settings, sandbox))
        children = [_worker(settings, worker_processes), _api(settings, api), _wrapup(settings, "scheduler")]
        if demo:
            children.insert(0, _stand_in(demo.stand_in))
            servers = replace(servers, sandbox_url=demo.stand_in.address.url)
        supervisor.start(*children)  # together; they will be stopped one by one, the last one first
        if demo:
            print(f"\nA disposition for the stand-in of CloudAgent:\n\n{demo.curl_line(api.url)}\n")
        print(f"ready {api.url}", flush=True)
        supervisor.run()


async def _prepare(settings: Settings, sandbox: bool | None) -> Demo | None:
    """What has to be in the database before anything works with it."""
    async with open_services(settings, name="up") as services:
        await schema.upgrade(services.engine)
        return await prepare_sandbox(services, settings.data_dir, sandbox)


def _with(settings: Settings, **secrets: str) -> Settings:
    return settings.model_copy(update={name: SecretStr(value) for name, value in secrets.items()})


def _api(settings: Settings, address: Address) -> Command:
    options = (f"--host={address.host}", f"--port={address.port}")
    command = _wrapup(settings, "api", *options)
    return replace(command, ready=lambda: address.answers("/health/ready"), ready_within=30)


def _worker(settings: Settings, processes: int | None) -> Command:
    options = () if processes is None else (f"--processes={processes}",)
    return replace(_wrapup(settings, "worker", *options), grace=15)


def _stand_in(stand_in: StandIn) -> Command:
    address = stand_in.address
    return Command(
        name="sandbox",
        argv=(
            *_argv("sandbox", f"--host={address.host}", f"--port={address.port}"),
            *(f"--customer={ACCOUNT}", "--api-key-stdin"),
        ),
        # It stands for somebody else's server: nothing of ours is its business.
        env={name: value for name, value in os.environ.items() if not name.startswith("WRAPUP_")},
        stdin=f"{stand_in.api_key}\n",
        ready=address.takes_connections,
        grace=3,
    )


def _wrapup(settings: Settings, *words: str) -> Command:
    """A command of our own, which reads these very settings."""
    ours = {
        "WRAPUP_DATABASE_URL": settings.require_database_url(),
        "WRAPUP_BROKER_URL": settings.require_broker_url(),
        "WRAPUP_SECRET_KEYS": ",".join(settings.require_secret_keys()),
        "WRAPUP_DATA_DIR": str(settings.data_dir),
    }
    return Command(name=words[0], argv=_argv(*words), env=os.environ | ours)


def _argv(*words: str) -> tuple[str, ...]:
    # -P: a folder named app where the command is run is not ours.
    return (sys.executable, "-P", "-m", "app.cli", *words)
