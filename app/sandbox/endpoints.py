"""How CloudAgent is asked: its three endpoints, where each finds its parameters and its credentials."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from urllib.parse import unquote_plus

import orjson

from app.sandbox.credentials import Gate, Presented
from app.sandbox.rules import Asked, Verdict, dispose_v2, dispose_v3
from app.sandbox.state import Account
from app.sandbox.wire import HttpRequest

Parameters = dict[str, str]

_BEARER = re.compile(r"^\s*bearer(?=\s|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One of CloudAgent's URLs."""

    name: str
    method: str
    path: str
    read: Callable[[HttpRequest], Parameters]
    credential: Callable[[HttpRequest, Parameters], Presented]
    answer: Callable[[Gate, Account, Asked, float], Verdict]


def read_query(request: HttpRequest) -> Parameters:
    """The query's parameters; of one that is repeated the last counts, as in PHP."""
    parameters: Parameters = {}
    for part in request.query.split("&"):
        name, _, value = part.partition("=")
        if name:
            parameters[intern(_decoded(name))] = _decoded(value)
    return parameters


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="replace") if "%" in text or "+" in text else text


def read_json(request: HttpRequest) -> Parameters:
    """The body's members as texts; a body that is no JSON object has none."""
    try:
        content = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: _text(value) for name, value in content.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _key_in_query(_: HttpRequest, parameters: Parameters) -> Presented:
    return Presented("key", parameters.get("customer", ""), parameters.get("apiKey", ""))


def _key_in_header(request: HttpRequest, parameters: Parameters) -> Presented:
    return Presented("json_key", parameters.get("userName", ""), request.headers.get("apikey", ""))


def _key_or_token(request: HttpRequest, parameters: Parameters) -> Presented:
    if "apikey" in request.headers:
        return _key_in_header(request, parameters)
    # The vendor says only "Authorization": a bare token is as good here as one after "Bearer".
    token = _BEARER.sub("", request.headers.get("authorization", ""))
    return Presented("token", parameters.get("userName", ""), token.strip())


V3 = Endpoint(
    name="v3",
    method="GET",
    path="/CAServices/Disposition/DispositionAPIV3.php",
    read=read_query,
    credential=_key_in_query,
    answer=lambda _, account, asked, now: dispose_v3(account, asked, now),
)
V2 = Endpoint(
    name="v2",
    method="POST",
    path="/ca_apis/dispositionAPIV2",
    read=read_json,
    credential=_key_or_token,
    answer=lambda _, account, asked, now: dispose_v2(account, asked, now),
)
TOKEN = Endpoint(
    name="token",
    method="POST",
    path="/ca_apis/CAToken/generateToken",
    read=read_json,
    credential=_key_in_header,
    answer=lambda gate, account, _, now: gate.generate_token(account, now),
)
ENDPOINTS = {endpoint.path: endpoint for endpoint in (V3, V2, TOKEN)}
