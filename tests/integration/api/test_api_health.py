"""Health and metrics, and what the API says while its database is away."""

from __future__ import annotations

import httpx
import psycopg
from callers import SALE, Api
from prometheus_client.parser import text_string_to_metric_families


async def test_live_says_that_the_process_answers(api: Api) -> None:
    answer = await (await api.with_key(None)).get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def test_ready_needs_somebody_who_delivers_and_names_what_is_missing(api: Api) -> None:
    stranger = await api.with_key(None)
    answer = await stranger.get("/health/ready")
    assert answer.status_code == 503
    document = answer.json()
    assert document["status"] == "not ready"
    assert {name: check["ok"] for name, check in document["checks"].items()} == {
        "database": True,
        "migrations": True,
        "delivery": False,
    }
    api.sql("INSERT INTO processes (id, kind, name) VALUES (gen_random_uuid(), 'scheduler', 'here:1')")
    ready = await stranger.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_the_metrics_can_be_read_and_name_no_account(api: Api, crm: httpx.AsyncClient) -> None:
    await crm.post("/v1/dispositions", json=SALE)
    answer = await (await api.with_key(None)).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["wrapup_dispositions", "queued"] == 1
    assert samples["wrapup_dispositions", "delivered"] == 0
    assert samples["wrapup_oldest_due_seconds",] >= 0
    assert ("wrapup_call_seconds_count",) in samples
    assert "acme" not in answer.text


async def test_while_the_database_is_away_nothing_is_promised_and_all_is_well_after(
    api: Api, crm: httpx.AsyncClient
) -> None:
    assert (await crm.get("/v1/stats")).status_code == 200
    url = api.settings.require_database_url()
    name = url.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        posted = await crm.post("/v1/dispositions", json=SALE)
        looked = await crm.get("/v1/dispositions")
        probes = [(await crm.get(path)).status_code for path in ("/health/live", "/health/ready", "/metrics")]
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    for answer in (posted, looked):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    assert posted.json()["type"] in ("urn:wrapup:problem:not-stored", "urn:wrapup:problem:database-unavailable")
    assert looked.json()["type"] == "urn:wrapup:problem:database-unavailable"
    assert probes == [200, 503, 503]
    assert api.count("dispositions") == 0
    assert (await crm.post("/v1/dispositions", json=SALE)).status_code == 202


async def test_what_is_nowhere_and_what_is_not_taken_are_problems_too(api: Api, crm: httpx.AsyncClient) -> None:
    nowhere = await crm.get("/v1/nothing")
    assert (nowhere.status_code, nowhere.json()["type"]) == (404, "urn:wrapup:problem:not-found")
    refused = await crm.put("/v1/dispositions", json=SALE)
    assert (refused.status_code, refused.json()["type"]) == (405, "urn:wrapup:problem:method-not-allowed")
    assert refused.headers["allow"] == "GET, POST"
