"""Each layout is found and read, in order of precedence; what cannot be followed is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sessionstore.migrate.directory import open_directory
from sessionstore.migrate.items import Lines, SetAside, SourceArchive, SourceSession
from sessionstore.openclaw.problems import Problem, Reason, SourceError
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions import Status
from sessionstore.sessions.memory import MemoryStore
from tests.migrate import states
from tests.migrate.conftest import migrate, verify
from tests.migrate.states import HEADER, TURN, State, entries, entry, write


@dataclass(frozen=True)
class Found:
    """What a source gave.

    Attributes:
        sessions: agent and key -> lines, in the order in which they came.
        set_aside: key and reason of each.
    """

    layouts: tuple[str, ...]
    sessions: dict[tuple[str, str], list[bytes]]
    archived: dict[str, str | None]
    archives: list[tuple[str, str, bool]]
    set_aside: list[tuple[str | None, Reason]]
    problems: list[tuple[str, Reason]]
    superseded: int


async def read(root: Path, scratch: Scratch, state_dir: str = "/home/node/.openclaw") -> Found:
    with open_directory(root, scratch, state_dir=state_dir) as source:
        items = [item async for item in source.sessions()]
        sessions = [item for item in items if isinstance(item, SourceSession)]
        archives = [item async for item in source.archives()]
        return Found(
            source.layouts,
            {(item.key.agent, item.key.key): await _lines(item.lines) for item in sessions},
            {item.key.key: item.marks.reason for item in sessions if item.status is Status.ARCHIVED},
            [(item.agent, item.name, item.orphan) for item in archives if isinstance(item, SourceArchive)],
            [(item.problem.key, item.problem.reason) for item in items if isinstance(item, SetAside)],
            [(found.path, found.reason) for found in archives if isinstance(found, Problem)],
            source.superseded(),
        )


async def _lines(lines: Lines | None) -> list[bytes]:
    return [line for batch in [b async for b in lines.batches()] for line in batch.lines] if lines else []


async def test_an_index_that_the_charts_configure_is_read_with_transcripts_of_two_places(
    tmp_path: Path, scratch: Scratch
) -> None:
    found = await read(states.charts(tmp_path / "state"), scratch)

    assert found.sessions == {
        ("main", "agent:main:a"): [HEADER, TURN],
        ("work", "agent:work:b"): [HEADER, TURN],
        ("main", "global"): [HEADER],
    }
    assert found.archives == [
        ("main", "id-a.jsonl.reset.2026-11-20T10-07-57.629Z", False),
        ("main", "lost.jsonl", True),
    ]
    assert (found.set_aside, found.problems, found.superseded) == ([], [], 0)
    assert found.layouts == ("session.store", "sessions.json")


async def test_what_openclaw_wrote_as_the_charts_configure_it_is_read(tmp_path: Path, scratch: Scratch) -> None:
    found = await read(states.unpack_charts(tmp_path / "state"), scratch)

    lines = {name: len(lines) for name, lines in found.sessions.items()}
    assert lines == {("main", "agent:main:main"): 10, ("work", "agent:work:main"): 6}
    assert (found.archives, found.set_aside, found.problems, found.superseded) == ([], [], [], 0)


async def test_the_charts_index_is_read_where_its_configuration_is_not(tmp_path: Path, scratch: Scratch) -> None:
    root = states.charts(tmp_path / "state")
    (root / "openclaw.json").unlink()

    found = await read(root, scratch)

    assert [key for _, key in found.sessions] == ["agent:main:a", "agent:work:b", "global"]
    assert found.problems == []


async def test_a_template_is_read_for_every_agent_that_it_has_a_file_of(tmp_path: Path, scratch: Scratch) -> None:
    found = await read(states.template(tmp_path / "state"), scratch)

    assert found.sessions == {("other", "agent:other:a"): [HEADER, TURN], ("work", "agent:work:a"): [HEADER]}
    assert (found.archives, found.set_aside, found.problems) == ([], [], [])


@pytest.mark.parametrize(
    ("store", "path"),
    [
        ("/home/node/.openclaw/elsewhere/index", "elsewhere/index"),
        ("/home/node/.openclaw/x/../elsewhere/index", "elsewhere/index"),
        ("~/.openclaw/elsewhere/index", "elsewhere/index"),
        ("${OPENCLAW_STATE_DIR}/elsewhere/index", "elsewhere/index"),
        ("${HOME}/.openclaw/elsewhere/index", "elsewhere/index"),
        ("/home/node/.openclaw/agents/main/sessions/sessions.json", "agents/main/sessions/sessions.json"),
    ],
)
async def test_a_configured_path_is_found_within_the_directory(
    tmp_path: Path, scratch: Scratch, store: str, path: str
) -> None:
    root = tmp_path / "state"
    write(root / "openclaw.json", b'{"session":{"store":"%s"}}' % store.encode())
    write(root / path, entries({"agent:work:a": "id-a"}))
    write((root / path).with_name("id-a.jsonl"), HEADER + b"\n")

    found = await read(root, scratch)

    assert found.sessions == {("work", "agent:work:a"): [HEADER]}
    assert (found.archives, found.problems) == ([], [])


@pytest.mark.parametrize(
    ("store", "state_dir"),
    [
        pytest.param("/data/sessions.json", "/home/node/.openclaw", id="another volume"),
        pytest.param("/home/node/.openclaw/../x", "/home/node/.openclaw", id="out of it by dots"),
        pytest.param("/home/node/.openclaw2/x", "/home/node/.openclaw", id="a name that begins alike"),
        pytest.param("data/sessions.json", "/home/node/.openclaw", id="relative to where the gateway was started"),
        pytest.param("~other/sessions.json", "/home/node/.openclaw", id="no home directory"),
        pytest.param("~/sessions.json", "/data", id="a home that the state directory does not tell"),
        pytest.param("${DATA}/sessions.json", "/home/node/.openclaw", id="a variable of the gateway"),
    ],
)
async def test_a_configured_path_that_leads_elsewhere_is_told_and_not_followed(
    tmp_path: Path, scratch: Scratch, store: str, state_dir: str
) -> None:
    root = tmp_path / "state"
    State(root).session("agent:main:a")
    write(root / "openclaw.json", b'{"session":{"store":"%s"}}' % store.encode())

    found = await read(root, scratch, state_dir)

    assert list(found.sessions) == [("main", "agent:main:a")]
    assert found.problems == [("openclaw.json", Reason.UNSUPPORTED_LAYOUT)]


async def test_transcripts_in_the_root_that_nothing_explains_end_a_migration(tmp_path: Path, scratch: Scratch) -> None:
    State(tmp_path / "state").session("agent:main:a")
    write(tmp_path / "state" / "lost.jsonl", HEADER + b"\n")

    assert (await read(tmp_path / "state", scratch)).problems == [(".", Reason.UNSUPPORTED_LAYOUT)]

    write(tmp_path / "state" / "openclaw.json", b"{}")
    assert (await read(tmp_path / "state", scratch)).archives == [("main", "lost.jsonl", True)]


async def test_of_rotated_indexes_the_newest_counts_and_older_ones_fill_the_gaps(
    tmp_path: Path, scratch: Scratch
) -> None:
    found = await read(states.rotated(tmp_path / "state"), scratch)

    assert found.sessions == {
        ("main", "agent:main:a"): [HEADER, b'{"of":"id-a"}'],
        ("main", "agent:main:b"): [HEADER, b'{"of":"id-b"}'],
        ("main", "agent:main:c"): [HEADER, b'{"of":"id-c"}'],
    }
    assert found.archives == [("main", "id-old.jsonl", True)]
    assert (found.set_aside, found.problems, found.superseded) == ([], [], 1)


async def test_a_broken_rotated_index_is_set_aside_and_an_older_one_fills_the_gaps(
    tmp_path: Path, scratch: Scratch
) -> None:
    root = states.rotated(tmp_path / "state")
    newest = root / "agents" / "main" / "sessions" / "sessions.json.bak.1795169290837"
    newest.write_bytes(newest.read_bytes()[:-30])

    found = await read(root, scratch)

    assert [key for _, key in found.sessions] == ["agent:main:a", "agent:main:c"]
    assert found.set_aside == [(None, Reason.INVALID_JSON)]


async def test_a_whole_index_goes_before_a_rotated_one(tmp_path: Path, scratch: Scratch) -> None:
    root = states.rotated(tmp_path / "state")
    write(root / "agents" / "main" / "sessions" / "sessions.json", entries({"agent:main:a": "id-old"}))

    found = await read(root, scratch)

    assert found.sessions[("main", "agent:main:a")] == [HEADER, b'{"of":"id-old"}']
    assert (len(found.sessions), found.superseded) == (3, 2)


async def test_an_entry_that_cannot_be_carried_does_not_hide_an_older_one(tmp_path: Path, scratch: Scratch) -> None:
    root = states.rotated(tmp_path / "state")
    write(root / "agents" / "main" / "sessions" / "sessions.json", b'{"agent:main:c":{"updatedAt":1}}')

    found = await read(root, scratch)

    assert found.sessions[("main", "agent:main:c")] == [HEADER, b'{"of":"id-c"}']
    assert found.set_aside == [("agent:main:c", Reason.NO_SESSION_ID)]


async def test_the_legacy_root_belongs_to_the_default_agent(tmp_path: Path, scratch: Scratch) -> None:
    root = states.legacy(tmp_path / "state")
    write(root / "openclaw.json", b"{agents:{list:[{id:'first'},{id:'Second One',default:true}]}}")

    found = await read(root, scratch)

    assert found.sessions == {("second-one", "main"): [HEADER], ("second-one", "agent:main:b"): [HEADER]}
    assert found.archives == [("second-one", "lost.jsonl", True)]
    assert (found.layouts, found.problems) == (("legacy",), [])


async def test_a_directory_with_escaped_keys_is_read_names_with_a_dot_included(
    tmp_path: Path, scratch: Scratch
) -> None:
    found = await read(states.escaped(tmp_path / "state"), scratch)

    assert [key for _, key in found.sessions] == [".hidden", "100%\\", "agent:main:a/b"]
    assert (found.archives, found.set_aside, found.problems) == ([], [], [])


async def test_a_stamped_directory_is_read(tmp_path: Path, scratch: Scratch) -> None:
    found = await read(states.stamped(tmp_path / "state"), scratch)

    assert found.sessions == {
        ("main", "agent:main:ä?>"): [HEADER],
        ("main", "agent:main:" + "x" * 200): [HEADER, TURN],
    }
    assert (found.archives, found.set_aside, found.problems) == ([], [], [])


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param(None, id="none"),
        pytest.param(b"{", id="torn"),
        pytest.param(b'{"kind":"openclaw-session-store-directory","layoutVersion":2,"version":1}', id="unknown"),
    ],
)
async def test_a_directory_without_a_valid_stamp_is_set_aside_entry_by_entry(
    tmp_path: Path, scratch: Scratch, stamp: bytes | None
) -> None:
    root = states.stamped(tmp_path / "state")
    path = root / "agents" / "main" / "sessions" / "sessions.d" / "state.json"
    path.unlink() if stamp is None else path.write_bytes(stamp)

    found = await read(root, scratch)

    assert found.sessions == {}
    assert sorted(reason for _, reason in found.set_aside) == [Reason.INCOMPLETE] * 2
    assert [name for _, name, _ in found.archives] == ["id-a.jsonl", "id-b.jsonl"]


async def test_a_move_that_was_never_finished_adds_nothing_that_another_index_has(
    tmp_path: Path, scratch: Scratch
) -> None:
    state = State(tmp_path / "state")
    state.session("agent:main:a")
    for key in ("a", "b"):
        write(state.folder / "sessions.d.migrating" / f"agent%3Amain%3A{key}.json", entry("id-0"))

    found = await read(state.root, scratch)

    assert list(found.sessions) == [("main", "agent:main:a")]
    assert (found.set_aside, found.superseded) == ([("agent:main:b", Reason.INCOMPLETE)], 1)


async def test_a_directory_with_dashes_takes_the_key_that_an_entry_tells(tmp_path: Path, scratch: Scratch) -> None:
    found = await read(states.dashed(tmp_path / "state"), scratch)

    assert found.sessions == {("main", "agent:main:a"): [HEADER], ("main", "agent:main:b--b"): [HEADER]}
    assert (found.archives, found.set_aside, found.problems) == ([], [], [])


async def test_what_is_no_entry_in_a_directory_is_told(tmp_path: Path, scratch: Scratch) -> None:
    root = states.escaped(tmp_path / "state")
    folder = root / "agents" / "main" / "sessions" / "sessions.d"
    write(folder / "notes.txt", b"")
    write(folder / "other" / "x.json", b"")
    write(folder / "x.json.4711.tmp", b"")
    write(folder / "torn.json", b'{"sessionId"')
    (folder / "link.json").symlink_to(folder / "torn.json")
    (folder / "entries").symlink_to(folder / "other")
    write(folder / "agent%3amain%3aa%2fb.json", entry("id-b"))

    found = await read(root, scratch)

    assert {key for _, key in found.sessions} == {".hidden", "100%\\", "agent:main:a/b"}
    assert sorted(found.set_aside) == [
        ("agent:main:a/b", Reason.DUPLICATE_KEY),
        ("link", Reason.SYMLINK),
        ("torn", Reason.INVALID_JSON),
    ]
    prefix = "agents/main/sessions/sessions.d"
    assert found.problems == [(f"{prefix}/{name}", Reason.UNKNOWN_FILE) for name in ("entries", "notes.txt", "other")]


async def test_a_kept_directory_fills_gaps_as_a_rotated_index_does(tmp_path: Path, scratch: Scratch) -> None:
    root = states.escaped(tmp_path / "state")
    folder = root / "agents" / "main" / "sessions"
    (folder / "sessions.d").rename(folder / "sessions.d.bak.1795169290837")
    write(folder / "sessions.json", entries({".hidden": "id-c"}))

    found = await read(root, scratch)

    assert ([key for _, key in found.sessions], found.superseded) == ([".hidden", "100%\\", "agent:main:a/b"], 1)


@pytest.mark.parametrize("where", ["archived", "agents/main/sessions/archived", "agents/main/sessions"])
async def test_archived_sessions_are_carried_as_such(tmp_path: Path, scratch: Scratch, where: str) -> None:
    root = states.archived(tmp_path / "state")
    if where != "archived":
        write(root / where / "archived-store.json", (root / "archived" / "archived-store.json").read_bytes())
        (root / "archived" / "archived-store.json").unlink()
        (root / "archived").rename(root / "agents" / "main" / "sessions" / "moved")
        target = root / "agents" / "main" / "sessions" / "archived"
        for path in (root / "agents" / "main" / "sessions" / "moved" / "sessions").iterdir():
            write(target / path.name, path.read_bytes())
            path.unlink()
        for path in (target.with_name("moved") / "sessions", target.with_name("moved")):
            path.rmdir()

    found = await read(root, scratch)

    assert found.sessions == {("main", "agent:main:here"): [HEADER], ("main", "agent:main:gone"): [HEADER, TURN]}
    assert found.archived == {"agent:main:gone": "done with it"}
    assert (found.archives, found.set_aside, found.problems) == ([("main", "lost.jsonl", True)], [], [])


@pytest.mark.parametrize("layout", states.LAYOUTS)
async def test_every_layout_is_migrated_and_proven(tmp_path: Path, layout: str) -> None:
    root, store = states.LAYOUTS[layout](tmp_path / "state"), MemoryStore()

    report = await migrate(root, store)

    assert (report.outcome, report.problem_count) == ("Verified", 0)
    assert report.accounts is not None
    assert report.accounts.sessions.total == report.accounts.sessions.migrated == report.survey.sessions > 0
    assert report.accounts.lines.total == report.survey.lines > 0
    assert report.accounts.archives.total == report.survey.archives
    assert (await verify(root, store)).outcome == "Verified"


@pytest.mark.parametrize("layout", states.LAYOUTS)
async def test_every_layout_is_the_same_at_every_pass(tmp_path: Path, scratch: Scratch, layout: str) -> None:
    root = states.LAYOUTS[layout](tmp_path / "state")

    assert await read(root, scratch) == await read(root, scratch)


@pytest.mark.parametrize("names", [(), ("openclaw.json",), ("agents",), (".openclaw/agents/",)])
async def test_a_directory_without_sessions_is_refused(
    tmp_path: Path, scratch: Scratch, names: tuple[str, ...]
) -> None:
    root = tmp_path / "state"
    root.mkdir()
    for name in names:
        (root / name).mkdir(parents=True) if name.endswith("/") else (root / name).write_bytes(b"{}")

    with pytest.raises(SourceError) as caught:
        await read(root, scratch)

    assert caught.value.reason == "NothingFound"
