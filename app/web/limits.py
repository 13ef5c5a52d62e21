"""How fast one client may ask one process, and the ``RateLimit`` headers that tell it so.

The headers are those of the IETF draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10):
``q`` requests within ``w`` seconds; ``r`` are left, and in ``t`` seconds all are there again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.errors import RateLimited

_HEADERS = "wrapup.headers"  # in the ASGI scope: what is to be added to the answer

_ROUNDING = 1e-6  # of a second: sums of fractions are never quite whole


class ClientLimits:
    """A token bucket for each client, which holds one second's requests. In memory, for each process.

    It is a fuse, not a meter: it keeps one client from taking a process from all others.
    """

    def __init__(self, requests_per_second: int) -> None:
        self._rate = requests_per_second
        self._cost = 1 / requests_per_second if requests_per_second else 0.0
        # GCRA, a token bucket in one number: when the client's bucket would be full again.
        self._full_at: dict[str, float] = {}
        self._policy = (b"ratelimit-policy", b'"default";q=%d;w=1' % requests_per_second)

    def take(self, client: str, now: float, scope: MutableMapping[str, Any]) -> None:
        """Takes one request of the client's at ``now`` (monotonic seconds) and notes in its ASGI ``scope`` how the
        client stands. Raises ``RateLimited``.
        """
        if not self._rate:
            return
        full_at = self._full_at.get(client, now)
        full_at = (full_at if full_at > now else now) + self._cost
        room = now + 1 - full_at  # in seconds: what the bucket still holds, at so many requests a second
        if room < -_ROUNDING:
            self._note(scope, 0)
            raise RateLimited(
                f"This client sends more than {self._rate} requests a second. Send fewer, or many dispositions in one "
                "request, to /v1/dispositions/batch.",
                retry_after=math.ceil(-room),
            )
        self._full_at[client] = full_at
        self._note(scope, int((room + _ROUNDING) * self._rate))

    def _note(self, scope: MutableMapping[str, Any], left: int) -> None:
        headers = scope.get(_HEADERS)
        if headers is not None:
            headers += self._policy, (b"ratelimit", b'"default";r=%d;t=1' % left)


class RateLimitHeaders:
    """ASGI middleware: adds how the client stands to the answer, whichever route or error makes it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    # Both functions give the awaitable of what they call instead of awaiting it: half the cost, on every request.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Passes the request on."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        # A list and not a value: routers may copy the scope, and the copy still holds this very list.
        standing: list[tuple[bytes, bytes]] = []
        scope[_HEADERS] = standing

        def send_with_standing(message: Message) -> Awaitable[None]:
            if standing and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *standing]
            return send(message)

        return self._app(scope, receive, send_with_standing)
