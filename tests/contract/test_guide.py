"""The guide's program runs as it is printed, and its table of settings is the settings."""

from __future__ import annotations

import asyncio
import contextlib
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


async def test_the_guide_s_answer_is_given_by_one_at_a_time(store: Store) -> None:
    answer = program("async def answer")["answer"]
    await store.set("k", {"sessionId": "s"})
    assert await answer(store, "k", b"1") is True
    async with store.lease("k"):
        assert await answer(store, "k", b"2") is False
    assert (await store.read("k")).lines == (b"1",)


async def test_the_guide_s_mirror_sees_what_was_there_and_what_comes(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    await store.set("before", {})
    mirroring = asyncio.create_task(program("async def mirror")["mirror"](store))
    printed = await printed_until(capsys, "there is main/before 1")
    await store.set("after", {})
    printed += await printed_until(capsys, "set main/after 1")
    mirroring.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await mirroring
    assert printed.count("main/before") == 1


def program(mark: str) -> dict[str, Any]:
    """Run the block of the guide that holds `mark`, and return its names."""
    found: dict[str, Any] = {}
    (text,) = [text for text in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if mark in text]
    exec(text, found)
    return found


async def printed_until(capsys: pytest.CaptureFixture[str], line: str) -> str:
    printed = ""
    async with asyncio.timeout(30):
        while line not in printed:
            await asyncio.sleep(0.02)
            printed += capsys.readouterr().out
    return printed


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
