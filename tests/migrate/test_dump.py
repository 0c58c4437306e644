"""The portable dump: everything that a store holds, line by line, and nothing less when it is read again."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import dump, dump_records
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import run as export
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.run import Format, Options
from sessionstore.migrate.items import SetAside, SourceArchive, SourceSession
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.problems import SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import Lifetime, SessionKey, Status, Store, open_store
from tests.migrate.conftest import command, run

KEY = SessionKey("main", "agent:main:main")
ENTRY = b'{ "sessionId": "id",\n "n": 1e2, "big": 12345678901234567890, "\\ud800": "\xc3\xbc" }'
LINES = [b'{"text":"\xc3\xbc"}', b"\xff\xfe not UTF-8", b"", b"\xe2\x80\xa8 a separator", b'{"a":"\\ud800"}']

_runs = (f"run-{number}" for number in itertools.count())


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("memory://") as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.jsonl"


async def _export(store: Store, path: Path) -> Exported:
    options = Options(Format.JSONL, Patience(0), next(_runs), "2026-11-21T17-30-00")
    return await export.to_dump(store, path, options, lambda phase, done: None)


async def _fill(store: Store) -> None:
    await store.set(KEY, ENTRY, lifetime=Lifetime(ttl_ms=86_400_000, idle_ms=0))
    await store.append(KEY, LINES)
    await store.tag(KEY, add=["b", "a"])
    await store.title(KEY, "Über")
    await store.set(SessionKey("work", "k"), {"sessionId": "other"})
    await store.archive(SessionKey("work", "k"), reason="old")
    await store.pin(SessionKey("work", "k"))
    await store.set(SessionKey("work", "bare"), {})
    await store.put_archive("main", "gone.jsonl.reset.2026-11-20T10-07-57.629Z", [b"a", b"\xff"])
    await store.put_archive("main", "empty.jsonl", [])


async def _lines(item: SourceSession | SourceArchive) -> list[bytes]:
    return [line async for batch in item.lines.batches() for line in batch.lines] if item.lines else []


async def test_everything_comes_back_as_it_was(store: Store, path: Path, scratch: Scratch) -> None:
    await _fill(store)

    found = await _export(store, path)
    source = dump.open_dump(path, scratch)

    assert (found.outcome, found.digest, found.mismatches) == ("Exported", found.store_digest, ())
    sessions = {item.key: item async for item in source.sessions() if isinstance(item, SourceSession)}
    first, second = sessions[KEY], sessions[SessionKey("work", "k")]
    assert first.entry.raw == ENTRY
    assert await _lines(first) == LINES
    assert (first.marks.title, first.marks.tags, first.lifetime) == ("Über", ("a", "b"), Lifetime(86_400_000, 0))
    assert (second.status, second.marks.pinned, second.marks.reason) == (Status.ARCHIVED, True, "old")
    assert sessions[SessionKey("work", "bare")].lines is None
    archives = {item.name: await _lines(item) async for item in source.archives() if isinstance(item, SourceArchive)}
    assert archives == {"gone.jsonl.reset.2026-11-20T10-07-57.629Z": [b"a", b"\xff"], "empty.jsonl": []}


def test_a_dump_is_a_source_like_any_other(real: Path, path: Path, url: str, tmp_path: Path) -> None:
    run("migrate", real, "--to", url)
    exported = run("export", url, "--to", path, "--format", "jsonl").document

    looked = run("inspect", path)
    filled = run("migrate", path, "--to", f"directory://{tmp_path}/other")
    piped = subprocess.run(
        command("migrate", "-", "--to", f"directory://{tmp_path}/third", "--json"),
        input=path.read_bytes(), capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    verified = run("verify", path, "--against", url)

    for document in (looked.document, filled.document, json.loads(piped.stdout), verified.document):
        assert (document["digest"], document["sessions"], document["archives"]) == (exported["digest"], 11, 3)
        assert (document["layouts"], document["problems"]) == (["jsonl"], [])
    assert (filled.document["migrated"], filled.document["storeDigest"]) == (11, exported["digest"])


def test_a_damaged_dump_ends_a_migration_before_it_begins(path: Path, url: str) -> None:
    path.write_bytes(dump_records.header())

    answer = run("migrate", path, "--to", url)

    assert (answer.status, answer.document["reason"]) == (1, "DamagedDump")


def test_a_dump_to_standard_output_is_the_same_dump(real: Path, path: Path, url: str) -> None:

    run("migrate", real, "--to", url)
    run("export", url, "--to", path, "--format", "jsonl")

    done = subprocess.run(
        command("export", url, "--to", "-", "--format", "jsonl", "--json"), capture_output=True, timeout=60, check=True
    )

    assert done.stdout == path.read_bytes()
    assert json.loads(done.stderr)["digest"] is None, "what went to a stream cannot be read again"


async def test_what_changes_while_it_is_written_comes_again_and_counts(
    store: Store, path: Path, scratch: Scratch
) -> None:
    await store.set(KEY, ENTRY)
    await store.append(KEY, [b"one"])
    gone = SessionKey("main", "gone")
    await store.set(gone, {"sessionId": "gone"})
    real_read, changes = store.read, [True]

    async def read(*arguments: Any, **options: Any) -> Any:
        found = await real_read(*arguments, **options)
        if changes:
            changes.pop()
            await store.append(KEY, [b"two"])
            await store.delete(gone)
        return found

    store.read = read  # type: ignore[method-assign]
    found = await _export(store, path)
    source = dump.open_dump(path, scratch)

    items = [item async for item in source.sessions()]
    assert (found.outcome, found.moving, found.totals.sessions) == ("Exported", 0, 1)
    assert [await _lines(item) for item in items if isinstance(item, SourceSession)] == [[b"one", b"two"]]
    assert source.superseded() == 2


async def test_a_file_that_is_there_is_never_written_over(store: Store, path: Path) -> None:
    path.write_bytes(b"precious")

    with pytest.raises(MigrationError, match="is there already") as refused:
        await _export(store, path)

    assert (refused.value.reason, path.read_bytes()) == ("TargetNotEmpty", b"precious")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        pytest.param(lambda raw: raw[: len(raw) // 2], "DamagedDump", "cut off", id="cut off within a line"),
        pytest.param(
            lambda raw: raw[: raw.rindex(b"\n", 0, -1) + 1], "DamagedDump", "cut off", id="its last line is gone"
        ),
        pytest.param(
            lambda raw: raw.replace(b"12345678901", b"12345678902"), "DamagedDump", "was changed", id="edited"
        ),
        pytest.param(lambda raw: raw + raw, "DamagedDump", "two dumps", id="two dumps in one file"),
        pytest.param(lambda raw: b"", "NotADump", "no dump", id="an empty file"),
        pytest.param(lambda raw: b"\x00" * 100_000, "NotADump", "no dump", id="another file"),
        pytest.param(
            lambda raw: raw.replace(b'"version":1', b'"version":2'), "NotADump", "version 2", id="a later version"
        ),
    ],
)
async def test_what_is_not_whole_is_refused(
    store: Store, path: Path, scratch: Scratch, damage: Callable[[bytes], bytes], reason: str, message: str
) -> None:
    await _fill(store)
    await _export(store, path)
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(SourceError, match=message) as refused:
        dump.open_dump(path, scratch)

    assert refused.value.reason == reason


async def test_a_damaged_dump_can_be_taken_as_it_is(store: Store, path: Path, scratch: Scratch) -> None:
    await _fill(store)
    await _export(store, path)
    whole = path.read_bytes().splitlines(keepends=True)
    broken = [b'{"type":"session","agent":"a/b","key":"k","entry":"{}"}\n', b'{"type":"session","agent":"a"\n']
    path.write_bytes(b"".join([*whole[:-1], *broken]) + b'{"type":"end"}\n')

    items = [item async for item in dump.open_dump(path, scratch).sessions()]

    aside = [item for item in items if isinstance(item, SetAside)]
    assert len(items) - len(aside) == 3
    assert sorted((item.problem.reason.value, b"".join(item.blob.chunks())) for item in aside) == [
        ("InvalidJSON", broken[1]),
        ("InvalidKey", broken[0]),
    ]
    assert {item.problem.offset for item in aside} == {
        sum(map(len, whole[:-1])),
        sum(map(len, [*whole[:-1], broken[0]])),
    }


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b'{"type":"session","agent":"a"\n', id="no JSON"),
        pytest.param(b'{"type":"session","agent":"a"}\n', id="no key"),
        pytest.param(b'{"type":"session","agent":"a/b","key":"k","entry":"{}"}\n', id="no agent's name"),
        pytest.param(b'{"type":"session","agent":"a","key":"k","entry":"["}\n', id="no entry"),
        pytest.param(b'{"type":"archive","agent":"a","name":"../x"}\n', id="no archive's name"),
    ],
)
async def test_the_lines_of_what_is_broken_are_set_aside_with_it_and_become_nobody_elses(
    store: Store, path: Path, scratch: Scratch, broken: bytes
) -> None:
    await store.set(KEY, {"sessionId": "id"})
    await store.append(KEY, LINES)
    await _export(store, path)
    header, *records, _ = path.read_bytes().splitlines(keepends=True)
    lines = dump_records.lines([b"of another"]) * 2
    path.write_bytes(b"".join([header, *records, broken, lines, b'{"type":"end"}\n']))

    source = dump.open_dump(path, scratch)
    items = [item async for item in source.sessions()] + [item async for item in source.archives()]

    (session,) = [item for item in items if isinstance(item, SourceSession)]
    assert await _lines(session) == LINES
    (aside,) = [item for item in items if isinstance(item, SetAside)]
    assert b"".join(aside.blob.chunks()) == broken + lines


async def test_lines_that_cannot_be_read_are_a_gap_and_set_aside(store: Store, path: Path, scratch: Scratch) -> None:
    await store.set(KEY, {"sessionId": "id"})
    await _export(store, path)
    header, session, _ = path.read_bytes().splitlines(keepends=True)
    first, broken, last = dump_records.lines([b"1"]), b'{"type":"lines","lines":["2"\n', dump_records.lines([b"3"])
    path.write_bytes(b"".join([header, session, first, broken, last, b'{"type":"end"}\n']))

    aside, found = [item async for item in dump.open_dump(path, scratch).sessions()]

    assert isinstance(found, SourceSession) and await _lines(found) == [b"1", b"3"]
    assert isinstance(aside, SetAside) and b"".join(aside.blob.chunks()) == broken
