"""Asking for a token: ``generateToken``, with the apiKey in a header, and what it answers."""

from __future__ import annotations

import re

import httpx
import orjson

from app.cloudagent.credentials import Credentials
from app.cloudagent.request import Endpoint, http_request
from app.cloudagent.v2_json import key_header
from app.domain.replies import Answer
from app.secrets import Secret

PATH = "/ca_apis/CAToken/generateToken"

_TOKEN = re.compile(r"[\x21-\x7e]{1,8000}")  # what a header can hold


def build(endpoint: Endpoint, credentials: Credentials, customer: str, request_id: str) -> httpx.Request:
    """The request for a token. The account's own path is that of dispositions, so it does not count here."""
    url = Endpoint(endpoint.base_url, endpoint.flavour).url(PATH)
    return http_request("POST", url, request_id, key_header(credentials), json=orjson.dumps({"userName": customer}))


def read(answer: Answer) -> Secret | None:
    """The token that was given, or None if the answer gives none."""
    if answer.http_status != 200 or answer.too_large:
        return None
    try:
        given = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    token = given.get("token") if isinstance(given, dict) else None
    return Secret(token) if isinstance(token, str) and _TOKEN.fullmatch(token) else None
