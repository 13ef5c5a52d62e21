"""One delivery: one call to CloudAgent, under one total deadline, with whatever came of it as a value."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from app.cloudagent import token, v2_json, v3_query
from app.cloudagent.credentials import Credentials, without_echo
from app.cloudagent.failures import CallFailed
from app.cloudagent.request import DispositionCall, Endpoint
from app.cloudagent.transport import CloudAgentTransport
from app.domain.replies import Answer, Certainty, NoAnswer

BuildRequest = Callable[[Endpoint, Credentials, DispositionCall], httpx.Request]
BuildHarmless = Callable[[Endpoint, Credentials, str, str], httpx.Request]
"""From where, with what, the customer's name and the request's id."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of CloudAgent's APIs: pure functions from what is asked to a request, and what is special about it."""

    build: BuildRequest
    build_harmless: BuildHarmless  # a request that disposes nothing, whatever CloudAgent makes of it
    two_callback_formats: bool = False  # the vendor's pages contradict each other, so an account learns its own
    needs_token: bool = False


FLAVOURS: Mapping[str, Flavour] = {
    "v3-query": Flavour(v3_query.build, v3_query.build_harmless, two_callback_formats=True),
    "v2-json-key": Flavour(v2_json.build_with_key, v2_json.list_with_key),
    "v2-json-token": Flavour(v2_json.build_with_token, v2_json.list_with_token, needs_token=True),
}


class CloudAgentClient:
    """Calls CloudAgent. Belongs to one event loop; ``aclose`` it there.

    The transport is called directly: ``httpx.AsyncClient`` would log each URL, and cost 120 µs of CPU on top of 160.
    """

    def __init__(self, transport: CloudAgentTransport) -> None:
        self._transport = transport

    async def dispose(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        call: DispositionCall,
        *,
        deadline: float,
        start_by: float = math.inf,
    ) -> Answer | NoAnswer:
        """Make one call and say what came of it, ``deadline`` seconds from now at the latest.

        The deadline is total: name lookup, connecting, sending, headers and body. It counts from ``start_by`` (of
        ``time.monotonic``) if that has passed: a process that stood still since it looked at it has less time.
        Nothing that CloudAgent or the network does raises. Only being cancelled does, and then the outcome is unknown.
        """
        request = FLAVOURS[endpoint.flavour].build(endpoint, credentials, call)
        return await self._exchange(request, credentials, deadline, start_by)

    async def try_out(
        self, endpoint: Endpoint, credentials: Credentials, customer: str, request_id: str, *, deadline: float
    ) -> Answer | NoAnswer:
        """Make a call that disposes nothing, to see what CloudAgent says to these credentials."""
        request = FLAVOURS[endpoint.flavour].build_harmless(endpoint, credentials, customer, request_id)
        return await self._exchange(request, credentials, deadline)

    async def generate_token(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        customer: str,
        request_id: str,
        *,
        deadline: float,
        start_by: float = math.inf,
    ) -> Answer | NoAnswer:
        """Ask for a token, which ends the one before it. Whoever asks has counted it. Deadlines as in ``dispose``."""
        request = token.build(endpoint, credentials, customer, request_id)
        return await self._exchange(request, credentials, deadline, start_by)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def _exchange(
        self, request: httpx.Request, credentials: Credentials, deadline: float, start_by: float = math.inf
    ) -> Answer | NoAnswer:
        started = time.monotonic()
        send_by = min(started, start_by) + deadline
        request.extensions["wrapup.send_by"] = send_by
        try:
            async with asyncio.timeout(send_by - started):
                response = await self._transport.handle_async_request(request)
        except CallFailed as failure:
            return NoAnswer(failure.certainty, str(failure), _milliseconds_since(started))
        except TimeoutError:
            if request.extensions.get("wrapup.sent"):
                reason, certainty = f"no full reply within {deadline:g} s", Certainty.SENT_UNKNOWN
            else:
                reason, certainty = f"no connection within {deadline:g} s", Certainty.NOT_SENT
            return NoAnswer(certainty, reason, _milliseconds_since(started))
        return Answer(
            http_status=response.status_code,
            body=without_echo(_body(response), credentials),
            retry_after=response.headers.get("retry-after"),
            content_type=response.headers.get("content-type"),
            latency_ms=_milliseconds_since(started),
            too_large=response.extensions["wrapup.too_large"],
        )


def _body(response: httpx.Response) -> bytes:
    """The body as it came. ``response.aread`` would decode it, and 200 KB of gzip are 200 MB of body."""
    assert isinstance(response.stream, httpx.ByteStream)
    return b"".join(response.stream)


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
