"""What migrations set aside is found again, shown as what it was, and dropped: by the program, on real stores."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate.items import SourceSession
from sessionstore.migrate.keeper import Keeper
from sessionstore.openclaw.blob import Held
from sessionstore.openclaw.problems import Problem, Reason
from sessionstore.openclaw.transcript import Batch
from sessionstore.sessions import SessionKey, Store, open_store
from sessionstore.sessions.record import Entry
from tests import mongo_server
from tests.migrate.conftest import command
from tests.migrate.states import HEADER, State

KEY = SessionKey("main", "agent:main:k")


@dataclass(frozen=True)
class Lines:
    """A transcript of so many lines of so many bytes."""

    count: int
    size: int = 100
    path: str = "a.jsonl"
    stamp: str | None = None

    def few(self) -> None:
        return None

    async def batches(self) -> AsyncIterator[Batch]:
        for _ in range(self.count):
            yield Batch([b'"' + b"x" * (self.size - 2) + b'"'])


@dataclass(frozen=True)
class Program:
    """The program on one store."""

    url: str

    def __call__(self, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        words = command("--store", self.url, *arguments)
        return subprocess.run(words, input=stdin, capture_output=True, timeout=120, check=False)

    def json(self, *arguments: object) -> list[dict[str, Any]]:
        """Return the objects that it prints, one a line."""
        done = self(*arguments, "--json")
        assert done.returncode in (0, 3), done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def json_of(self, status: int, *arguments: object) -> dict[str, Any]:
        """Return the one object that it prints, and ends with this status."""
        done = self(*arguments, "--json")
        assert done.returncode == status, done
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def ids(self, *arguments: object) -> list[str]:
        return [row["id"] for row in self.json("quarantine", "list", *arguments)]


@pytest.fixture(scope="module")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mongo_server.MongoServer]:
    with mongo_server.running(tmp_path_factory.mktemp("mongo")) as server:
        yield server


_keyspaces = (f"kept-{number}" for number in itertools.count(1))


@pytest.fixture(params=["redis", "directory", "ferretdb"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that keeps documents."""
    if request.param == "redis":
        return str(request.getfixturevalue("url"))
    if request.param == "directory":
        return f"directory://{tmp_path}/store"
    server: mongo_server.MongoServer = request.getfixturevalue("mongo")
    return server.url(server.add_user(next(_keyspaces)))


def problem(number: int = 0, **fields: Any) -> Problem:
    reason = fields.pop("reason", Reason.INVALID_JSON)
    return Problem("agents/main/sessions/sessions.json", reason, "no JSON", "main", f"key-{number:05}", **fields)


async def fill(url: str, count: int, source_name: str = "s") -> list[str]:
    """Quarantine so many things; return their ids."""
    async with open_store(url) as store:
        keeper = Keeper(store, source_name)
        names = [await keeper.keep_problem(problem(number), Held(b"raw %d" % number)) for number in range(count)]
    return [name.rpartition("/")[2] for name in names]


async def keep_large(store: Store, source_name: str = "s") -> str:
    """Keep a session of a few parts; return its id."""
    session = SourceSession(KEY, Entry(b'{"sessionId":"a"}'), Lines(100, 100_000))
    return (await Keeper(store, source_name).keep_session(session)).rpartition("/")[2]


async def test_what_a_migration_sets_aside_is_listed_shown_and_dropped(state: State, anywhere: str) -> None:
    state.session("k", lines=HEADER + b'\n{"torn')
    state.session("bad", sessionId=None, lines=None)
    program = Program(anywhere)
    assert program("migrate", state.root, "--source-name", "old").returncode == 3

    rows = {row["reason"]: row for row in program.json("quarantine", "list")}

    assert set(rows) == {"TornLastLine", "NoSessionId"}
    torn, bad = rows["TornLastLine"], rows["NoSessionId"]
    assert (torn["source"], torn["kind"], torn["key"], torn["bytes"]) == ("old", "torn", "k", 6)
    assert program("quarantine", "show", torn["id"][:5], "--raw").stdout == b'{"torn'
    raw = program("quarantine", "show", bad["id"], "--raw").stdout
    assert hashlib.sha256(raw).hexdigest() == bad["sha256"] and json.loads(raw)["updatedAt"]
    assert program.json("quarantine", "list", "--reason", "NoSessionId") == [bad]
    assert program.json("quarantine", "drop", bad["id"], "--source-name", "old") == [{"dropped": 1}]
    assert program.ids() == [torn["id"]]
    assert program.json("quarantine", "drop", "--all", "--yes") == [{"dropped": 1}]
    assert b"Nothing is in quarantine" in program("quarantine", "list").stderr


async def test_what_people_see_is_safe_in_a_terminal(url: str) -> None:
    evil = Problem("p\x1b[2J", Reason.INVALID_KEY, "[red]no\nkey[/red]", "\u202eagent", "k\x07" * 500)
    async with open_store(url) as store:
        await Keeper(store, "s").keep_problem(evil, Held(b"\x1b]0;evil\x07\xff\nsecond"))
    program = Program(url)

    listed, shown = program("quarantine", "list"), program("quarantine", "show", program.ids()[0])

    for text in (listed.stdout.decode(), shown.stdout.decode()):
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "\\x07" in text
    assert "[red]no\\nkey[/red]" in shown.stdout.decode()
    assert "\\x1b]0;evil\\x07\\xff\nsecond\n" in shown.stdout.decode()
    assert len(listed.stdout) < 2000


async def test_a_side_that_lost_a_conflict_is_shown_too(url: str, store: Store, tmp_path: Path) -> None:
    id, program, file = await keep_large(store), Program(url), tmp_path / "out"

    assert program.ids() == []
    assert program.ids("--conflicts") == [id]
    assert b" source  session " in program("quarantine", "list", "--conflicts").stdout
    assert b"bytes more; --raw" in program("quarantine", "show", id).stderr
    assert program("quarantine", "show", id, "--to", file).returncode == 0
    assert file.read_bytes() == b'{"sessionId":"a"}\n' + (b'"' + b"x" * 99_998 + b'"\n') * 100
    assert file.stat().st_mode & 0o777 == 0o600
    again = program("quarantine", "show", id, "--to", file)
    assert (again.returncode, again.stderr) == (1, f"sessionstore: {file}: File exists; name another file\n".encode())


async def test_many_are_paged_and_none_is_left_out(url: str, count: Any) -> None:
    many = count(1500, 10000)
    ids = await fill(url, many)
    program = Program(url)

    assert program.ids() == sorted(ids)
    few = program("quarantine", "list")
    assert len(few.stdout.splitlines()) == 51 and f"50 of {many}".encode() in few.stderr
    everything = program("quarantine", "list", "--limit", 0).stdout.decode()
    assert {line.split()[0] for line in everything.splitlines()} == {"ID", *ids}
    assert program("quarantine", "drop", "--all", "--yes").stdout == f"{many} dropped\n".encode()
    assert program.ids() == []


@pytest.mark.parametrize("part", [0, 1, 2], ids=["the header", "a part", "the last part"])
async def test_what_is_not_whole_is_told_and_not_shown(url: str, store: Store, tmp_path: Path, part: int) -> None:
    id, program, file = await keep_large(store), Program(url), tmp_path / "out"
    await store.delete_document(f"migration/s/conflicts/{id}{f'/{part}' if part else ''}")
    flaw = f"part {part + 1} of" if part else "its header is missing"

    listed = program("quarantine", "list", "--conflicts")
    assert listed.returncode == 3 and b"damaged" in listed.stdout
    for arguments in ([], ["--raw"], ["--to", file]):
        shown = program("quarantine", "show", id, *arguments)
        assert shown.returncode == 4 and flaw in shown.stderr.decode()
        assert b"xxx" not in shown.stdout and not file.exists()
    assert program.json("quarantine", "drop", id) == [{"dropped": 1}]
    assert [name async for name in store.list_documents("migration/s/conflicts/")] == []


@pytest.mark.parametrize(
    ("number", "body", "flaw"),
    [
        pytest.param(0, b"not JSON\nraw", "header cannot be understood", id="no JSON"),
        pytest.param(0, b"[1]\nraw", "header cannot be understood", id="no object"),
        pytest.param(0, b'{"parts":true,"bytes":"x","sha256":3}\n', "header cannot be understood", id="other types"),
        pytest.param(0, b'{"parts":1,"bytes":3,"sha256":""}\nraw', "header was changed", id="another header"),
        pytest.param(0, b"[" * 100_000, "header cannot be understood", id="deep"),
        pytest.param(0, b"", "header cannot be understood", id="empty"),
        pytest.param(1, b"other", "bytes were changed", id="other bytes"),
    ],
)
async def test_what_was_edited_by_hand_is_told(url: str, store: Store, number: int, body: bytes, flaw: str) -> None:
    id, program = await keep_large(store), Program(url)
    await store.put_document(f"migration/s/conflicts/{id}{f'/{number}' if number else ''}", body)

    shown = program("quarantine", "show", id, "--raw")

    assert (shown.returncode, shown.stdout) == (4, b"")
    assert flaw in shown.stderr.decode() and shown.stderr.count(b"\n") == 1


async def test_small_things_that_were_edited_are_told_in_the_list(url: str, store: Store) -> None:
    (id,) = await fill(url, 1)
    name = f"migration/s/quarantine/{id}"
    await store.put_document(name, (await store.get_document(name) or b"") + b"more")
    done = Program(url)("quarantine", "list")
    assert done.returncode == 3 and b"damaged" in done.stdout


async def test_ids_and_names_that_do_not_fit_are_explained(url: str, store: Store) -> None:
    (id,) = await fill(url, 1, "old-home")
    assert await fill(url, 1, "other") == [id]
    program = Program(url)

    def error(status: int, *arguments: object) -> str:
        done = program("quarantine", *arguments)
        assert done.returncode == status, done
        return done.stderr.decode()

    assert "'zz'" in error(1, "show", "zz")
    assert f"{id} of old-home, {id} of other; say more of it, or --source-name" in error(2, "show", id[:3])
    assert "'old-hom'; it has old-home, other" in error(1, "list", "--source-name", "old-hom")
    assert "one ID or more, or --all" in error(2, "drop")
    assert "one ID or more, or --all" in error(2, "drop", id, "--all")
    assert "say --yes" in error(2, "drop", "--all")
    assert "go with --all" in error(2, "drop", id, "--reason", "x")
    assert error(0, "show", id, "--source-name", "other") == ""
    assert program.ids() == [id, id]


async def test_odd_names_are_shown_and_can_be_named(url: str, store: Store) -> None:
    odd = "we ird\x1b[31m[b]é"
    (id,) = await fill(url, 1, odd)
    await store.put_document("migration/", b"x")
    await store.put_document("migration/.won/abc", b"x")
    await store.put_document("migration/s/quarantine/a/b/c", b"x")
    program = Program(url)

    assert program.ids("--source-name", odd) == [id]
    assert "\x1b" not in program("quarantine", "list").stdout.decode()
    said = program("quarantine", "list", "--source-name", "x").stderr.decode()
    assert "it has s, we ird\\x1b" in said


async def test_a_store_without_documents_says_where_to_look(tmp_path: Path) -> None:
    done = Program(f"file://{tmp_path}")("quarantine", "list")
    assert done.returncode == 1 and b"--quarantine-dir" in done.stderr


async def test_a_store_that_is_away_is_no_empty_list() -> None:
    for words in (["quarantine", "list"], ["report"], ["finalize", "--source-name", "s", "--yes"]):
        done = Program("redis://127.0.0.1:1?keyspace=k&connect_timeout=0.2")(*words)
        assert done.returncode == 4, done
        assert done.stdout == b""


async def test_a_store_of_files_leaves_what_is_set_aside_in_a_directory(state: State, tmp_path: Path) -> None:
    state.session("bad", sessionId=None, lines=None)
    words = ("migrate", state.root, "--source-name", "old", "--quarantine-dir")

    refused = Program(f"file://{tmp_path}/store")(*words, state.root / "kept")
    assert refused.returncode == 2 and b"a source is never written" in refused.stderr
    done = Program(f"file://{tmp_path}/store")(*words, tmp_path / "kept")

    assert done.returncode == 3, done
    (raw,) = (tmp_path / "kept" / "old" / "quarantine").glob("main-bad.*.raw")
    header = json.loads(raw.with_suffix(".json").read_bytes())
    assert (header["reason"], header["bytes"]) == ("NoSessionId", raw.stat().st_size)
    assert b"under %s/kept/old/" % str(tmp_path).encode() in done.stdout
    assert not (state.root / "kept").exists()
