"""What an export finds in the directory: what a killed run left, and old sessions where only a configuration tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from pathlib import Path, PurePosixPath

import pytest

from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import run as export
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.run import Format, Options
from sessionstore.migrate.patience import Patience
from sessionstore.sessions import SessionKey, open_store
from tests.file.children import Fault, Outcome, struck
from tests.migrate import states
from tests.migrate.conftest import run

HOME = "/home/node/.openclaw"
STAMP = "2026-11-21T17-30-00"
CONFIGURED = '{"session": {"store": "%s"}, "agents": {"list": [{"id": "main"}]}}'

_runs = (f"run-{number}" for number in itertools.count())


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with sessions of two agents."""
    url = f"directory://{tmp_path}/store"

    async def fill() -> None:
        async with open_store(url) as store:
            for agent in ("main", "work"):
                entry = {"sessionId": f"id-{agent}", "updatedAt": 1_795_200_000_000}
                await store.create(SessionKey(agent, f"agent:{agent}:a"), entry, [b'{"of":"' + agent.encode() + b'"}'])

    asyncio.run(fill())
    return url


async def _export(url: str, root: Path, *, in_place: bool = True) -> Exported:
    options = Options(
        Format.OPENCLAW_FILES, Patience(0), next(_runs), STAMP, state_dir=PurePosixPath(HOME), in_place=in_place
    )
    async with open_store(url) as store:
        return await export.to_directory(store, root, options, lambda phase, done: None)


def _left_half_done(url: str, root: Path) -> None:
    """Make what a run leaves that was killed between two of its renames."""
    for number in range(2000):
        # A run that finds another one's renames half done begins by finishing them.
        shutil.rmtree(root, ignore_errors=True)
        outcome = struck(lambda: _export(url, root, in_place=False), number, Fault.KILL)
        assert outcome is Outcome.KILLED, "it was never between two renames"
        if (root / "agents" / "main" / "sessions").exists():
            assert not (root / "agents" / "work" / "sessions").exists()
            return


def _sessions(root: Path) -> dict[str, list[str]]:
    indexes = sorted(root.glob("agents/*/sessions/sessions.json"))
    return {index.parts[-3]: list(json.loads(index.read_bytes())) for index in indexes}


def test_an_export_that_was_killed_within_its_renames_is_finished_by_the_same_command(url: str, tmp_path: Path) -> None:
    root = tmp_path / "out"
    _left_half_done(url, root)

    found = asyncio.run(_export(url, root, in_place=False))

    assert found.outcome == "Exported"
    assert _sessions(root) == {"main": ["agent:main:a"], "work": ["agent:work:a"]}
    assert [path.name for path in root.iterdir()] == ["agents"]


def test_an_agent_that_only_the_killed_run_had_is_replaced_as_well(url: str, tmp_path: Path) -> None:
    root = tmp_path / "out"
    _left_half_done(url, root)

    async def forget() -> None:
        async with open_store(url) as store:
            await store.delete(SessionKey("work", "agent:work:a"))

    asyncio.run(forget())

    asyncio.run(_export(url, root))

    assert _sessions(root) == {"main": ["agent:main:a"], "work": []}, "what was deleted since stays deleted"


@pytest.mark.parametrize("path", ["../outside", "/{outside}"])
def test_what_lies_in_wait_does_not_lead_out_of_the_directory(url: str, tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "state", tmp_path / "outside"
    planted = root / ".sessionstore-export-planted"
    states.write(planted / "files" / "x", b"bad")
    move = ["x", path.format(outside=str(outside).lstrip("/")), "backup"]
    states.write(planted / "ready.json", json.dumps([move]).encode())

    with pytest.raises(MigrationError, match="is not within") as refused:
        asyncio.run(_export(url, root))

    assert (refused.value.reason, outside.exists()) == ("TargetUnwritable", False)


def test_an_index_is_not_written_through_a_link(url: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "state", tmp_path / "outside"
    outside.mkdir()
    states.write(root / "openclaw.json", (CONFIGURED % f"{HOME}/stores/{{agentId}}.json").encode())
    (root / "stores").symlink_to(outside)

    with pytest.raises(MigrationError, match="stores is a link"):
        asyncio.run(_export(url, root))

    assert list(outside.iterdir()) == []
    assert not list(root.glob(".sessionstore-export-*/ready.json"))


@pytest.mark.parametrize("name", ["sessions", "sessions.json"])
def test_an_index_that_a_configuration_elsewhere_names_is_not_passed_by(url: str, tmp_path: Path, name: str) -> None:
    states.write(tmp_path / "state" / name, states.entries({"agent:main:old": "id-old"}))

    with pytest.raises(MigrationError, match="put a copy of the gateway's there") as refused:
        asyncio.run(_export(url, tmp_path / "state"))

    assert refused.value.reason == "UnsupportedTarget"


@pytest.mark.parametrize(
    ("store", "database"),
    [
        pytest.param(f"{HOME}/sessions", "sessions.sqlite", id="the charts'"),
        pytest.param(f"{HOME}/sessions", "sessions.main.sqlite", id="the charts', of one agent"),
        pytest.param(f"{HOME}/stores/{{agentId}}/sessions.json", "stores/main/openclaw-agent.sqlite", id="a template"),
        pytest.param("", "openclaw-agent.sqlite", id="configured elsewhere"),
    ],
)
def test_a_database_where_a_configured_index_was_is_refused(
    url: str, tmp_path: Path, store: str, database: str
) -> None:
    states.write(tmp_path / "state" / database, b"")
    if store:
        states.write(tmp_path / "state" / "openclaw.json", (CONFIGURED % store).encode())

    with pytest.raises(MigrationError, match=Path(database).name) as refused:
        asyncio.run(_export(url, tmp_path / "state"))

    assert refused.value.reason == "DatabaseInPlace"


@pytest.mark.parametrize("path", ["stores/{agentId}/index.json", "stores/{agentId}.json", "stores/all.json", ""])
def test_old_sessions_do_not_come_back_from_where_a_configuration_had_them(url: str, tmp_path: Path, path: str) -> None:
    root = tmp_path / "state"
    if path:
        states.write(root / "openclaw.json", (CONFIGURED % f"{HOME}/{path}").encode())
    else:
        states.write(root / "openclaw.json", b"{}")
        states.write(root / "sessions", states.entries({"agent:main:old": "id-old"}))
    for agent in ("main", "gone"):
        index = root / (path or "agents/{agentId}/sessions/sessions.json").format(agentId=agent)
        states.write(index, states.entries({f"agent:{agent}:old": "id-old"}))
        states.write(Path(f"{index}.bak.1795169290837"), states.entries({f"agent:{agent}:older": "id-old"}))
        states.write(index.parent / f"{agent}-lost.jsonl", states.TURN + b"\n")

    found = asyncio.run(_export(url, root))

    assert found.outcome == "Exported"
    seen = run("inspect", root, "--state-dir", HOME).document
    assert (seen["sessions"], seen["archives"], seen["superseded"], seen["problemCount"]) == (2, 0, 0, 0), seen
