"""How fast one client may ask: told with each answer, and kept."""

from __future__ import annotations

import re

import httpx
from callers import SALE, Api


async def test_each_answer_tells_how_the_client_stands(api: Api) -> None:
    await api.serve(client_rate=100)
    client = await api.client("read", "submit")
    sent = [
        await client.get("/v1/stats"),
        await client.post("/v1/dispositions", json=SALE),
        await client.post("/v1/dispositions", json={}),
        await client.get("/v1/keys"),
        await client.get("/v1/dispositions/no-id"),
    ]
    assert [answer.status_code for answer in sent] == [200, 202, 422, 403, 404]
    for answer in sent[:4]:
        assert answer.headers["ratelimit-policy"] == '"default";q=100;w=1'
        assert re.fullmatch(r'"default";r=\d\d;t=1', answer.headers["ratelimit"])


async def test_who_asks_too_fast_is_refused_and_harms_no_other(api: Api) -> None:
    await api.serve(client_rate=3)
    fast, other = await api.client("read", "submit"), await api.client("read")
    await fast.get("/v1/stats")
    answers: list[httpx.Response] = []
    while len(answers) < 20 and (not answers or answers[-1].status_code != 429):
        answers.append(await fast.post("/v1/dispositions", json={**SALE, "ucid": str(len(answers))}))
    stored = [answer for answer in answers if answer.status_code == 202]
    refused = answers[-1]
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "urn:wrapup:problem:rate-limited"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit"] == '"default";r=0;t=1'
    assert api.count("dispositions") == len(stored)
    assert (await other.get("/v1/stats")).status_code == 200


async def test_a_client_has_one_limit_for_all_of_its_keys(api: Api) -> None:
    await api.serve(client_rate=1)
    old = await api.key("read", name="crm")
    new = await api.services.keys.rotate("crm")
    answers = [await (await api.with_key(key)).get("/v1/stats") for key in (old, new) * 5]
    assert sum(answer.status_code == 200 for answer in answers) < 10
    assert {answer.status_code for answer in answers} == {200, 429}


async def test_who_is_not_known_is_told_nothing(api: Api) -> None:
    stranger = await api.with_key("wk_unknown")
    for path in ("/v1/stats", "/health/live", "/nowhere"):
        assert "ratelimit" not in (await stranger.get(path)).headers
