"""JSON bodies that are read as a model: within the limits, after the caller is known, and strictly."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from app.domain.errors import InvalidInput, UnsupportedBody
from app.domain.refusals import shortened
from app.web.bodies import body_of, is_json, parse_json_object
from app.web.faults import faults_of

Model = TypeVar("Model", bound=BaseModel)


def takes(model: type[BaseModel] | str, *, required: bool = True) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that reads a body with ``read_model``, or one whose schema has that name."""
    name = model if isinstance(model, str) else model.__name__
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    return {"requestBody": {"required": required, "content": content}}


async def read_model(request: Request, model: type[Model], *, required: bool = True) -> Model:
    """The body as a model; where none is required, no body is an empty object.

    Raises a ``BodyError``, or ``InvalidInput`` with every fault.

    Not a parameter of the route: FastAPI reads those before it asks who the caller is, as much as is sent.
    """
    fields = await read_object(request, required=required)
    try:
        return model.model_validate_json(orjson.dumps(fields), strict=True)
    except ValidationError as error:
        complaints = error.errors(include_url=False, include_input=False, include_context=False)
        raise InvalidInput(faults_of(complaints, known=model.model_fields)) from None


async def read_object(request: Request, *, required: bool = True) -> dict[str, object]:
    """The body as an object, for rules of our own; where none is required, no body is an empty one."""
    content_type = request.headers.get("content-type", "")
    raw = await body_of(request)
    if not raw and not required:
        return {}
    if not is_json(content_type):
        raise UnsupportedBody(f"The content type '{shortened(content_type)}' is not taken. Send application/json.")
    return parse_json_object(raw)
