"""The guide's program runs as it is printed, and its table of settings is the settings."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sessionstore.sessions import SessionStorage, Store
from tests.conftest import ROOT
from tests.contract.conftest import Backend

GUIDE = (ROOT / "docs" / "library.md").read_text()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[number]


async def test_the_guide_s_program_runs_on_every_backend(backend: Backend, tmp_path: Path) -> None:
    config = tmp_path / "session_storage.yaml"
    config.write_text(backend.config.to_yaml())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", block("python"),
        env=os.environ | {"SESSION_STORAGE_CONFIG": str(config)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    line = '{"type": "message", "message": {"role": "user", "content": "Hello"}}'
    assert printed.decode() == f"agent:main:demo:direct:42: 1 lines, the last one {line}\n"


async def test_the_guide_s_pages_are_the_whole_transcript(store: Store) -> None:
    guide: dict[str, Any] = {}
    exec(block("python", 1), guide)
    lines = [b"%d" % number for number in range(7)]
    await store.set("k", {"sessionId": "s"})
    await store.append("k", lines)
    for page in (3, 7, 1000):
        assert [line async for line in guide["lines_of"](store, "k", page)] == lines
    paging = guide["lines_of"](store, "k", 3)
    assert await anext(paging) == b"0"
    await store.rewrite("k", lines)
    with pytest.raises(RuntimeError, match="rewritten"):
        _ = [line async for line in paging]
    assert [line async for line in guide["lines_of"](store, "nobody")] == []


def test_the_guide_s_configuration_is_one() -> None:
    config = SessionStorage.from_yaml(block("yaml"))
    assert (config.backend, config.keyspace) == ("redis", "chat")


def test_every_setting_is_in_the_guide_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", GUIDE, re.MULTILINE))
    documented = {name: default for names, default in rows.items() for name in re.findall(r"`(\w+)`", names)}
    fields = {field.name: field.default for field in dataclasses.fields(SessionStorage)}
    assert fields.keys() - documented.keys() == set()
    for name in ("connect_timeout", "operation_timeout", "default_ttl", "keyspace"):
        assert yaml.safe_load(documented[name].strip(" `")) == fields[name]
