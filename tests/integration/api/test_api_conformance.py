"""What the API does against what its document says: schemathesis makes the requests, right ones and wrong ones."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from callers import Api

from app.services.keys import Scope

HERE = Path(__file__).parent


@pytest.mark.timeout(400)  # some thousands of requests, on a machine that may be busy
async def test_schemathesis_finds_no_answer_that_the_document_does_not_have(api: Api, tmp_path: Path) -> None:
    """All phases: examples, the edges of each schema, right and wrong values by chance, and chains of requests."""
    # Somebody who delivers, as long as the test runs: else /health/ready rightly has a 503.
    seen = "INSERT INTO processes (id, kind, name, seen_at) VALUES (gen_random_uuid(), 'scheduler', '', now() + %s)"
    api.sql(seen, timedelta(hours=1))
    key = await api.key(*Scope, name="schemathesis-itself")
    words = ("--config-file", str(HERE / "schemathesis.toml"), "--no-color", "run", f"{api.url}/openapi.json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", *words, "--header", f"Authorization: Bearer {key}"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(380):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    (tmp_path / "said.txt").write_bytes(said)
    assert process.returncode == 0, said.decode()
