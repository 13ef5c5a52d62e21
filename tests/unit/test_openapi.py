"""The OpenAPI document and the page that is made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.settings import Settings
from app.web.docs import render
from app.web.main import create_app
from app.web.problems import PROBLEMS

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each content that is sent or answered, with where it stands."""
    for name, operation in operations():
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {media}", content
        for status, answer in operation["responses"].items():
            for media, content in answer.get("content", {}).items():
                yield f"{name} {status} {media}", content


def examples(content: dict[str, Any]) -> list[Any]:
    return [content["example"]] if "example" in content else [one["value"] for one in content["examples"].values()]


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    errors = [f"{error.json_path}: {error.message}" for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]
    assert errors == []


@pytest.mark.parametrize("where", dict(contents()))
def test_each_content_has_an_example_that_fits_its_schema(where: str) -> None:
    content = dict(contents())[where]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    validator = OAS31Validator(schema, format_checker=OAS31Validator.FORMAT_CHECKER)
    assert examples(content), where
    for example in examples(content):
        assert [error.message for error in validator.iter_errors(example)] == [], where


@pytest.mark.parametrize("name", dict(operations()))
def test_each_operation_has_its_errors(name: str) -> None:
    operation = dict(operations())[name]
    assert operation["description"]
    answers = operation["responses"]
    if "security" in operation:
        assert {"401", "403", "429", "503"} <= set(answers)
        assert "Retry-After" in answers["429"]["headers"]
        assert "RateLimit" in answers["429"]["headers"]
    if "requestBody" in operation and "security" in operation:
        assert {"400", "408", "413", "415", "422"} <= set(answers)
    if "{" in name:
        assert "404" in answers
    assert "HTTPValidationError" not in str(operation)


def test_each_kind_of_problem_but_a_broken_wrapup_stands_somewhere() -> None:
    types = {
        example["type"]
        for _, content in contents()
        for example in examples(content)
        if isinstance(example, dict) and "type" in example
    }
    assert types == {problem.type for problem in PROBLEMS.values() if problem.status != 500}


def test_what_one_operation_gives_leads_to_the_next() -> None:
    identities = {operation["operationId"] for _, operation in operations()}
    links = [
        link
        for _, operation in operations()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert links
    assert {link["operationId"] for link in links} <= identities


def test_no_answer_has_a_place_for_the_api_key() -> None:
    shapes = DOCUMENT["components"]["schemas"]
    assert [name for name, shape in shapes.items() if "api_key" in shape.get("properties", {})] == ["AccountIn"]
    assert shapes["AccountIn"]["properties"]["api_key"]["writeOnly"] is True


class Page(HTMLParser):
    """What a page holds: its tags, its anchors, where it leads and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.anchors.append(value or "")
            elif name == "href":
                (self.loads if tag == "link" else self.links).append(value or "")
            elif name == "src":
                self.loads.append(value or "")
            elif name == "style" or name.startswith("on"):
                self.inline.append(name)


def test_the_page_has_each_operation_and_each_shape_and_needs_nothing_from_elsewhere() -> None:
    page = Page(render(DOCUMENT))
    assert not page.tags & {"script", "style", "iframe", "img"}
    assert page.inline == []
    assert page.loads == ["/docs.css"]
    assert len(page.anchors) == len(set(page.anchors))
    wanted = {operation["operationId"] for _, operation in operations()}
    wanted |= {f"shape-{name}" for name in DOCUMENT["components"]["schemas"]}
    assert wanted == set(page.anchors)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= wanted
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json"}


def test_the_page_writes_what_the_document_says_and_does_not_run_it() -> None:
    document = {**DOCUMENT, "info": {**DOCUMENT["info"], "description": "<b>`a < b`</b> & **all**"}}
    page = render(document)
    assert "&lt;b&gt;<code>a &lt; b</code>&lt;/b&gt; &amp; <strong>all</strong>" in page
    assert re.search(r"curl -X POST http://127\.0\.0\.1:8080/v1/dispositions -H", page)
