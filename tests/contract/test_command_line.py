"""The program against each store that outlives it, by its URL, as another process."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from tests.conftest import ROOT
from tests.contract.conftest import Backend

ENTRY = b'{"z":1e2,"sessionId":"s","big":9007199254740993,"cut":"\\ud800"}'


@pytest.fixture
def sessionstore(backend: Backend):
    if not backend.declared["processes"]:
        pytest.skip(f"{backend.name} is gone with the process")

    async def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-m", "sessionstore", "--store", backend.url, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        printed, _ = await process.communicate(stdin)
        return process.returncode, printed

    return run


async def test_a_session_goes_in_and_comes_out_by_the_program(sessionstore, store) -> None:
    assert (await sessionstore("exists", "k"))[0] == 1
    assert (await sessionstore("put", "k", "--expected", "0", stdin=ENTRY))[0] == 0
    await store.append("k", [b'{"a":1}', b"\xff"])
    assert await sessionstore("get", "k", "--json") == (0, ENTRY + b"\n")
    assert await sessionstore("transcript", "k", "--raw") == (0, b'{"a":1}\n\xff\n')
    status, row = await sessionstore("list", "--json")
    updated = (await store.get("k")).updated_ms
    assert (status, json.loads(row)) == (
        0,
        {
            "key": "k",
            "sessionId": "s",
            "agent": "main",
            "status": "active",
            "lines": 2,
            "revision": 2,
            "updatedAt": updated,
            "title": None,
            "tags": [],
            "pinned": False,
            "channel": None,
            "sender": None,
            "expiresAt": None,
        },
    )
    assert (await sessionstore("delete", "k", "--expected", "1"))[0] == 1
    assert (await sessionstore("delete", "k", "--expected", "2"))[0] == 0
    assert await store.get("k") is None
