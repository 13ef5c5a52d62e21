"""`wrapup sandbox`: the stand-in in a process of its own, until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from app.sandbox import magic
from app.sandbox.faults import describe as describe_faults
from app.sandbox.server import Sandbox

_HELP = "\n\n".join(
    [
        "Runs a CloudAgent stand-in on this machine. Prints `sandbox http://HOST:PORT` when it listens.",
        "It answers as CloudAgent's disposition API does: V3 with a query, V2 with JSON and a key or token. "
        "Any agent, any UCID of at most 19 digits and any DID are known. These values show what goes wrong:",
        "\b\n" + magic.describe(),
        "Steps for --faults; a fault and decorations are joined by +, latency:50ms too; "
        "503*2 is two of them, 503* is all to come:",
        "\b\n" + describe_faults(),
    ]
)


def sandbox(
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    customer: Annotated[str, typer.Option(help="The account that it knows.")] = "sandbox",
    api_key: Annotated[
        str,
        typer.Option(help="The account's apiKey, visible to all in the process list.", show_default=False),
    ] = "",
    api_key_stdin: Annotated[bool, typer.Option("--api-key-stdin", help="Read the apiKey from stdin.")] = False,
    latency: Annotated[str, typer.Option(help="5ms, or a range: 5ms-20ms.")] = "",
    faults: Annotated[
        str,
        typer.Option(help="A mix, per cent: 503=5,reset_after=1. Or steps for the next requests: 503,hang."),
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the mix and of the range.")] = 0,
    log: Annotated[Path | None, typer.Option(help="Append each request to this file, as NDJSON.")] = None,
    fsync: Annotated[bool, typer.Option("--fsync", help="Have the line on disk before the answer leaves.")] = False,
) -> None:
    if api_key and api_key_stdin:
        raise typer.BadParameter("give either --api-key or --api-key-stdin")
    given = sys.stdin.readline().strip() if api_key_stdin else api_key
    if api_key_stdin and not given:
        raise typer.BadParameter("--api-key-stdin found no key: write it to stdin as one line")
    try:
        stand_in = Sandbox(
            api_key=given or secrets.token_urlsafe(16),
            customer=customer,
            host=host,
            port=port,
            latency=latency,
            faults=faults,
            seed=seed,
            log_file=log,
            fsync=fsync,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        uvloop.run(_serve(stand_in, customer, made_key=not given))
    except OSError as error:
        typer.echo(f"the sandbox can't start: {error}. Choose another --port or --log.", err=True)
        raise typer.Exit(1) from None


sandbox.__doc__ = _HELP


async def _serve(stand_in: Sandbox, customer: str, *, made_key: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with stand_in:
        typer.echo(f"sandbox {stand_in.url}")
        if made_key:
            typer.echo(f"customer {customer}, apiKey {stand_in.gate.accounts[customer].api_key}")
        sys.stdout.flush()
        await stop.wait()
