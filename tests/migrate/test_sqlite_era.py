"""State directories of OpenClaw 2026.8 and later: nothing of a conversation is lost, nothing is there twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sessionstore.migrate.directory import DirectorySource, open_directory
from sessionstore.migrate.items import Lines, SetAside, SourceSession
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.openclaw.scratch import Scratch
from sessionstore.openclaw.transcript import Batch
from sessionstore.sessions.record import Status
from tests.migrate import sqlite_states, states
from tests.migrate.sqlite_states import Database, zstd
from tests.migrate.states import HEADER, TURN

LONG_LINE = json.dumps({"type": "message", "id": "2", "text": "é" * 3000}, ensure_ascii=False).encode()
LINES = [HEADER, TURN, LONG_LINE]


@dataclass
class Found:
    """All that a source gives: text by name, so that a difference is easy to read."""

    sessions: dict[str, list[bytes]] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    archives: dict[str, list[bytes]] = field(default_factory=dict)
    orphans: set[str] = field(default_factory=set)
    aside: list[tuple[Reason, bytes]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    beside: int = 0
    superseded: int = 0


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state")


async def look(source: DirectorySource) -> Found:
    found = Found()
    async for item in source.sessions():
        if isinstance(item, SetAside):
            found.aside.append(_aside(item))
            continue
        found.sessions[item.key.key] = await _lines(item.lines, found)
        found.archived |= {item.key.key} if item.status is Status.ARCHIVED else set()
        found.problems += [item.problem] if item.problem else []
    async for archive in source.archives():
        if isinstance(archive, SetAside):
            found.aside.append(_aside(archive))
            continue
        if isinstance(archive, Problem):
            found.problems.append(archive)
            continue
        assert archive.name not in found.archives
        found.archives[archive.name] = await _lines(archive.lines, found)
        found.orphans |= {archive.name} if archive.orphan else set()
    found.beside, found.superseded = source.beside(), source.superseded()
    return found


def _aside(item: SetAside) -> tuple[Reason, bytes]:
    raw = b""
    try:
        for chunk in item.blob.chunks():
            raw += chunk
        assert item.blob.size == len(raw)
    except Refused:
        # A value of a damaged database, which is kept whole as well.
        assert item.problem.reason is not Reason.DAMAGED_DATABASE
    return item.problem.reason, raw


async def _lines(lines: Lines | None, found: Found) -> list[bytes]:
    taken: list[bytes] = []
    try:
        async for batch in lines.batches() if lines else _nothing():
            taken += [*batch.lines, *([batch.torn.raw] if batch.torn else [])]
    except Refused as error:
        found.problems.append(error.problem(lines.path if lines else ""))
    return taken


async def _nothing() -> AsyncIterator[Batch]:
    for batch in ():
        yield batch


async def found_in(root: Path, scratch: Scratch) -> Found:
    with open_directory(root, scratch) as source:
        return await look(source)


async def test_the_updated_state_directory_has_every_conversation_once(tmp_path: Path, scratch: Scratch) -> None:
    root = sqlite_states.unpack(sqlite_states.UPDATED, tmp_path / "updated")

    found = await found_in(root, scratch)

    assert (len(found.sessions), sum(map(len, found.sessions.values()))) == (11, 30)
    assert found.archived == {"agent:main:discord:channel:1234567890123456789:thread:9876"}
    assert sorted(name.partition(".jsonl.")[2][:3] for name in found.archives) == ["bak", "del", "res"]
    # 16 files that were read into the databases, their trajectories and indexes; 3 more beside the archives.
    assert (found.orphans, found.aside, found.problems, found.beside, found.superseded) == (set(), [], [], 22, 0)


async def test_lines_are_those_of_the_files_before_the_update(tmp_path: Path, scratch: Scratch) -> None:
    before = states.unpack(tmp_path / "before")
    after = sqlite_states.unpack(sqlite_states.UPDATED, tmp_path / "after")

    old, new = await found_in(before, scratch), await found_in(after, scratch)

    assert set(old.sessions) == set(new.sessions)
    assert {key for key, lines in old.sessions.items() if new.sessions[key][: len(lines)] != lines} == set()
    assert new.archives == old.archives


async def test_cold_deleted_reset_and_archived_sessions_are_carried(tmp_path: Path, scratch: Scratch) -> None:
    root = sqlite_states.unpack(sqlite_states.COLD, tmp_path / "cold")

    found = await found_in(root, scratch)

    key = "agent:main:telegram:direct:"
    assert {name.removeprefix(key): len(lines) for name, lines in found.sessions.items()} == {
        "1": 10,  # the last turn is in the log alone
        "2": 8,
        "4": 13,
        "5": 8,
        "6": 8,
    }
    assert any(json.loads(line)["type"] == "reset" for line in found.sessions[f"{key}4"])
    assert found.archived == {f"{key}5"}
    assert [len(lines) for lines in found.archives.values()] == [8]
    assert all(
        json.loads(lines[0])["type"] == "session" for lines in [*found.sessions.values(), *found.archives.values()]
    )
    # The two cold files and the published archive, which are found through the database.
    assert (found.orphans, found.aside, found.problems, found.beside) == (set(), [], [], 3)


async def test_without_its_database_what_lies_beside_it_is_carried_as_archives(
    tmp_path: Path, scratch: Scratch
) -> None:
    root = sqlite_states.unpack(sqlite_states.COLD, tmp_path / "cold")
    whole = await found_in(root, scratch)
    shutil.copy(root / "openclaw.json", root / "agents/main/agent/openclaw-agent.sqlite")
    (root / "agents/main/agent/openclaw-agent.sqlite-wal").unlink()

    found = await found_in(root, scratch)

    assert found.aside == [(Reason.DAMAGED_DATABASE, (root / "openclaw.json").read_bytes())]
    assert found.sessions == {}
    key = "agent:main:telegram:direct:"
    assert sorted(found.archives.values()) == sorted(
        [whole.sessions[f"{key}5"], whole.sessions[f"{key}6"], *whole.archives.values()]
    )


async def test_the_source_is_not_written(tmp_path: Path, scratch: Scratch) -> None:
    root = sqlite_states.unpack(sqlite_states.COLD, tmp_path / "cold")
    before = states.fingerprint(root)

    await found_in(root, scratch)

    assert states.fingerprint(root) == before


async def test_events_are_lines_compressed_or_not(database: Database, scratch: Scratch) -> None:
    database.session("k", LINES)
    database.session("none")

    found = await found_in(database.close(), scratch)

    assert found == Found(sessions={"k": LINES, "none": []})


async def test_a_transcript_that_no_session_names_is_an_orphan(database: Database, scratch: Scratch) -> None:
    database.session("k", LINES)
    database.window("earlier", "k", [HEADER])

    found = await found_in(database.close(), scratch)

    assert (found.archives, found.orphans) == ({"earlier.jsonl": [HEADER]}, {"earlier.jsonl"})


async def test_two_sessions_of_one_transcript_have_a_copy_each(database: Database, scratch: Scratch) -> None:
    database.session("k", LINES)
    entry = json.dumps({"sessionId": "id-0"})
    database.insert("session_nodes", session_key="l", current_session_id="id-0", entry_json=entry, updated_at=1)

    found = await found_in(database.close(), scratch)

    assert (found.sessions, found.archives) == ({"k": LINES, "l": LINES}, {})


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        pytest.param("{", Reason.INVALID_JSON, id="not JSON"),
        pytest.param("[]", Reason.NOT_AN_OBJECT, id="an array"),
        pytest.param('{"a":1,"a":2,"sessionId":"x"}', Reason.DUPLICATE_KEY, id="a key twice"),
        pytest.param("{}", Reason.NO_SESSION_ID, id="no sessionId"),
        pytest.param('{"sessionId":"x","y":"' + "y" * 9 * 1024**2 + '"}', Reason.TOO_LARGE, id="too large for a store"),
        pytest.param('{"sessionId":"x","y":"' + "y" * 13 * 1024**2 + '"}', Reason.TOO_LARGE, id="too large to hold"),
    ],
)
async def test_a_broken_entry_costs_itself(database: Database, scratch: Scratch, entry: str, reason: Reason) -> None:
    database.session("bad", LINES, entry)
    database.session("good", LINES)

    found = await found_in(database.close(), scratch)

    assert found.aside == [(reason, entry.encode())]
    assert found.sessions == {"good": LINES}
    assert found.archives == {"id-0.jsonl": LINES}


async def test_a_key_that_cannot_be_one_is_set_aside(database: Database, scratch: Scratch) -> None:
    database.session("k" * 5000, LINES)
    database.session("", LINES)

    found = await found_in(database.close(), scratch)

    assert [reason for reason, _ in found.aside] == [Reason.INVALID_KEY] * 2
    assert sorted(found.archives) == ["id-0.jsonl", "id-1.jsonl"]


async def test_a_cold_transcript_is_that_of_its_session(database: Database, scratch: Scratch) -> None:
    database.session("file")
    database.session("row")
    database.cold("id-0", LINES)
    database.cold("id-1", [HEADER], storage="sqlite")

    found = await found_in(database.close(), scratch)

    assert found == Found(sessions={"file": LINES, "row": [HEADER]}, beside=1)


@pytest.mark.parametrize("damage", ["gone", "other bytes", "of another transcript", "fewer events"])
async def test_a_cold_transcript_that_cannot_be_had_is_told(database: Database, scratch: Scratch, damage: str) -> None:
    database.session("k")
    columns = {"of another transcript": {"generation": "h"}, "fewer events": {"event_count": 4}}.get(damage, {})
    file = database.cold("id-0", LINES, **columns)
    if damage == "gone":
        file.unlink()
    elif damage == "other bytes":
        file.write_bytes(zstd.compress(b"{}\n"))

    found = await found_in(database.close(), scratch)

    assert found.sessions == {"k": []}
    expected = Reason.UNREADABLE if damage == "gone" else Reason.UNDECODABLE
    assert [problem.reason for problem in found.problems] == [expected]
    assert found.aside == [(expected, b"" if damage == "gone" else file.read_bytes())]


async def test_a_cold_file_that_was_taken_back_is_a_copy(database: Database, scratch: Scratch) -> None:
    database.session("k", [*LINES, TURN])
    database.cold("id-0", LINES)
    database.connection.execute("DELETE FROM session_transcript_cold_archives")

    found = await found_in(database.close(), scratch)

    assert found == Found(sessions={"k": [*LINES, TURN]}, beside=1)


async def test_a_cold_file_that_nothing_knows_is_an_archive(database: Database, scratch: Scratch) -> None:
    file = database.cold_file("lost", LINES)

    found = await found_in(database.close(), scratch)

    assert found.archives == {f"lost.{file.name[:12]}.jsonl": LINES}


NAME = "x.jsonl.deleted.2026-11-20T10-08-02.716Z.0123456789abcdef0123456789abcdef"
RAW = b"".join(line + b"\n" for line in LINES)


@pytest.mark.parametrize("encoding", ["zstd", "identity"])
async def test_an_archive_and_its_published_file_are_one(database: Database, scratch: Scratch, encoding: str) -> None:
    kept, suffix = (zstd.compress(RAW), ".zst") if encoding == "zstd" else (RAW, "")
    database.archive(NAME + suffix, kept, encoding)
    (database.sessions / (NAME + suffix)).write_bytes(kept)

    found = await found_in(database.close(), scratch)

    assert found == Found(archives={NAME: LINES}, beside=1)


async def test_a_file_that_differs_from_its_archive_is_carried_too(database: Database, scratch: Scratch) -> None:
    database.archive(f"{NAME}.zst", zstd.compress(RAW))
    (database.sessions / f"{NAME}.zst").write_bytes(zstd.compress(RAW + TURN + b"\n"))

    found = await found_in(database.close(), scratch)

    assert found.archives == {NAME: LINES, f"{NAME}.file": [*LINES, TURN]}


async def test_a_damaged_archive_is_set_aside_with_its_bytes(database: Database, scratch: Scratch) -> None:
    cut, bomb = zstd.compress(RAW)[:-3], zstd.compress(b"\n" * 20 * 1024**2)
    database.archive(f"cut-{NAME}.zst", cut)
    database.archive(f"bomb-{NAME}.zst", bomb)
    database.archive(f"lying-{NAME}", RAW, "identity", sha256="0" * 64)
    (database.sessions / f"file-{NAME}.zst").write_bytes(cut)

    found = await found_in(database.close(), scratch)

    assert sorted(found.aside) == sorted((Reason.UNDECODABLE, raw) for raw in (cut, bomb, RAW, cut))
    assert found.archives == {}


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        pytest.param(zstd.compress(b"\0" * 4 * 1024**2), 1024, id="more comes out than it says"),
        pytest.param(zstd.compress(b"{}"), 1024, id="less comes out than it says"),
        pytest.param(zstd.compress(b"\0" * 64 * 1024**2), 64 * 1024**2, id="above the limit"),
        pytest.param(zstd.compress(b"{}")[:-2], 2, id="cut off"),
        pytest.param(b"nothing of the kind", 2, id="not zstd"),
        pytest.param(zstd.compress(b"{}") + b"x", 2, id="more behind it"),
    ],
)
async def test_an_event_that_cannot_be_decoded_is_set_aside_and_the_rest_carried(
    database: Database, scratch: Scratch, packed: bytes, size: int
) -> None:
    database.session("k", LINES)
    database.unchecked(
        "INSERT INTO transcript_events (session_id, seq, created_at, event_zstd, event_utf8_bytes, navigation_json) "
        "VALUES ('id-0', 3, 1, ?, ?, '{}')",
        packed,
        size,
    )
    database.event("id-0", 4, TURN)

    found = await found_in(database.close(), scratch)

    assert found.sessions == {"k": [*LINES, TURN]}
    assert found.aside == [(Reason.UNDECODABLE, packed)]


async def test_a_line_feed_in_an_event_is_white_space(database: Database, scratch: Scratch) -> None:
    database.session("k", [HEADER, b'{\n  "type": "message"\n}'])
    database.event("id-0", 2, b"no\nJSON")

    found = await found_in(database.close(), scratch)

    assert found.sessions == {"k": [HEADER, b'{   "type": "message" }']}
    assert found.aside == [(Reason.UNDECODABLE, b"no\nJSON")]


def _files_before(database: Database, updated_at: int) -> None:
    """Write the files that the update leaves, or a return to 2026.7 makes."""
    entries = {
        "both": {"sessionId": "id-0", "updatedAt": updated_at},
        "file only": {"sessionId": "f", "updatedAt": updated_at},
    }
    (database.sessions / "sessions.json").write_text(json.dumps(entries))
    (database.sessions / "f.jsonl").write_bytes(HEADER + b"\n")


async def test_a_left_over_index_adds_what_the_database_lacks(database: Database, scratch: Scratch) -> None:
    database.session("both", [HEADER, TURN], updated_at=2000)
    database.session("database only", [HEADER])
    _files_before(database, updated_at=1000)
    (database.sessions / "id-0.jsonl").write_bytes(HEADER + b"\n")

    found = await found_in(database.close(), scratch)

    assert found.sessions == {"both": [HEADER, TURN], "database only": [HEADER], "file only": [HEADER]}
    assert (found.archives, found.superseded, found.beside) == ({}, 1, 1)


async def test_after_a_return_to_files_the_files_go_first(database: Database, scratch: Scratch) -> None:
    database.session("both", [HEADER], updated_at=1000)
    database.session("database only", [HEADER], updated_at=999)
    _files_before(database, updated_at=2000)
    (database.sessions / "id-0.jsonl").write_bytes(HEADER + b"\n" + TURN + b"\n")

    found = await found_in(database.close(), scratch)

    assert found.sessions == {"both": [HEADER, TURN], "database only": [HEADER], "file only": [HEADER]}
    assert (found.archives, found.superseded) == ({}, 1)


@pytest.mark.parametrize("files_first", [False, True])
async def test_a_file_that_went_another_way_is_carried_too(
    database: Database, scratch: Scratch, files_first: bool
) -> None:
    database.session("both", [HEADER, TURN], updated_at=1000)
    _files_before(database, updated_at=2000 if files_first else 500)
    (database.sessions / "id-0.jsonl").write_bytes(HEADER + b"\n" + LONG_LINE + b"\n")

    found = await found_in(database.close(), scratch)

    of_file, of_database = [HEADER, LONG_LINE], [HEADER, TURN]
    assert found.sessions["both"] == (of_file if files_first else of_database)
    if files_first:
        assert found.archives == {"id-0.database.jsonl": of_database}
    else:
        assert found.archives == {"id-0.file.jsonl": of_file}


async def test_a_transcript_that_was_not_read_into_the_database_is_its_file(
    database: Database, scratch: Scratch
) -> None:
    database.session("k")
    (database.sessions / "id-0.jsonl").write_bytes(RAW)

    found = await found_in(database.close(), scratch)

    assert found == Found(sessions={"k": LINES})


async def test_an_original_that_the_database_lacks_is_an_archive(database: Database, scratch: Scratch) -> None:
    database.session("k", LINES)
    folder = database.root / "agents/main/session-sqlite-import-archive"
    folder.mkdir()
    (folder / "agent_main_k.2026-11-20T10-08-08-906Z_id-0.jsonl.imported-1795170797180").write_bytes(RAW)
    (folder / "agent_main_l.gone.jsonl.imported-1795170797180").write_bytes(RAW)
    (folder / "agent_main_k.id-0.trajectory.jsonl.imported-1795170797180").write_bytes(RAW)

    found = await found_in(database.close(), scratch)

    assert found.archives == {"agent_main_l.gone.jsonl.imported-1795170797180": LINES}
    assert found.beside == 2


@pytest.mark.parametrize(
    ("store", "file"),
    [
        pytest.param(None, "sessions.sqlite", id="the charts' file, the configuration elsewhere"),
        pytest.param("/home/node/.openclaw/sessions", "sessions.sqlite", id="the charts' file"),
        pytest.param("/home/node/.openclaw/sessions", "sessions.work.sqlite", id="of one agent"),
        pytest.param("~/.openclaw/data/index.json5", "data/index.sqlite", id="another directory"),
        pytest.param("~/.openclaw/data/sessions.json", "data/openclaw-agent.sqlite", id="the default name elsewhere"),
        pytest.param("~/.openclaw/data/x.sqlite", "data/x.sqlite", id="a database by its name"),
    ],
)
async def test_a_database_beside_a_configured_store_is_read(
    tmp_path: Path, scratch: Scratch, store: str | None, file: str
) -> None:
    database = Database(tmp_path / "state", "work", path=file)
    database.session("agent:main:main", LINES)
    database.session("global", [HEADER])
    if store:
        (database.root / "openclaw.json").write_text(json.dumps({"session": {"store": store}}))
    root = database.close()

    with open_directory(root, scratch) as source:
        keys = [(item.key.agent, item.key.key) async for item in source.sessions() if isinstance(item, SourceSession)]
        found = await look(source)

    assert keys == [("main", "agent:main:main"), ("work", "global")]
    assert (found.sessions["global"], found.archives, found.aside, found.problems) == ([HEADER], {}, [], [])


async def test_a_store_of_each_agent_has_a_database_of_each(tmp_path: Path, scratch: Scratch) -> None:
    for agent in ("main", "work"):
        database = Database(tmp_path / "state", agent, path=f"stores/{agent}.sqlite")
        database.session("k", [HEADER])
        root = database.close()
    (root / "openclaw.json").write_text('{session: {store: "~/.openclaw/stores/{agentId}.json"}}')

    with open_directory(root, scratch) as source:
        keys = [(item.key.agent, item.key.key) async for item in source.sessions() if isinstance(item, SourceSession)]

    assert keys == [("main", "k"), ("work", "k")]


async def test_what_changed_since_is_read_again(database: Database, scratch: Scratch) -> None:
    database.session("k", [HEADER])
    database.connection.execute("PRAGMA journal_mode = WAL")
    with open_directory(database.root, scratch) as source:
        before = await look(source)
        database.event("id-0", 1, TURN)
        after = await look(source)

    assert (before.sessions, after.sessions) == ({"k": [HEADER]}, {"k": [HEADER, TURN]})
    database.close()


async def test_a_hot_journal_is_rolled_back(database: Database, scratch: Scratch, tmp_path: Path) -> None:
    database.session("k", [HEADER])
    database.connection.execute("PRAGMA cache_size = 1")
    database.connection.execute("BEGIN")
    for number in range(200):
        database.session(f"more-{number}", LINES)
    # As a kill within the transaction leaves it.
    shutil.copytree(database.root, tmp_path / "killed")
    database.connection.execute("ROLLBACK")

    found = await found_in(tmp_path / "killed", scratch)

    assert (tmp_path / "killed/agents/main/agent/openclaw-agent.sqlite-journal").stat().st_size > 0
    assert found == Found(sessions={"k": [HEADER]})


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("PRAGMA user_version = 24", "newer OpenClaw", id="too new"),
        pytest.param("PRAGMA user_version = 7", "test version", id="too old"),
        pytest.param("ALTER TABLE session_nodes RENAME COLUMN archived_at TO gone", "archived_at", id="a column lacks"),
    ],
)
async def test_a_schema_that_is_not_known_ends_a_migration(
    database: Database, scratch: Scratch, sql: str, words: str
) -> None:
    database.session("k", LINES)
    database.connection.execute(sql)

    found = await found_in(database.close(), scratch)

    assert [problem.reason for problem in found.problems] == [Reason.UNSUPPORTED_LAYOUT]
    assert words in found.problems[0].detail


async def test_a_database_of_2026_8_without_compression_is_read(database: Database, scratch: Scratch) -> None:
    database.session("k", [HEADER, TURN])
    database.connection.executescript(
        "PRAGMA foreign_keys = OFF;"
        "CREATE TABLE old (session_id TEXT NOT NULL, seq INTEGER NOT NULL, event_json TEXT NOT NULL,"
        " created_at INTEGER NOT NULL, PRIMARY KEY (session_id, seq)) STRICT;"
        "INSERT INTO old SELECT session_id, seq, event_json, created_at FROM transcript_events;"
        "DROP TABLE transcript_events; ALTER TABLE old RENAME TO transcript_events;"
        "DROP TABLE session_transcript_cold_archives; PRAGMA user_version = 19"
    )

    found = await found_in(database.close(), scratch)

    assert found == Found(sessions={"k": [HEADER, TURN]})


@pytest.mark.parametrize("kind", ["symlink", "directory", "empty", "text", "cut", "no log"])
async def test_what_is_no_database_is_set_aside(tmp_path: Path, scratch: Scratch, kind: str) -> None:
    root = sqlite_states.unpack(sqlite_states.COLD, tmp_path / "cold")
    file = root / "agents/main/agent/openclaw-agent.sqlite"
    whole = file.read_bytes()
    if kind == "no log":
        Path(f"{file}-wal").unlink()
    else:
        file.unlink()
        Path(f"{file}-wal").unlink()
    if kind == "symlink":
        file.symlink_to("/etc/passwd")
    elif kind == "directory":
        file.mkdir()
    elif kind != "no log":
        file.write_bytes({"empty": b"", "text": b"hello", "cut": whole[:100_000]}[kind])

    found = await found_in(root, scratch)

    expected = {"symlink": Reason.SYMLINK, "directory": Reason.SPECIAL_FILE}.get(kind, Reason.DAMAGED_DATABASE)
    if kind == "no log":
        # It is whole without: what the log held is what was written last.
        assert (found.aside, len(found.sessions)) == ([], 5)
    else:
        kept = file.read_bytes() if file.is_file() and not file.is_symlink() else b""
        assert found.aside == [(expected, kept)]
        assert len(found.archives) == 3


async def test_damage_is_told_even_where_every_row_can_be_read(database: Database, scratch: Scratch) -> None:
    database.connection.execute("BEGIN")
    for number in range(300):
        database.session(f"agent:main:k-{number}", LINES)
    database.connection.execute("COMMIT")
    root = database.close()
    # A key in the table that is another one in its index passes unseen where only one of them is read.
    raw = database.file.read_bytes()
    at = raw.index(b"agent:main:k-250")
    database.file.write_bytes(raw[:at] + b"agent:main:k-25x" + raw[at + 16 :])

    found = await found_in(root, scratch)

    assert [reason for reason, _ in found.aside] == [Reason.DAMAGED_DATABASE]
    assert len(found.sessions) >= 299
