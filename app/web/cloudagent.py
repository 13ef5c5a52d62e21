"""The drop-in: a CRM that calls CloudAgent today changes the domain name and nothing else.

Same path, same parameters, CloudAgent's own words, always with HTTP 200. The apiKey comes in the query; nothing here
logs a query, and the server's access log is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.domain import dropin
from app.domain.errors import (
    BodyError,
    BodyTooLarge,
    Fault,
    InvalidInput,
    MalformedBody,
    NotAuthenticated,
    NotStored,
    RateLimited,
    SlowBody,
)
from app.secrets import Secret
from app.web.auth import Wired
from app.web.bodies import body_of
from app.web.forms import parse_form
from app.web.replies import JSONReply
from app.wiring import Services

router = APIRouter(tags=["drop-in for CloudAgent"])

PATH = "/CAServices/Disposition/DispositionAPIV3.php"
_FORM = "application/x-www-form-urlencoded"


_WORDS = {
    200: {
        "description": "CloudAgent's own words: stored, or the row of its reply table for the first fault",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["status", "details"],
                    "properties": {"status": {"type": "string"}, "details": {"type": "string"}},
                },
                "example": dropin.STORED,
            }
        },
    }
}
_PARAMETERS = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}
        for name in sorted(dropin.PARAMETERS)
    ]
}


@router.get(PATH, responses=_WORDS, openapi_extra=_PARAMETERS)  # type: ignore[arg-type]
async def dispose_by_query(request: Request, services: Wired) -> Response:
    """CloudAgent's "Set Disposition After Wrapup Time" (V3), answered once the disposition is stored."""
    try:
        sent = _query(request)
    except BodyError as error:
        return JSONReply({"status": "Fail", "details": str(error)})
    return JSONReply(await _dispose(sent, request, services))


_FORM_OR_QUERY = _PARAMETERS | {
    "requestBody": {
        "required": False,
        "content": {
            kind: {
                "schema": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in sorted(dropin.PARAMETERS)},
                },
                "example": {"customer": "acme", "action": "set", "ucid": "1234567890123456", "disposition": "Sale"},
            }
            for kind in (_FORM, "multipart/form-data")
        },
    }
}


@router.post(PATH, responses=_WORDS, openapi_extra=_FORM_OR_QUERY)  # type: ignore[arg-type]
async def dispose_by_form(request: Request, services: Wired) -> Response:
    """The same with the parameters in a form; those of the form win over those of the query."""
    try:
        sent = _query(request) | await _form(request)
    except (BodyError, InvalidInput) as error:
        # Of a body that is given up much may be on its way yet: the server would read on, and throw away, for ever.
        headers = {"Connection": "close"} if isinstance(error, BodyTooLarge | SlowBody) else None
        return JSONReply({"status": "Fail", "details": str(error)}, headers=headers)
    return JSONReply(await _dispose(sent, request, services))


async def _dispose(sent: Mapping[str, str], request: Request, services: Services) -> dropin.Words:
    try:
        caller = await services.doorkeeper.authenticate(
            sent.get("customer", "").strip(), Secret(sent.get("apiKey", "").strip()), address=_address(request)
        )
        if missing := dropin.missing_action(sent):
            return dropin.refusal(missing, sent)
        await services.intake.accept({name: text for name, text in sent.items() if name != "apiKey"}, caller)
    except NotAuthenticated:
        return dropin.WRONG_CREDENTIALS
    except RateLimited:
        return dropin.TOO_MANY
    except InvalidInput as error:
        return dropin.refusal(error.faults, sent)
    except NotStored:
        return dropin.NOT_STORED
    return dropin.STORED


def _query(request: Request) -> dict[str, str]:
    """The query's parameters; of one that comes twice the last, as PHP has it. Raises ``MalformedBody``."""
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise MalformedBody("The query is not UTF-8, percent-encoded.") from None
    return _known(dict(pairs))


async def _form(request: Request) -> dict[str, str]:
    raw = await body_of(request)
    if not raw:
        return {}
    fields = parse_form(raw, request.headers.get("content-type", _FORM), better=_FORM)
    if not all(isinstance(value, str) for value in fields.values()):
        raise InvalidInput([Fault("", "Send the parameters as texts.")])
    return _known({name: str(value) for name, value in fields.items()})


def _known(parameters: Mapping[str, str]) -> dict[str, str]:
    """CloudAgent passes over what it does not know, so what a CRM sends beside its parameters is no fault here."""
    return {name: value for name, value in parameters.items() if name in dropin.PARAMETERS}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
