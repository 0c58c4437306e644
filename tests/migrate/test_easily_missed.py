"""Places that are easily missed: what no configuration and no name of an agent points at is found, or told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.scratch import Scratch
from tests.migrate.sqlite_states import Database, zstd
from tests.migrate.states import HEADER, TURN, State, entries, write
from tests.migrate.test_layouts import read
from tests.migrate.test_sqlite_era import found_in

TEMPLATE = b'{"session":{"store":"~/.openclaw/stores/{agentId}.json"}}'
FIXED = b'{"session":{"store":"~/.openclaw/stores/all"}}'


@pytest.mark.parametrize("current", [True, False])
async def test_older_copies_of_an_index_in_the_state_directory_need_no_configuration(
    tmp_path: Path, scratch: Scratch, current: bool
) -> None:
    State(tmp_path).file("id-b.jsonl", HEADER + b"\n")
    if current:
        write(tmp_path / "sessions.json", entries({"agent:main:a": "id-a"}))
    write(tmp_path / "sessions.json.bak.5", entries({"agent:main:a": "id-old", "agent:main:b": "id-b"}))

    found = await read(tmp_path, scratch)

    assert found.sessions == {("main", "agent:main:a"): [], ("main", "agent:main:b"): [HEADER]}
    assert (found.superseded, found.set_aside) == (current, [])


@pytest.mark.parametrize("name", ["sessions", "sessions.json"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
async def test_what_stands_for_an_index_in_the_state_directory_is_told(
    tmp_path: Path, scratch: Scratch, name: str, kind: str
) -> None:
    State(tmp_path / "state").session("k")
    write(tmp_path / "outside", entries({"agent:main:a": "id-a"}))
    place = tmp_path / "state" / name
    if kind == "link":
        place.symlink_to("../outside")
    else:
        os.mkfifo(place)

    found = await read(tmp_path / "state", scratch)

    assert list(found.sessions) == [("main", "k")]
    assert found.problems == [(name, Reason.SYMLINK if kind == "link" else Reason.SPECIAL_FILE)]


async def test_an_agent_of_a_template_is_known_by_older_copies_alone(tmp_path: Path, scratch: Scratch) -> None:
    write(tmp_path / "openclaw.json", TEMPLATE)
    write(tmp_path / "stores" / "other.json.bak.5", entries({"agent:other:b": "id-b"}))
    (tmp_path / "agents").mkdir()

    assert list((await read(tmp_path, scratch)).sessions) == [("other", "agent:other:b")]


@pytest.mark.parametrize("name", ["other.sqlite", "other.other.sqlite"])
async def test_an_agent_of_a_template_is_known_by_its_database_alone(
    tmp_path: Path, scratch: Scratch, name: str
) -> None:
    root = tmp_path / "state"
    database = Database(root, "other", f"stores/{name}")
    database.session("agent:other:x", [HEADER])
    database.close()
    shutil.rmtree(root / "agents/other")
    write(root / "openclaw.json", TEMPLATE)

    assert (await read(root, scratch)).sessions == {("other", "agent:other:x"): [HEADER]}


async def test_an_agent_is_written_alike_in_a_shared_database_and_the_file_before_it(
    tmp_path: Path, scratch: Scratch
) -> None:
    root = tmp_path / "state"
    database = Database(root, "main", "stores/all.sqlite")
    database.session("agent:Work:a", [HEADER, TURN], id="id-a")
    database.close()
    write(root / "openclaw.json", FIXED)
    write(root / "stores" / "all", entries({"agent:Work:a": "id-a"}))

    found = await read(root, scratch)

    assert (found.sessions, found.superseded) == ({("work", "agent:Work:a"): [HEADER, TURN]}, 1)


async def test_a_database_that_names_no_agent_is_of_the_default_one(tmp_path: Path, scratch: Scratch) -> None:
    root = tmp_path / "state"
    database = Database(root, "work", "stores/all.sqlite")
    database.session("global", [HEADER])
    database.unchecked("DELETE FROM schema_meta")
    database.close()
    write(root / "openclaw.json", b'{"session":{"store":"~/.openclaw/stores/all"},"agents":{"list":[{"id":"work"}]}}')

    assert list((await read(root, scratch)).sessions) == [("work", "global")]


async def test_databases_that_share_a_directory_share_what_was_put_aside(tmp_path: Path, scratch: Scratch) -> None:
    root = tmp_path / "state"
    for agent, name, lines in (("main", "all", [HEADER, TURN]), ("work", "all.work", [TURN, HEADER])):
        database = Database(root, agent, f"stores/{name}.sqlite")
        database.session(f"agent:{agent}:a", lines, id=f"id-{agent}")
        database.window(f"cold-{agent}", f"agent:{agent}:a")
        cold = database.cold(f"cold-{agent}", lines)
        write(root / "stores/cold" / cold.name, cold.read_bytes())
        cold.unlink()
        database.close()
        imported = root / "session-sqlite-import-archive"
        write(imported / f"agent-{agent}.id-{agent}.jsonl.imported-5", b"".join(line + b"\n" for line in lines))
    write(imported / "lost.jsonl.imported-5.1", HEADER + b"\n" + HEADER + b"\n")
    write(root / "openclaw.json", FIXED)

    found = await read(root, scratch)

    assert len(found.sessions) == 2
    assert sorted(found.archives) == [
        ("main", "cold-main.jsonl", True),
        ("main", "lost.jsonl.imported-5.1", False),
        ("work", "cold-work.jsonl", True),
    ]


async def test_a_row_of_a_cold_archive_that_cannot_be_costs_itself_alone(tmp_path: Path, scratch: Scratch) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    database.window("id-lost", "k", [TURN])
    database.window("id-cold", "k")
    database.connection.execute("PRAGMA ignore_check_constraints = ON")
    database.cold("id-cold", [HEADER], archive_name="../../x")
    database.archive(f"a.jsonl.deleted.2026-11-20T10-08-02.716Z.{'0' * 32}.zst", zstd.compress(TURN + b"\n"))

    found = await found_in(database.close(), scratch)

    assert {"id-lost.jsonl", f"a.jsonl.deleted.2026-11-20T10-08-02.716Z.{'0' * 32}"} <= set(found.archives)
    assert (Reason.INVALID_TRANSCRIPT_NAME, b"") in found.aside


async def test_a_cold_archive_that_does_not_say_whose_it_is_costs_itself_alone(
    tmp_path: Path, scratch: Scratch
) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    nameless = database.cold_file("", [HEADER]).read_bytes()
    others = [database.cold_file(f"c-{number}", [TURN]) for number in range(4)]

    found = await found_in(database.close(), scratch)

    assert len(found.archives) == len(others)
    assert found.aside == [(Reason.UNDECODABLE, nameless)]


async def test_what_was_put_aside_is_carried_where_the_database_is_lost(state: State, scratch: Scratch) -> None:
    state.session("k")
    database = Database(state.root.with_name("other"))
    write(state.folder / "cold" / (cold := database.cold_file("id-cold", [TURN])).name, cold.read_bytes())
    database.connection.close()
    write(state.root / "agents/main/session-sqlite-import-archive/a.id-b.jsonl.imported-5", HEADER + b"\n")

    found = await found_in(state.root, scratch)

    assert list(found.sessions) == ["k"]
    assert sorted(found.archives.values()) == [[TURN], [HEADER]]


@pytest.mark.parametrize("store", [TEMPLATE, FIXED])
async def test_a_configured_index_that_is_not_there_is_told_where_transcripts_lie(
    tmp_path: Path, scratch: Scratch, store: bytes
) -> None:
    write(tmp_path / "openclaw.json", store)
    (tmp_path / "agents").mkdir()

    assert (await read(tmp_path, scratch)).problems == []

    name = "stores/main.json" if store == TEMPLATE else "stores/all"
    write(tmp_path / "stores" / "id-a.jsonl", HEADER + b"\n")
    assert (await read(tmp_path, scratch)).problems == [(name, Reason.MISSING_INDEX)]

    write(tmp_path / name, entries({"agent:main:a": "id-a"}))
    assert (await read(tmp_path, scratch)).problems == []


async def test_a_database_under_another_name_is_told_where_an_agent_has_none(tmp_path: Path, scratch: Scratch) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    database.close()
    write(tmp_path / "state/agents/main/agent/auth-profiles.json", b"{}")
    place = tmp_path / "state/agents/main/agent/openclaw-agent.sqlite"
    shutil.copy(place, place.with_name("copy.old"))

    assert (await read(tmp_path / "state", scratch)).problems == []

    place.unlink()
    told = [("agents/main/agent/copy.old", Reason.UNKNOWN_FILE)]
    assert (await read(tmp_path / "state", scratch)).problems == told


async def test_what_has_no_business_among_imported_files_is_told(tmp_path: Path, scratch: Scratch) -> None:
    database = Database(tmp_path / "state")
    database.session("k", [HEADER])
    database.close()
    folder = tmp_path / "state/agents/main/session-sqlite-import-archive"
    write(folder / "legacy-store.sessions.json.imported-1795170797237", b"{}")
    write(folder / "mine.jsonl", HEADER + b"\n")

    told = [("agents/main/session-sqlite-import-archive/mine.jsonl", Reason.UNKNOWN_FILE)]
    assert (await read(tmp_path / "state", scratch)).problems == told
