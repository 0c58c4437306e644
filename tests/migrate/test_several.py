"""Several directories go into one store at once, each proven by itself, and what two of them hold is settled once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sessionstore.migrate import sources
from sessionstore.migrate.plan import Policy
from sessionstore.sessions import SessionKey, Store
from tests.migrate.conftest import command, run
from tests.migrate.states import HEADER, TURN, State

OLDER, NEWER = 1_600_000_000_000, 1_800_000_000_000
OTHER = b'{"type":"message","id":"other"}'


@pytest.fixture
def two(tmp_path: Path) -> tuple[State, State]:
    """Two directories with sessions of their own, and one key in both, of which the second is the newer."""
    first, second = State(tmp_path / "first"), State(tmp_path / "second")
    for number in range(30):
        first.session(f"first-{number}")
        second.session(f"second-{number}", sessionId=f"second-{number}")
    first.session("both", lines=HEADER + b"\n" + TURN + b"\n", sessionId="both", updatedAt=OLDER)
    second.session("both", lines=HEADER + b"\n" + OTHER + b"\n", sessionId="both", updatedAt=NEWER)
    return first, second


async def _sides(store: Store, name: str) -> list[str]:
    """Return which sides of conflicts a source has kept."""
    documents = [await store.get_document(one) or b"" async for one in store.list_documents(f"migration/{name}/confl")]
    return [json.loads(document.split(b"\n", 1)[0])["side"] for document in documents]


@pytest.mark.parametrize("policy", [Policy.NEWEST, Policy.KEEP_SOURCE, Policy.KEEP_STORE])
async def test_both_are_proven_and_the_side_that_lost_is_kept(
    two: tuple[State, State], url: str, store: Store, policy: Policy
) -> None:
    answer = run("migrate", two[0].root, two[1].root, "--to", url, "--conflicts", policy.value)

    first, second = answer.document["sources"]
    assert (first["source"], second["source"]) == ("first", "second")
    assert (answer.status, first["outcome"], second["outcome"]) == (3, "Verified", "Verified")
    assert first["conflicts"] + second["conflicts"] == 1
    assert first["migrated"] + second["migrated"] == 61
    held, read = await store.get(SessionKey("main", "both")), await store.read(SessionKey("main", "both"))
    assert held is not None and read is not None and await store.count() == 61
    if policy is Policy.NEWEST:
        assert (held.entry["updatedAt"], read.lines) == (NEWER, (HEADER, OTHER))
    assert len(await _sides(store, "first") + await _sides(store, "second")) == 1


async def test_two_processes_at_once_do_the_same(two: tuple[State, State], url: str, store: Store) -> None:
    processes = [
        subprocess.Popen(
            command("migrate", state.root, "--to", url, "--source-name", name, "--json"), stdout=subprocess.PIPE
        )
        for state, name in zip(two, ("first", "second"), strict=True)
    ]
    documents = [json.loads(process.communicate(timeout=120)[0]) for process in processes]

    assert [document["outcome"] for document in documents] == ["Verified", "Verified"]
    assert sum(document["conflicts"] for document in documents) == 1
    held = await store.get(SessionKey("main", "both"))
    assert held is not None and held.entry["updatedAt"] == NEWER
    assert len(await _sides(store, "first") + await _sides(store, "second")) == 1


def test_one_that_cannot_be_read_does_not_stop_the_other(two: tuple[State, State], url: str, tmp_path: Path) -> None:
    log = tmp_path / "log"

    answer = run("migrate", two[0].root, tmp_path / "nowhere", "--to", url, "--termination-log", log)

    first, second = answer.document["sources"]
    assert (answer.status, first["outcome"], second["outcome"]) == (1, "Verified", "Failed")
    assert second["reason"] == json.loads(log.read_bytes())["reason"] == "PathNotFound"


def test_the_last_words_are_of_all_together(two: tuple[State, State], url: str, tmp_path: Path) -> None:
    run("migrate", two[0].root, two[1].root, "--to", url, "--termination-log", tmp_path / "log")

    words = json.loads((tmp_path / "log").read_bytes())
    assert (words["outcome"], words["sessions"], words["migrated"], words["conflicts"]) == ("Verified", 62, 61, 1)


def test_people_see_whose_report_is_whose(two: tuple[State, State], url: str) -> None:
    program = command("migrate", two[0].root, two[1].root, "--to", url, "--source-name", "a", "--source-name", "b")
    done = subprocess.run(program, capture_output=True, check=False, text=True)

    assert "a: Verified: sessions.json" in done.stdout and "b: Verified: sessions.json" in done.stdout


@pytest.mark.parametrize(
    ("texts", "names", "expected"),
    [
        pytest.param(["/a/state"], [], ["default"], id="one"),
        pytest.param(["/a/state/", "/b/other dir"], [], ["state", "other-dir"], id="two"),
        pytest.param(["/a", "/b"], ["x", "y"], ["x", "y"], id="named"),
    ],
)
def test_each_source_has_a_name(texts: list[str], names: list[str], expected: list[str]) -> None:
    assert sources.names_of(texts, names) == expected


@pytest.mark.parametrize(
    ("texts", "names", "message"),
    [
        pytest.param(["/a/state", "/b/state"], [], "two sources would be named state", id="twice"),
        pytest.param(["/a", "/b"], ["x"], "1 names are given for 2 sources", id="too few"),
        pytest.param(["/a"], ["../x"], "1-63 characters", id="a path"),
    ],
)
def test_names_that_would_do_harm_are_refused(texts: list[str], names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sources.names_of(texts, names)
