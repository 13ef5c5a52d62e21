"""``/docs`` and ``/openapi.json``: open to everybody, and without anything from elsewhere."""

from __future__ import annotations

from callers import Api


async def test_the_page_and_its_style_are_served_and_may_load_nothing_else(api: Api) -> None:
    stranger = await api.with_key(None)
    page, style, document = [await stranger.get(path) for path in ("/docs", "/docs.css", "/openapi.json")]
    assert [answer.status_code for answer in (page, style, document)] == [200] * 3
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; style-src 'self'" in page.headers["content-security-policy"]
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert all(
        operation["operationId"] in page.text
        for path in document.json()["paths"].values()
        for operation in path.values()
    )
    assert (await stranger.get("/redoc")).status_code == 404
