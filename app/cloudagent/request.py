"""What a delivery asks of CloudAgent, and the HTTP request that any flavour of its API makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import httpx

from app.cloudagent.credentials import SecretHeader, SecretQuery
from app.domain.callback_time import CallbackFormat

_COMMON_HEADERS = (
    (b"User-Agent", b"wrapup"),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),  # a small compressed body can be a large one; none is asked for
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account's calls go. ``path`` stands in for the documented path of the flavour."""

    base_url: str
    flavour: str
    path: str | None = None

    def url(self, documented_path: str) -> httpx.URL:
        """The address to call, without a query."""
        return _parsed(self.base_url.rstrip("/") + (self.path or documented_path))


@dataclass(frozen=True, slots=True)
class DispositionCall:
    """One attempt at one disposition.

    ``callback_time`` is a wall time in the zone beside it, and goes in ``callback_format`` where the flavour knows
    more than one; ``request_id`` is the attempt's id and travels as ``X-Request-Id``.
    """

    customer: str
    ucid: str
    did: str
    agent_id: str
    disposition: str
    request_id: str
    comments: str | None = None
    callback_time: datetime | None = None
    callback_time_zone: str | None = None
    callback_format: CallbackFormat = CallbackFormat.YMD
    pause_after_dispose: bool = False
    pause_reason: str | None = None


def http_request(
    method: str,
    url: httpx.URL,
    request_id: str,
    secret: SecretQuery | SecretHeader,
    *,
    query: str = "",
    json: bytes | None = None,
) -> httpx.Request:
    """The request as ``CloudAgentTransport`` takes it: the secret beside it, and the query beside the URL.

    A customer's number and comments are nothing for a log line either, so they go as httpx's own extension
    ``target``. That also saves parsing them, as a given stream saves httpx's search for defaults: 50 µs.
    """
    headers = [(b"Host", url.netloc), *_COMMON_HEADERS, (b"X-Request-Id", request_id.encode())]
    if json is not None:
        headers += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(json))]
    return httpx.Request(
        method,
        url,
        headers=headers,
        stream=httpx.ByteStream(json or b""),
        extensions={"target": b"%b?%b" % (url.raw_path, query.encode()), "wrapup.secret": secret},
    )


@lru_cache(maxsize=1024)
def _parsed(url: str) -> httpx.URL:
    """Parsed once per account: it costs as much as half of the exchange (40 µs)."""
    return httpx.URL(url)
