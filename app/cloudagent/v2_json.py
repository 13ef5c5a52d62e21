"""The flavours ``v2-json-key`` and ``v2-json-token``: JSON, with the account's secret in a header.

They differ from each other in that header only, and from V3 in this: a call's disposition is set once, the reply may
say ``message`` for ``details``, and there is a ``pauseReason``.
"""

from __future__ import annotations

import httpx
import orjson

from app.cloudagent.credentials import Credentials, SecretHeader
from app.cloudagent.request import DispositionCall, Endpoint, http_request
from app.domain.callback_time import in_default_zone
from app.domain.replies import Answer

PATH = "/ca_apis/dispositionAPIV2"


def key_header(credentials: Credentials) -> SecretHeader:
    """Where the apiKey goes, in the flavour that shows it and when a token is asked for."""
    return SecretHeader("apiKey", credentials.api_key)


def token_header(credentials: Credentials) -> SecretHeader:
    """Where a token goes. The vendor's page says only "Authorization"; ``Bearer`` is our reading of it."""
    assert credentials.token is not None, "whoever calls has got one"
    return SecretHeader("Authorization", credentials.token, "Bearer ")


def build_with_key(endpoint: Endpoint, credentials: Credentials, call: DispositionCall) -> httpx.Request:
    """The request for one attempt of ``v2-json-key``."""
    return http_request("POST", endpoint.url(PATH), call.request_id, key_header(credentials), json=body(call))


def build_with_token(endpoint: Endpoint, credentials: Credentials, call: DispositionCall) -> httpx.Request:
    """The request for one attempt of ``v2-json-token``."""
    return http_request("POST", endpoint.url(PATH), call.request_id, token_header(credentials), json=body(call))


def list_with_key(endpoint: Endpoint, credentials: Credentials, customer: str, request_id: str) -> httpx.Request:
    """A request that only reads, the list of the account's disposition codes, for ``v2-json-key``."""
    return http_request("POST", endpoint.url(PATH), request_id, key_header(credentials), json=_list_body(customer))


def list_with_token(endpoint: Endpoint, credentials: Credentials, customer: str, request_id: str) -> httpx.Request:
    """The same for ``v2-json-token``."""
    return http_request("POST", endpoint.url(PATH), request_id, token_header(credentials), json=_list_body(customer))


def _list_body(customer: str) -> bytes:
    return orjson.dumps({"userName": customer, "action": "get"})


def gives_list(answer: Answer) -> bool:
    """True if the list was given. The vendor does not show what it looks like: any success that holds a list is one."""
    if answer.too_large or not 200 <= answer.http_status < 300:
        return False
    try:
        given = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(given, dict):
        return isinstance(given, list)
    said = str(given.get("status", "success")).strip().lower()
    return said == "success" and any(isinstance(value, list | dict) for value in given.values())


def body(call: DispositionCall) -> bytes:
    """The members under the vendor's names, all of them texts.

    ``autoRelease`` is left out: nobody asks for it, and late it would release an agent from other work. The
    call-back time is to the minute and has no zone beside it, so it goes in CloudAgent's default one.
    """
    members = {
        "userName": call.customer,
        "action": "set",
        "ucid": call.ucid,
        "did": call.did,
        "agentID": call.agent_id,
        "disposition": call.disposition,
    }
    if call.comments is not None:
        members["comments"] = call.comments
    if call.callback_time is not None:
        there = in_default_zone(call.callback_time, call.callback_time_zone)
        members["callBackTime"] = f"{there:%Y-%m-%d %H:%M}"
    if call.pause_after_dispose:
        members["pauseAfterDispose"] = "true"
        if call.pause_reason is not None:
            members["pauseReason"] = call.pause_reason
    return orjson.dumps(members)
