"""The real state directory goes into every kind of store whole, and the proof sees every change."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sessionstore.migrate import pipeline
from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey, Store, iterate, open_store
from tests.migrate import states
from tests.migrate.conftest import migrate, run

DIGEST = "d22561814744d1df682a757ea25a9868618fc41a67b36ca152d4e1d227fcd0a8"
KEY = "agent:main:cron:c50877a9-fb07-49cf-bc78-ce8b5a41f0be"
OPTIONS = pipeline.Options("real", Patience(0))


@pytest.fixture(params=["memory", "redis", "file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"memory": "memory://", "file": f"file://{tmp_path / 'target'}"}
    return urls.get(request.param) or request.getfixturevalue("url")


async def test_everything_arrives_and_a_second_run_changes_nothing(real: Path, target: str) -> None:
    async with open_store(target) as store:
        first = await migrate(real, store, OPTIONS)
        revisions = {info.key: info.revision async for info in iterate(store)}
        second = await migrate(real, store, OPTIONS)
        assert revisions == {info.key: info.revision async for info in iterate(store)}

    assert (first.outcome, first.survey.sessions, first.survey.lines, first.survey.archives) == ("Verified", 11, 26, 3)
    assert first.accounts and first.accounts.sessions.migrated == 11 and first.accounts.lines.migrated == 26
    assert second.accounts and second.accounts.sessions.present == 11 and second.accounts.archives.present == 3
    for report in (first, second):
        assert report.proof and report.proof.source_digest == report.proof.store_digest == DIGEST
        assert not report.mismatches and not report.problems


async def test_lines_and_entries_come_back_byte_for_byte(real: Path, store: Store) -> None:
    await migrate(real, store, OPTIONS)
    with Scratch() as scratch, open_directory(real, scratch) as source:
        sessions = [found async for found in source.sessions() if isinstance(found, SourceSession)]
        archives = [found async for found in source.archives() if isinstance(found, SourceArchive)]

    for session in sessions:
        held, read = await store.get(session.key), await store.read(session.key)
        assert held is not None and held.entry.raw == session.entry.raw
        assert held.updated_ms == session.entry.updated_ms
        assert read is not None and session.lines is not None
        assert b"\n".join(read.lines) + b"\n" == (real / session.lines.path).read_bytes()
    for archive in archives:
        lines = await store.read_archive(archive.agent, archive.name)
        assert lines is not None and b"\n".join(lines) + b"\n" == (real / archive.lines.path).read_bytes()
    assert (len(sessions), len(archives)) == (11, 3)


def test_the_source_is_never_written(real: Path, url: str) -> None:
    before = states.fingerprint(real)

    statuses = [run("inspect", real).status, run("migrate", real, "--to", url).status]
    statuses.append(run("verify", real, "--against", url).status)

    assert statuses == [0, 0, 0]
    assert states.fingerprint(real) == before


async def test_a_dry_run_writes_nothing_and_tells_what_it_would_do(real: Path, url: str, store: Store) -> None:
    answer = run("migrate", real, "--to", url, "--dry-run")

    assert (answer.status, answer.document["outcome"], answer.document["migrated"]) == (0, "Planned", 11)
    assert [info async for info in iterate(store)] == []
    assert [name async for name in store.list_documents()] == []
    assert [archive async for archive in store.list_archives()] == []


async def test_the_report_is_kept_in_the_store(real: Path, url: str, store: Store) -> None:
    answer = run("migrate", real, "--to", url, "--source-name", "old-home")

    kept = await store.get_document("migration/old-home/report")
    assert kept is not None and json.loads(kept) == answer.document


async def _append(store: Store) -> None:
    await store.append(SessionKey("main", KEY), [b"{}"])


async def _change_line(store: Store) -> None:
    read = await store.read(SessionKey("main", KEY))
    assert read is not None
    await store.rewrite(SessionKey("main", KEY), [*read.lines[:3], b"{}", *read.lines[4:]])


async def _cut(store: Store) -> None:
    read = await store.read(SessionKey("main", KEY))
    assert read is not None
    await store.rewrite(SessionKey("main", KEY), read.lines[:2])


async def _change_entry(store: Store) -> None:
    held = await store.get(SessionKey("main", KEY))
    assert held is not None
    await store.set(held.key, held.entry.with_fields({"label": "other"}))


async def _delete(store: Store) -> None:
    await store.delete(SessionKey("main", KEY))


@pytest.mark.parametrize(
    ("change", "detail", "line"),
    [
        pytest.param(_append, "the store has 1 more line, from line 7 on", 7, id="a line more in the store"),
        pytest.param(_change_line, "line 4 differs", 4, id="a changed line"),
        pytest.param(_cut, "the source has 4 more lines, from line 3 on", 3, id="lines lost by the store"),
        pytest.param(_change_entry, "the entry differs", None, id="a changed entry"),
        pytest.param(_delete, "not in the store", None, id="a deleted session"),
    ],
)
async def test_verify_names_the_session_and_the_first_line_that_differ(
    real: Path, url: str, store: Store, change: Callable[[Store], Awaitable[None]], detail: str, line: int | None
) -> None:
    run("migrate", real, "--to", url)
    await change(store)

    answer = run("verify", real, "--against", url)

    assert answer.status == 1 and answer.document["outcome"] == "Failed"
    expected = {"kind": "session", "agent": "main", "name": KEY, "detail": detail}
    assert answer.document["mismatches"] == [expected | ({} if line is None else {"line": line})]
    assert answer.document["digest"] == DIGEST != answer.document["storeDigest"]


async def test_verify_sees_a_line_more_in_an_archive(real: Path, url: str, store: Store) -> None:
    run("migrate", real, "--to", url)
    archive = await anext(store.list_archives())
    await store.put_archive(archive.agent, archive.name, [b"{}"], position=archive.lines)

    answer = run("verify", real, "--against", url)

    assert answer.status == 1
    assert [(m["kind"], m["name"], m["line"]) for m in answer.document["mismatches"]] == [
        ("archive", archive.name, archive.lines + 1)
    ]
