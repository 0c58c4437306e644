"""`rekey` as it is typed: counts, what was left, and the exit status."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click.testing
import pytest

from sessionstore.cli.main import main
from sessionstore.sessions import open_store
from sessionstore.sessions.encryption.keyring import id_of
from tests.cli.commands import one_line

KEYS = {name: bytes([number]) * 32 for number, name in enumerate(["old", "new", "other"])}


@pytest.fixture
def urls(tmp_path: Path) -> dict[str, str]:
    """Return a directory store's URL by the keys that it is opened with."""
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key.hex())
        (tmp_path / name).chmod(0o600)
    names = ("old", "new", "other", "old,new")
    files = {keys: ",".join(str(tmp_path / name) for name in keys.split(",")) for keys in names}
    return {keys: f"directory://{tmp_path}/store?encryption_key_files={file}" for keys, file in files.items()}


async def put(url: str, *keys: str) -> None:
    async with open_store(url) as store:
        for key in keys:
            await store.set(key, {"sessionId": "s"})
            await store.append(key, [b"1"])


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["--store", *arguments])


def test_everything_comes_under_the_last_key(urls: dict[str, str]) -> None:
    asyncio.run(put(urls["old"], "a", "b"))
    asyncio.run(put(urls["old,new"], "c"))
    old, new = id_of(KEYS["old"]), id_of(KEYS["new"])
    counts = {"sessions": 3, "archives": 0, "documents": 0, "changed": 2, "keys": {old: 4, new: 2}, "left": 0}
    for dry_run in (True, False):
        done = run(urls["old,new"], "rekey", "--json", *["--dry-run"] * dry_run)
        assert (done.exit_code, done.stderr) == (0, "")
        assert json.loads(done.stdout) == counts | {"dryRun": dry_run}
    again = run(urls["new"], "rekey")
    assert again.exit_code == 0
    assert again.stdout.splitlines()[0] == "3 sessions, 0 archives, 0 documents: 0 encrypted anew"
    assert again.stdout.splitlines()[2].split() == [new, "6"]


def test_what_cannot_be_read_is_named_and_is_status_3(urls: dict[str, str]) -> None:
    asyncio.run(put(urls["other"], "lost"))
    asyncio.run(put(urls["old"], "a"))
    done = run(urls["old,new"], "rekey")
    assert done.exit_code == 3
    assert done.stdout.startswith("2 sessions, 0 archives, 0 documents: 1 encrypted anew\n")
    assert one_line(done.stderr)
    assert f"session main/lost cannot be read: its entry is encrypted with key {id_of(KEYS['other'])}" in done.stderr
    assert KEYS["other"].hex() not in done.output


def test_a_store_without_keys_is_used_wrongly() -> None:
    done = run("memory://", "rekey")
    assert (done.exit_code, one_line(done.stderr)) == (2, True)
    assert "encryption_key_files" in done.stderr
