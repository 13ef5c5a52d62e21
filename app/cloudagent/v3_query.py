"""The flavour ``v3-query``: "Set Disposition After Wrapup Time" (V3), everything in the query string."""

from __future__ import annotations

from urllib.parse import quote

import httpx

from app.cloudagent.credentials import Credentials, SecretQuery
from app.cloudagent.request import DispositionCall, Endpoint, http_request
from app.domain.callback_time import format_callback_time

PATH = "/CAServices/Disposition/DispositionAPIV3.php"

# What ``quote`` makes of each character. Looked up here, a query costs a quarter of what ``quote`` takes for it.
_ASCII = {code: quote(chr(code), safe="") for code in range(128)}


def build(endpoint: Endpoint, credentials: Credentials, call: DispositionCall) -> httpx.Request:
    """The request for one attempt."""
    secret = SecretQuery("apiKey", credentials.api_key)
    return http_request("GET", endpoint.url(PATH), call.request_id, secret, query=query(call))


def build_harmless(endpoint: Endpoint, credentials: Credentials, customer: str, request_id: str) -> httpx.Request:
    """A request that can't dispose a call: it asks for no action that there is, and names neither call nor code.

    V3 has none that only reads. Credentials that are wrong are told from the rest by "Authentication fails".
    """
    secret = SecretQuery("apiKey", credentials.api_key)
    asked = f"customer={_encoded(customer)}&action=none"
    return http_request("GET", endpoint.url(PATH), request_id, secret, query=asked)


def query(call: DispositionCall) -> str:
    """The parameters under the vendor's names, percent-encoded (a space is ``%20``), all but the ``apiKey``.

    V3 has no ``pauseReason``. A zone says nothing without a time, so it goes only beside one.
    """
    parameters = {
        "customer": call.customer,
        "did": call.did,
        "agentID": call.agent_id,
        "disposition": call.disposition,
        "ucid": call.ucid,
        "action": "set",
    }
    if call.comments is not None:
        parameters["comments"] = call.comments
    if call.callback_time is not None:
        parameters["callBackTime"] = format_callback_time(call.callback_time, call.callback_format)
        if call.callback_time_zone is not None:
            parameters["callBackTimeZone"] = call.callback_time_zone
    if call.pause_after_dispose:
        parameters["pauseAfterDispose"] = "true"
    return "&".join([f"{name}={_encoded(value)}" for name, value in parameters.items()])


def _encoded(value: str) -> str:
    return value.translate(_ASCII) if value.isascii() else quote(value, safe="")
