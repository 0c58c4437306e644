"""What migrations left in a store is told afterwards, and dropped in the end, except what is nowhere else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sessionstore.migrate import claims, finalize
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.finalize import Finalizer
from sessionstore.migrate.keeper import Keeper
from sessionstore.migrate.pages import Pages
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw.blob import Held
from sessionstore.sessions import Store
from sessionstore.sessions.exceptions import Unavailable
from sessionstore.sessions.memory import MemoryStore
from tests.migrate.conftest import run
from tests.migrate.states import HEADER, State
from tests.migrate.test_quarantine import Program, keep_large, problem

PLANNED = {"agent": "main", "key": "k", "decision": "NewerThere", "lines": 3}


async def leave(store: Store, source_name: str = "s", phase: str = "Done") -> None:
    """Leave in the store what a migration leaves."""
    keeper = Keeper(store, source_name)
    await keeper.put("progress", json.dumps({"at": 1_795_169_297_732, "phase": phase, "sessions": 7}).encode())
    await keeper.put("report", json.dumps({"outcome": "Verified", "sessions": 7, "digest": "d" * 64}).encode())
    await keeper.put("ledger/0", b"rows")
    await keeper.put("following/head", b"{}")
    await keeper.put("following/0", b"{}")
    claim = {"source": source_name, "digest": "00"}
    await store.put_document(f"{claims.ROOT}{source_name}", json.dumps(claim).encode())
    for name in ("plan", "problems"):
        pages = Pages(keeper, name)
        for _ in range(1200):
            await pages.add(PLANNED if name == "plan" else {"reason": "TooLarge", "path": "p", "detail": "long"})
        await pages.end()
    await keeper.keep_problem(problem(), Held(b"raw"))
    await keep_large(store, source_name)


async def names(store: Store, source_name: str = "s") -> set[str]:
    """Return which folders and documents of a source there are."""
    prefix = f"migration/{source_name}/"
    return {name.removeprefix(prefix).partition("/")[0] for name in [n async for n in store.list_documents(prefix)]}


def test_a_report_is_told_again_as_it_was(state: State, url: str) -> None:
    state.session("k", lines=HEADER + b'\n{"torn')
    state.session("bad", sessionId=None, lines=None)
    program = Program(url)
    migrated = run("migrate", state.root, "--to", url, "--source-name", "old").document

    assert program.json("report", "--source-name", "old") == [migrated]
    (row,) = program.json("report")
    assert {name: row[name] for name in ("source", "outcome", "phase", "sessions", "quarantined", "digest")} == {
        "source": "old", "outcome": "Verified", "phase": "Done", "sessions": 2, "quarantined": 1,
        "digest": migrated["digest"],
    }  # fmt: skip
    text = program("report", "--source-name", "old").stdout.decode()
    assert text.startswith("Verified: sessions.json, 1 agent, ")
    assert "NoSessionId: agents/main/sessions/sessions.json (main/bad)" in text
    assert "2 things that were set aside are kept under migration/old/" in text


async def test_all_sources_are_in_one_table(url: str, store: Store) -> None:
    await leave(store, "first")
    await Keeper(store, "second").put("progress", b'{"phase": "Copy", "sessions": 3, "at": "odd"}')

    lines = Program(url)("report").stdout.decode().splitlines()

    assert [line.split()[:3] for line in lines[1:]] == [["first", "Verified", "7"], ["second", "Copy", "3"]]
    assert "2026-11-20 10:08" in lines[1]


async def test_rows_are_told_page_by_page(url: str, store: Store) -> None:
    await leave(store)
    program = Program(url)

    assert program.json("report", "--source-name", "s", "--plan") == [PLANNED] * 1200
    text = program("report", "--source-name", "s", "--plan").stdout.decode().splitlines()
    assert text[0] == "NewerThere        3 main/k" and len(text) == 1200
    assert program("report", "--source-name", "s", "--problems").stdout.splitlines()[0] == b"TooLarge: p: long"
    assert program("report", "--plan").returncode == 2


async def test_what_is_not_there_or_not_a_report_is_said(url: str, store: Store) -> None:
    program, keeper = Program(url), Keeper(store, "s")

    def error(status: int, *arguments: object) -> str:
        done = program("report", "--source-name", "s", *arguments)
        assert (done.returncode, done.stdout) == (status, b""), done
        return done.stderr.decode()

    assert "it has none at all" in error(1)
    await keeper.put("progress", b'{"phase": "Copy"}')
    assert "no migration of s came to its end; the last one was at Copy" in error(1)
    assert "left no plan" in error(0, "--plan")
    await keeper.put("plan/0", b'{"key": 1}\n{')
    assert "holds a line that is no JSON" in program("report", "--source-name", "s", "--plan").stderr.decode()
    for body in (b"{", b"[]", b"[" * 100_000):
        await keeper.put("report", body)
        assert "is not what a migration wrote" in error(4)


@pytest.mark.parametrize("body", [b"{}", b'{"accounts": [], "problems": {"a": 1}, "kept": 3, "agents": null}'])
async def test_a_report_of_other_members_is_told_as_far_as_it_goes(url: str, store: Store, body: bytes) -> None:
    await Keeper(store, "s").put("report", body)
    done = Program(url)("report", "--source-name", "s")
    assert done.returncode == 0 and done.stdout.startswith(b"no outcome: no layout, 0 agents")


# -- finalize -------------------------------------------------------------------------------------


async def test_finalize_drops_what_a_way_back_needs_and_keeps_the_rest(url: str, store: Store, tmp_path: Path) -> None:
    await leave(store)
    await leave(store, "other")
    program, log = Program(url), tmp_path / "log"
    arguments = ("finalize", "--source-name", "s", "--yes", "--termination-log", log)

    (first,) = program.json(*arguments)

    assert first == {
        "outcome": "Finalized",
        "source": "s",
        "dropped": {"following": 2, "ledger": 1, "plan": 2, "problems": 2, "conflicts": 4, "claims": 1},
    }
    assert json.loads(log.read_bytes())["outcome"] == "Finalized"
    assert await names(store) == {"progress", "report", "quarantine"}
    assert len(await names(store, "other")) == 8
    assert [name async for name in store.list_documents(claims.ROOT)] == [f"{claims.ROOT}other"]
    assert program.json("report", "--source-name", "s")[0]["finalized"] is True
    assert program.json(*arguments)[0]["dropped"] == dict.fromkeys(first["dropped"], 0)


async def test_finalize_says_why_not(url: str, store: Store, tmp_path: Path) -> None:
    await leave(store)
    program, log = Program(url), tmp_path / "log"

    refused = program("finalize", "--source-name", "s")
    assert refused.returncode == 2 and b"say --yes" in refused.stderr
    absent = program("finalize", "--source-name", "t", "--yes", "--termination-log", log)
    assert absent.returncode == 1 and b"'t'; it has s" in absent.stderr
    assert json.loads(log.read_bytes())["reason"] == "NoSuchSource"
    assert "ledger" in await names(store)


async def test_a_run_that_lives_is_told_from_one_that_was_killed() -> None:
    store = MemoryStore()
    await leave(store, phase="Copy")
    finalizer = Finalizer(store, "s", Patience(0))

    await finalizer.refuse_while_a_run_lives(0.01)

    watch = asyncio.create_task(finalizer.refuse_while_a_run_lives(0.5))
    await asyncio.sleep(0.05)
    await Keeper(store, "s").put("progress", b'{"at": 1795169297733, "phase": "Copy", "sessions": 7}')
    with pytest.raises(MigrationError, match=r"is under way \(Copy\)") as caught:
        await watch
    assert caught.value.reason == "RunUnderWay"


@pytest.mark.parametrize("progress", [None, b'{"phase": "Done"}', b"[]", b"{", b'{"phase": 3}'])
async def test_where_no_run_is_known_nobody_waits(progress: bytes | None) -> None:
    store = MemoryStore()
    if progress is not None:
        await Keeper(store, "s").put("progress", progress)
    await asyncio.wait_for(Finalizer(store, "s", Patience(0)).refuse_while_a_run_lives(3600), 10)


class Failing(MemoryStore):
    """A store that goes away after so many deletions."""

    left = 0

    async def delete_document(self, name: str) -> bool:
        if self.left == 0:
            raise Unavailable("gone", "connection")
        self.left -= 1
        return await super().delete_document(name)


async def test_killed_anywhere_finalize_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finalize, "_AT_ONCE", 1)
    for left in range(12):
        store = Failing()
        store.left = left
        await leave(store)
        finalizer = Finalizer(store, "s", Patience(0))
        with pytest.raises(Unavailable):
            await finalizer.drop(await finalizer.names(), lambda count: None)
        assert "finalized" not in json.loads(await store.get_document("migration/s/report") or b"")

        store.left = 1000
        await finalizer.drop(await finalizer.names(), lambda count: None)
        assert await names(store) == {"progress", "report", "quarantine"}
        assert not [name async for name in store.list_documents(claims.ROOT)]
        report: dict[str, Any] = json.loads(await store.get_document("migration/s/report") or b"")
        assert report["finalized"] is True
