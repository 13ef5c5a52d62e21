"""``wrapup up``: all of Wrapup in one command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from app.cli.children import api_command, scheduler_command, worker_command
from app.embedded.addresses import Address, usable_address
from app.embedded.data_dir import hold, secret_key
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.servers import Servers
from app.embedded.supervisor import Supervisor
from app.embedded.valkey import EmbeddedValkey
from app.logging import configure_logging
from app.settings import Settings, load_settings


def up(
    host: Annotated[str, typer.Option(help="Where the API listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    data_dir: Annotated[Path | None, typer.Option(help="Keeps everything. Else WRAPUP_DATA_DIR, or .wrapup")] = None,
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
        with postgres.preparing() if postgres else nullcontext():
            # All that works with the database: it takes a while to import, as making the cluster does.
            from app.cli.demo import prepare_database
        supervisor.start(*(server.command for server in (postgres, valkey) if server))
        demo = prepare_database(settings, sandbox)
        children = [worker_command(settings, worker_processes), api_command(settings, api), scheduler_command(settings)]
        if demo:
            children.insert(0, demo.command)
            servers = replace(servers, sandbox_url=demo.url)
        supervisor.start(*children)  # together; they will be stopped one by one, the last one first
        if demo:
            print(f"\nA disposition for the stand-in of CloudAgent:\n\n{demo.curl_line(api.url)}\n")
            print(f"The pages, signed in (once, within an hour):\n\n{demo.sign_in_link(api.url)}\n")
        print(f"ready {api.url}", flush=True)
        supervisor.run()


def _with(settings: Settings, **secrets: str) -> Settings:
    return settings.model_copy(update={name: SecretStr(value) for name, value in secrets.items()})
