"""The OpenAPI document: FastAPI's, completed by what it can't know of our own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from app.domain.replays import LONGEST_REASON
from app.web import examples, problems, replay_examples
from app.web.accounts import AccountIn, Why
from app.web.failures import Note
from app.web.keys import KeyIn, Rotation
from app.web.replays import ReplayIn
from app.web.schedules import BackfillIn, ScheduleChange, ScheduleIn
from app.web.shapes import BatchIn, BatchItemIn, DispositionIn
from app.web.users import LinkIn, UserChange, UserIn

# Bodies that our own code reads. FastAPI knows their names only.
_READ_BY_US = (
    *(DispositionIn, BatchItemIn, BatchIn, AccountIn, Why, Note, KeyIn, Rotation, UserIn, UserChange, LinkIn),
    *(ReplayIn, ScheduleIn, ScheduleChange, BackfillIn),
)

_TAGS = {
    "dispositions": "Take them in, look them up.",
    "failures": "What there is to mend, whose it is, what to do next.",
    "replays": "One action on all dispositions that a filter takes.",
    "schedules": "Replays that recur.",
    "stats": "How many, how old, how fast.",
    "stream": "Changes as they happen.",
    "audit": "Who did what to which thing, when, from where, and why.",
    "accounts": "CloudAgent's customers: their credentials, limits and holds.",
    "keys": "Who may use this API.",
    "users": "Who may use the pages.",
    "drop-in for CloudAgent": "For a CRM that calls CloudAgent today: it changes the domain name and nothing else.",
    "health": "For probes and for Prometheus. No key is needed.",
}

_HEADERS: Mapping[str, Any] = {
    "RateLimit": {
        "description": "`r` requests are left to this client, and in `t` seconds all are there again.",
        "schema": {"type": "string"},
        "example": '"default";r=9999;t=1',
    },
    "RateLimit-Policy": {
        "description": "`q` requests within `w` seconds, of one client to one process.",
        "schema": {"type": "string"},
        "example": '"default";q=10000;w=1',
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}, "example": 1},
    "Location": {"description": "Where it can be looked up.", "schema": {"type": "string", "format": "uri-reference"}},
    "WWW-Authenticate": {"schema": {"type": "string"}, "example": "Bearer"},
}

# What can be done next with what an operation gave: its operation, its status, the next operation, and from where the
# parameter comes.
_LINKS = (
    ("submit", ("200", "202"), "show_disposition", {"disposition_id": "$response.body#/id"}),
    ("list_dispositions", ("200",), "show_disposition", {"disposition_id": "$response.body#/items/0/id"}),
    ("list_dispositions", ("200",), "list_dispositions", {"cursor": "$response.body#/next"}),
    ("list_failures", ("200",), "show_failure", {"failure_id": "$response.body#/items/0/id"}),
    ("list_failures", ("200",), "acknowledge_failure", {"failure_id": "$response.body#/items/0/id"}),
    ("acknowledge_failure", ("200",), "reopen_failure", {"failure_id": "$response.body#/id"}),
    ("list_audit", ("200",), "list_audit", {"cursor": "$response.body#/next"}),
    ("create_replay", ("202",), "show_replay", {"replay_id": "$response.body#/id"}),
    ("create_replay", ("202",), "cancel_replay", {"replay_id": "$response.body#/id"}),
    ("create_schedule", ("201",), "show_schedule", {"name": "$response.body#/name"}),
    ("create_schedule", ("201",), "run_schedule", {"name": "$response.body#/name"}),
    ("create_schedule", ("201",), "delete_schedule", {"name": "$response.body#/name"}),
    ("set_account", ("200",), "show_account", {"customer": "$response.body#/customer"}),
    ("set_account", ("200",), "hold_account", {"customer": "$response.body#/customer"}),
    ("hold_account", ("200",), "release_account", {"customer": "$response.body#/customer"}),
    ("set_account", ("200",), "test_account", {"customer": "$response.body#/customer"}),
    ("create_key", ("201",), "show_key", {"name": "$response.body#/name"}),
    ("create_key", ("201",), "rotate_key", {"name": "$response.body#/name"}),
    ("create_key", ("201",), "revoke_key", {"name": "$response.body#/name"}),
    ("create_user", ("201",), "show_user", {"name": "$response.body#/name"}),
    ("create_user", ("201",), "change_user", {"name": "$response.body#/name"}),
)


def document_of(api: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if api.openapi_schema is None:
        api.openapi_schema = _make(api)
    return api.openapi_schema


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each operation of a document: its method in capitals, its path, and itself."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def _make(api: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=api.title,
        version=api.version,
        description=api.description,
        routes=api.routes,
        tags=[{"name": name, "description": about} for name, about in _TAGS.items()],
    )
    components = document["components"]
    components["headers"] = dict(_HEADERS)
    schemas = components["schemas"]
    schemas["Problem"] = dict(problems.SCHEMA)
    schemas.update(_schemas())
    schemas["Correction"] = _correction(schemas["DispositionIn"])
    for name, example in {**examples.BY_SHAPE, **replay_examples.BY_SHAPE}.items():
        schemas[name]["examples"] = [example]
    for _, _, operation in operations(document):
        _drop_foreign_422(operation)
        _add_headers(operation)
        _add_examples(operation, schemas)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _add_links(document)
    return document


def _schemas() -> dict[str, Any]:
    models = [(model, "validation") for model in _READ_BY_US]
    _, document = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def _correction(whole: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a disposition, but the account, of which those are given that were wrong; and why."""
    fields = {name: field for name, field in whole["properties"].items() if name != "account"}
    reason = {"type": "string", "maxLength": LONGEST_REASON, "description": "Why. It is kept in the audit trail."}
    return {
        "type": "object",
        "description": "The fields that were wrong, as they are right.",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {**fields, "reason": reason},
    }


def _drop_foreign_422(operation: dict[str, Any]) -> None:
    """FastAPI documents its own 422 where a route has parameters and none of ours; ours are problem documents."""
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]


def _add_headers(operation: dict[str, Any]) -> None:
    if "security" not in operation:
        return
    for status, answer in operation["responses"].items():
        # Who is not known, or whose request breaks, is not counted.
        names = [] if status in ("401", "500") else ["RateLimit", "RateLimit-Policy"]
        names += ["Retry-After"] if status in ("429", "503") else []
        names += ["WWW-Authenticate"] if status == "401" else []
        names += ["Location"] if status in ("201", "202") else []
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _add_examples(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    """Gives each content of an operation the example of its schema, if it has none of its own."""
    for message in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in message.get("content", {}).values():
            if "example" not in content and "examples" not in content:
                content["example"] = _example_of(content.get("schema", {}), schemas)


def _example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("type") == "array":
        return [_example_of(schema["items"], schemas)]
    return schema["examples"][0]


def _add_links(document: Mapping[str, Any]) -> None:
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    for source, statuses, target, parameters in _LINKS:
        for status in statuses:
            links = by_id[source]["responses"][status].setdefault("links", {})
            links[target] = {"operationId": target, "parameters": parameters}
