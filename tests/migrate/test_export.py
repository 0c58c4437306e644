"""A store written as files: what comes out is what went in, put in place whole, and never in the place of anything."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path, PurePosixPath

import pytest

from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import run as export
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.run import Format, Options
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import SessionKey, Store, open_store
from tests.migrate import states
from tests.migrate.conftest import run

HOME = "/home/node/.openclaw"
DIGEST = "d22561814744d1df682a757ea25a9868618fc41a67b36ca152d4e1d227fcd0a8"
"""Of the real state directory."""
KEY = SessionKey("main", "agent:main:main")
CRON = SessionKey("main", "agent:main:cron:c50877a9-fb07-49cf-bc78-ce8b5a41f0be")

_runs = (f"run-{number}" for number in itertools.count())


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """An empty store in the process."""
    async with open_store("memory://") as opened:
        yield opened


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def _options(form: Format = Format.OPENCLAW_FILES, **fields: object) -> Options:
    values = {"state_dir": PurePosixPath(HOME)} | fields
    return Options(form, Patience(0), next(_runs), "2026-11-21T17-30-00", **values)  # type: ignore[arg-type]


async def _export(store: Store, root: Path, **fields: object) -> Exported:
    return await export.to_directory(store, root, _options(**fields), lambda phase, done: None)


def _index(root: Path, agent: str = "main") -> dict[str, dict[str, object]]:
    return json.loads((root / "agents" / agent / "sessions" / "sessions.json").read_bytes())  # type: ignore[no-any-return]


def _entry(session_id: str, **fields: object) -> dict[str, object]:
    return {"sessionId": session_id, "updatedAt": 1_795_000_000_000} | fields


def _files(root: Path) -> dict[str, bytes]:
    """Return transcripts and archives by path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*.jsonl*")
        if path.is_file() and "trajectory" not in path.name
    }


@pytest.mark.parametrize("backend", ["redis", "directory"])
def test_the_real_state_directory_comes_back_as_it_was(
    real: Path, out: Path, tmp_path: Path, url: str, backend: str
) -> None:
    store = url if backend == "redis" else f"directory://{tmp_path}/store"
    run("migrate", real, "--to", store)

    answer = run("export", store, "--to", out, "--state-dir", HOME)

    assert (answer.status, answer.document["outcome"], answer.document["sessions"]) == (0, "Exported", 11), answer
    assert answer.document["digest"] == answer.document["storeDigest"] == DIGEST
    assert _files(out) == _files(real)
    for agent in ("main", "work"):
        index = (real / "agents" / agent / "sessions" / "sessions.json").read_bytes()
        entries = sorted(rawjson.members(index))
        laid_out = b",\n  ".join(rawjson.dump(key) + b": " + raw for key, raw in entries)
        assert (out / "agents" / agent / "sessions" / "sessions.json").read_bytes() == b"{\n  " + laid_out + b"\n}"
    assert run("inspect", out).document["digest"] == DIGEST


def test_what_was_exported_fills_an_empty_store_with_the_same(real: Path, tmp_path: Path, url: str) -> None:
    run("migrate", real, "--to", url)
    run("export", url, "--to", tmp_path / "out", "--state-dir", HOME)

    answer = run("migrate", tmp_path / "out", "--to", f"directory://{tmp_path}/again")

    assert (answer.status, answer.document["digest"], answer.document["storeDigest"]) == (0, DIGEST, DIGEST)


async def test_nothing_is_anybodys_but_the_owners(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id"))
    await store.append(KEY, [b"{}"])

    await _export(store, out)

    folders = [path for path in out.rglob("*") if path.is_dir()]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert sorted(path.name for path in files) == ["id.jsonl", "sessions.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_files_belong_to_the_owner_of_the_directory_or_whom_one_says(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id"))
    out.mkdir()
    os.chown(out, 1000, 1001)

    await _export(store, out)
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in out.rglob("*")} == {(1000, 1001)}

    answer = await _export(store, out.parent / "other", owner=export.Owner(1002, 1003))
    assert answer.outcome == "Exported"
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in (out.parent / "other").rglob("*")} == {(1002, 1003)}


async def test_session_file_is_where_the_gateway_will_see_it(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id", sessionFile="/somewhere/else/fork.jsonl", big=12345678901234567890))
    await store.set(CRON, _entry("other"))
    await store.append(KEY, [b"{}"])

    await _export(store, out)

    index = _index(out)
    assert index[KEY.key]["sessionFile"] == f"{HOME}/agents/main/sessions/fork.jsonl"
    assert index[KEY.key]["big"] == 12345678901234567890
    assert "sessionFile" not in index[CRON.key]
    assert (out / "agents/main/sessions/fork.jsonl").read_bytes() == b"{}\n"


async def test_two_sessions_share_a_transcript_while_it_is_the_same(store: Store, out: Path) -> None:
    for key in (KEY, CRON):
        await store.set(key, _entry("id"))
        await store.append(key, [b'{"n":1}'])

    found = await _export(store, out)

    assert (found.outcome, found.notes) == ("Exported", ())
    assert list(_files(out)) == ["agents/main/sessions/id.jsonl"]


async def test_two_transcripts_of_one_name_are_both_kept(store: Store, out: Path) -> None:
    for number, key in enumerate((KEY, CRON)):
        await store.set(key, _entry("id", updatedAt=1_795_000_000_000 + number))
        await store.append(key, [b'{"n":%d}' % number])

    found = await _export(store, out)

    assert found.outcome == "Exported"
    [note] = found.notes
    assert note.reason == "Renamed"
    other = Path(str(_index(out)[note.name]["sessionFile"])).relative_to(HOME)
    numbers = {KEY.key: b"0", CRON.key: b"1"}
    assert (out / other).read_bytes() == b'{"n":%s}\n' % numbers.pop(note.name)
    assert (out / "agents/main/sessions/id.jsonl").read_bytes() == b'{"n":%s}\n' % numbers.popitem()[1]


async def test_an_archived_session_is_archived_for_openclaw(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id"))
    await store.archive(KEY)
    held = await store.get(KEY)

    await _export(store, out)

    assert held is not None and _index(out)[KEY.key]["archivedAt"] == held.written_ms


async def test_what_files_cannot_hold_is_told_and_stays_in_the_store(store: Store, out: Path) -> None:
    await store.set(KEY, {"no": "sessionId"})
    await store.set(CRON, _entry("id"))
    await store.title(CRON, "Work")

    found = await _export(store, out)

    assert (found.outcome, found.left_out, found.totals.sessions) == ("Exported", 1, 1)
    assert sorted((note.reason.value, note.name) for note in found.notes) == [
        ("MarksNotKept", CRON.key),
        ("NoSessionId", KEY.key),
    ]
    assert list(_index(out)) == [CRON.key]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        pytest.param("a.jsonl.reset.2026-11-20T10-07-57.629Z", None, id="an archive of OpenClaw's"),
        pytest.param("orphan.jsonl", None, id="an orphan"),
        pytest.param("id.jsonl", "id.jsonl.bak.2026-11-21T17-30-00.000Z", id="an orphan whose name a session has"),
        pytest.param("sessions.json", "sessions.json.jsonl.bak.2026-11-21T17-30-00.000Z", id="the name of the index"),
        pytest.param("..", "...jsonl.bak.2026-11-21T17-30-00.000Z", id="no file name at all"),
    ],
)
async def test_an_archive_gets_its_own_name_or_one_like_it(
    store: Store, out: Path, name: str, written: str | None
) -> None:
    await store.set(KEY, _entry("id"))
    await store.append(KEY, [b"live"])
    await store.put_archive("main", name, [b"one", b"\xff two"])

    found = await _export(store, out)

    assert (found.outcome, found.mismatches) == ("Exported", ())
    assert (out / "agents/main/sessions" / (written or name)).read_bytes() == b"one\n\xff two\n"
    assert [note.name for note in found.notes] == ([name] if written else [])
    assert (out / "agents/main/sessions/id.jsonl").read_bytes() == b"live\n"


async def test_a_long_transcript_is_written_in_slices(store: Store, out: Path) -> None:
    lines = [b"%d" % number + b"x" * (number % 50_000) for number in range(2_000)]
    await store.set(KEY, _entry("id"))
    await store.append(KEY, lines)

    found = await _export(store, out)

    written = (out / "agents/main/sessions/id.jsonl").read_bytes()
    assert hashlib.sha256(written).digest() == hashlib.sha256(b"".join(line + b"\n" for line in lines)).digest()
    assert (found.outcome, found.totals.lines) == ("Exported", 2_000)


async def test_only_the_agents_that_were_asked_for(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id"))
    await store.set(SessionKey("work", "agent:work:main"), _entry("other"))

    found = await _export(store, out, agents=("work",))

    assert (found.agents, sorted(path.name for path in (out / "agents").iterdir())) == (("work",), ["work"])


async def test_an_empty_store_is_an_empty_export(store: Store, out: Path) -> None:
    found = await _export(store, out)

    assert (found.outcome, found.totals.sessions, list(out.iterdir())) == ("Exported", 0, [])


class _Moving:
    """A store that changes while it is read: `changes` are carried out one by one, each after a read of lines."""

    def __init__(self, store: Store, changes: Sequence[object]) -> None:
        self._store = store
        self._changes = list(changes)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def read(self, *arguments: object, **options: object) -> object:
        found = await self._store.read(*arguments, **options)  # type: ignore[arg-type]
        if self._changes:
            await self._changes.pop(0)()  # type: ignore[operator]
        return found


async def test_what_changes_while_it_is_read_is_read_again(store: Store, out: Path) -> None:
    keys = [SessionKey("main", f"agent:main:{number}") for number in range(4)]
    for number, key in enumerate(keys):
        await store.set(key, _entry(f"id-{number}"))
        await store.append(key, [b"first"])
    moving = _Moving(
        store,
        [
            lambda: store.append(keys[0], [b"second"]),
            lambda: store.delete(keys[1]),
            lambda: store.rewrite(keys[2], [b"anew"]),
            lambda: store.set(SessionKey("main", "new"), _entry("new")),
        ],
    )

    found = await _export(moving, out)  # type: ignore[arg-type]

    assert (found.outcome, found.moving, found.totals.sessions) == ("Exported", 0, 4)
    assert sorted(_index(out)) == [*sorted({keys[0].key, keys[2].key, keys[3].key}), "new"]
    folder = out / "agents/main/sessions"
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} == {
        "id-0.jsonl": b"first\nsecond\n",
        "id-2.jsonl": b"anew\n",
        "id-3.jsonl": b"first\n",
        "new.jsonl": b"",
    }


async def test_a_store_that_is_never_quiet_is_told_as_moving(store: Store, out: Path) -> None:
    await store.set(KEY, _entry("id"))
    await store.append(KEY, [b"{}"])
    moving = _Moving(store, [lambda: store.append(KEY, [b"{}"])] * 2500)

    found = await _export(moving, out)  # type: ignore[arg-type]

    assert (found.outcome, found.moving, found.is_set_aside) == ("Exported", 1, True)


async def test_a_directory_with_sessions_is_refused_and_left_alone(store: Store, real: Path) -> None:
    before = states.fingerprint(real)

    with pytest.raises(MigrationError, match=r"is not empty.*--in-place") as refused:
        await _export(store, real)

    assert (refused.value.reason, states.fingerprint(real)) == ("TargetNotEmpty", before)


def test_a_store_that_nobody_has_used_takes_the_place_of_nothing(url: str, real: Path) -> None:
    before = states.fingerprint(real)

    answer = run("export", url, "--to", real, "--in-place")

    assert (answer.status, answer.document["reason"]) == (1, "NothingFound")
    assert "check address and keyspace" in answer.stderr
    assert states.fingerprint(real) == before


async def test_a_database_in_place_is_refused(store: Store, out: Path) -> None:
    database = out / "agents" / "main" / "agent" / "openclaw-agent.sqlite"
    database.parent.mkdir(parents=True)
    database.touch()

    with pytest.raises(MigrationError, match="Export to an empty directory") as refused:
        await _export(store, out, in_place=True)

    assert refused.value.reason == "DatabaseInPlace"


def test_the_report_says_what_a_job_passes_on(url: str, tmp_path: Path, real: Path) -> None:
    run("migrate", real, "--to", url)
    log = tmp_path / "log"

    answer = run("export", url, "--to", tmp_path / "out", "--source-name", "old", "--termination-log", log)

    summary = json.loads(log.read_bytes())
    assert (summary["outcome"], summary["sessions"], summary["lines"], summary["archives"]) == ("Exported", 11, 26, 3)
    assert (summary["storeDigest"], summary["reason"], summary["moving"]) == (DIGEST, None, 0)
    assert answer.document["digest"] != DIGEST, "the state directory is another one, so sessionFile is rewritten"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--to", "-"), "only --format jsonl", id="files to standard output"),
        pytest.param(
            ("--to", "x", "--format", "jsonl", "--in-place"), "a dump goes to a new file", id="a dump in place"
        ),
        pytest.param(("--to", "x", "--owner", "node"), "is not UID:GID", id="an owner by name"),
        pytest.param(
            ("--to", "x", "--state-dir", "agents"), "is not an absolute path", id="a relative state directory"
        ),
        pytest.param(("--to", "x", "--agent", "a/b"), "is not 1-64 characters", id="an impossible agent"),
    ],
)
def test_wrong_use_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    answer = run("export", "memory://", *arguments)

    assert answer.status == 2 and message in " ".join(answer.stderr.split())


def test_one_file_an_entry_is_read_again(real: Path, tmp_path: Path, url: str) -> None:
    run("migrate", real, "--to", url)

    answer = run("export", url, "--to", tmp_path / "out", "--format", "sessions-d", "--state-dir", HOME)

    assert (answer.status, answer.document["digest"]) == (0, DIGEST)
    assert not list((tmp_path / "out").rglob("sessions.json"))
    with Scratch(tmp_path) as scratch, open_directory(tmp_path / "out", scratch) as source:
        assert "sessions.d" in source.layouts


async def test_one_index_for_all_agents_has_no_place_for_a_key_without_its_agent(store: Store, out: Path) -> None:
    out.mkdir()
    (out / "openclaw.json").write_text(json.dumps({"session": {"store": f"{HOME}/sessions"}}))
    for key in (KEY, SessionKey("work", "agent:work:main"), SessionKey("work", "global")):
        await store.set(key, _entry(key.key.replace(":", "-")))

    found = await _export(store, out)

    index = json.loads((out / "sessions").read_bytes())
    assert sorted(index) == ["agent:main:main", "agent:work:main"]
    assert index["agent:work:main"]["sessionFile"] == f"{HOME}/agents/work/sessions/agent-work-main.jsonl"
    assert (found.left_out, [note.reason.value for note in found.notes]) == (1, ["NoPlace"])
