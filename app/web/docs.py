"""``/docs``: the API for people, one page made from the OpenAPI document. No script, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from app.web.openapi import document_of, operations
from app.web.shapes import NO_NUL

router = APIRouter(include_in_schema=False)

_HERE = Path(__file__).parent
_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@router.get("/docs")
async def page(request: Request) -> Response:
    """The page, made once."""
    state = request.app.state
    if not hasattr(state, "docs_page"):
        state.docs_page = render(document_of(request.app))
    return HTMLResponse(state.docs_page, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs.css")
async def style() -> Response:
    """How the page looks."""
    return Response(_css(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@cache
def _css() -> str:
    return (_HERE / "docs.css").read_text(encoding="utf-8")


def render(document: Mapping[str, Any]) -> str:
    """An OpenAPI document of ours as a page."""
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"prose": _prose, "kind": _kind, "pretty": _pretty, "example": _example, "shape": _shape}
    environment.globals |= {"curl": _curl, "phrase": lambda status: HTTPStatus(int(status)).phrase}
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {tag["name"]: [] for tag in document["tags"]}
    for method, path, operation in operations(document):
        by_tag[operation["tags"][0]].append((method, path, operation))
    return environment.get_template("docs.html").render(document=document, by_tag=by_tag)


def _prose(text: str) -> Markup:
    """Paragraphs with `code` and **weight**: all of Markdown that our docstrings use."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        marked = re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(paragraph)))
        paragraphs.append("<p>" + re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", marked) + "</p>")
    return Markup("\n".join(paragraphs))  # noqa: S704  # escaped above


def _kind(schema: Mapping[str, Any]) -> Markup:
    """What a value may be, in words, with links to the shapes."""
    if shape := _shape(schema):
        return Markup('<a href="#shape-{0}">{0}</a>').format(shape)
    if "anyOf" in schema:
        return Markup(" or ").join(_kind(one) for one in schema["anyOf"] if one.get("maxLength") != 0)
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(json.dumps(value)) for value in schema["enum"])
    if schema.get("type") == "array":
        return Markup("list of {}").format(_kind(schema["items"]))
    if isinstance(schema.get("additionalProperties"), dict):
        return Markup("object of {}").format(_kind(schema["additionalProperties"]))
    words = [str(schema.get("format") or schema.get("type", "anything"))]
    words += [f"{name} {schema[key]}" for key, name in _BOUNDS.items() if key in schema and schema[key] != NO_NUL]
    return escape(", ".join(words))


_BOUNDS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "at least",
    "maxLength": "at most",
    "minItems": "at least",
    "maxItems": "at most",
    "pattern": "like",
}


def _shape(schema: Mapping[str, Any]) -> str | None:
    reference: str | None = schema.get("$ref")
    return reference.rpartition("/")[2] if reference else None


def _examples(content: Mapping[str, Any]) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    yield from (one["value"] for one in content.get("examples", {}).values())


def _example(content: Mapping[str, Any]) -> str:
    """The examples of a content, as they would be sent."""
    return "\n".join(_pretty(one) for one in _examples(content))


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _curl(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """A line to paste, but for the key."""
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    words.append(shlex.quote("http://127.0.0.1:8080" + path))
    if "security" in operation:
        words += ["-H", '"Authorization: Bearer $KEY"']
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        words += ["-H", "'Content-Type: application/json'"]
        words += ["-d", shlex.quote(json.dumps(next(_examples(body)), ensure_ascii=False))]
    return " ".join(words)
