"""The filter in the query of a request, and what OpenAPI is told of it. The grammar itself is in the domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fastapi import Request

from app.domain.errors import Fault, InvalidInput
from app.domain.filters import CAUSES, FIELDS, LONGEST_WORD, Filter, parse_filter
from app.domain.lifecycle import State
from app.domain.refusals import quoted, refusal, shortened
from app.services.keys import Caller

Rule = Callable[[str, str], object]
"""The rule for a parameter of which there is one value at most: its name and its text in, its value out."""

_TIME: Mapping[str, Any] = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "pattern": "^-?[0-9]{1,4}(ms|s|m|h|d)$"}]
}
_WORD: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": LONGEST_WORD}
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "id": {"type": "string", "format": "uuid"},
    "failure": {"type": "string", "format": "uuid", "description": "Of `/v1/failures`."},
    "q": {
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_WORD,
        "description": "Search: an id, a UCID, an agent, a DID, a reference or a code as a whole, or words of a reply.",
    },
    "state": {"type": "string", "enum": list(State)},
    "cause": {"type": "string", "enum": list(CAUSES)},
    "from": {**_TIME, "description": "Then or later: accepted, or done. `24h` is that long ago."},
    "to": {**_TIME, "description": "Before that."},
}


def _several(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": value, "minItems": 1}


PARAMETERS: list[dict[str, Any]] = [
    {
        "name": one.name,
        "in": "query",
        "required": False,
        "schema": _VALUES.get(one.name, _WORD) if one.single else _several(_VALUES.get(one.name, _WORD)),
    }
    for one in FIELDS
]
"""The filter as parameters of a query, for ``openapi_extra``."""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "Which dispositions. Several values of a field are alternatives, several fields all apply. A time "
    "may be relative: `24h` is that long ago, and stays that moment.",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {
        one.name: value if one.single else {"anyOf": [value, _several(value)]}
        for one in FIELDS
        for value in [_VALUES.get(one.name, _WORD)]
    },
}
"""The filter as a JSON object."""


def parameter(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    """A parameter beside the filter, for ``openapi_extra``."""
    return {"name": name, "in": "query", "required": False, "schema": dict(schema), "description": description}


def read_query(request: Request, caller: Caller, rules: Mapping[str, Rule]) -> tuple[Filter, dict[str, Any]]:
    """The filter in a request's query, for what is the caller's, and the values of the route's other parameters.

    Raises ``InvalidInput`` with every fault; a parameter that there is not is one: it may have been a condition.
    """
    conditions: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        (others if name in rules else conditions).setdefault(name, []).append(value)
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    wanted = Filter()
    try:
        wanted = parse_filter(conditions, datetime.now(UTC), only_accounts=caller.accounts)
    except InvalidInput as refused:
        faults += refused.faults
    for name, sent in others.items():
        try:
            values[name] = rules[name](name, _only(name, sent))
        except InvalidInput as refused:
            faults += refused.faults
    if faults:
        raise InvalidInput(faults)
    return wanted, values


def no_other_parameters(request: Request) -> None:
    """Refuses a parameter that the route, whose own FastAPI reads, does not have: it may have been a condition."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    there_are = f"there are: {', '.join(known)}"
    faults = [
        Fault(shortened(name), f"{shortened(name)} is no parameter here; {there_are}.")
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]
    if faults:
        raise InvalidInput(faults)


def number(least: int, most: int) -> Rule:
    """The rule for a whole number."""

    def rule(name: str, text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        raise refusal(name, f"is {quoted(text)}; it must be a whole number, {least} to {most}")

    return rule


def _only(name: str, sent: list[str]) -> str:
    if len(sent) > 1:
        raise refusal(name, f"came {len(sent)} times; send it once")
    return sent[0]
