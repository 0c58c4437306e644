"""What is found in a state directory, and what is never touched."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from sessionstore.openclaw import state_dir
from sessionstore.openclaw.problems import Reason, Refused, SourceError
from sessionstore.openclaw.state_dir import Part
from sessionstore.openclaw.tree import Kind, Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "agents" / "main" / "sessions").mkdir(parents=True)
    (tmp_path / "agents" / "work" / "sessions").mkdir(parents=True)
    return tmp_path


def test_every_agent_with_a_sessions_directory_is_found(root: Path) -> None:
    (root / "agents" / "bare").mkdir()

    with Tree(root) as tree:
        found = state_dir.find(tree)

    assert [(reader.agent, reader.path) for reader in found.readers] == [
        ("main", "agents/main/sessions/sessions.json"),
        ("work", "agents/work/sessions/sessions.json"),
    ]
    assert found.problems == ()


@pytest.mark.parametrize(
    "path",
    [
        "sessions",
        "sessions.d",
        "6732.jsonl",
        "agents/main/agent/openclaw-agent.sqlite",
    ],
)
def test_sessions_of_another_layout_are_told(root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()

    with Tree(root) as tree:
        problems = state_dir.find(tree).problems

    assert [(problem.path, problem.reason) for problem in problems] == [(path, Reason.UNSUPPORTED_LAYOUT)]


@pytest.mark.parametrize(
    ("index", "is_lost"),
    [
        pytest.param(None, True, id="absent"),
        pytest.param(b"", True, id="empty"),
        pytest.param(b'{"k":{"sessionId":"x"},"l":{', True, id="torn"),
        pytest.param(b"{}", False, id="whole, and without entries"),
        pytest.param(b'{"k":[],"l":{"a":nope}}', False, id="whole, with entries that are bad"),
    ],
)
def test_a_rotated_index_is_no_sessions_of_another_layout_while_the_index_is_whole(
    root: Path, index: bytes | None, is_lost: bool
) -> None:
    folder = root / "agents" / "main" / "sessions"
    (folder / "sessions.json.bak.1795169290837").write_bytes(b"{}")
    if index is not None:
        (folder / "sessions.json").write_bytes(index)

    with Tree(root) as tree:
        problems = state_dir.find(tree).problems

    expected = [("agents/main/sessions/sessions.json", Reason.UNSUPPORTED_LAYOUT)] if is_lost else []
    assert [(problem.path, problem.reason) for problem in problems] == expected


def test_files_are_sorted_by_what_they_stand_for(root: Path) -> None:
    folder = root / "agents" / "main" / "sessions"
    for name in ("sessions.json", "a.jsonl", "a.jsonl.bak.1", "a.trajectory.jsonl", "b.txt"):
        (folder / name).touch()
    (folder / "c.jsonl").mkdir()

    with Tree(root) as tree:
        listing = state_dir.find(tree).readers[0].listing()

    assert list(listing.transcripts) == ["a"]
    assert [part.name for part in listing.archives] == ["a.jsonl.bak.1"]
    assert listing.beside == 1
    assert {name: problem.reason for name, problem in listing.refused.items()} == {
        "b.txt": Reason.UNKNOWN_FILE,
        "c.jsonl": Reason.SPECIAL_FILE,
    }


def test_a_tree_tells_kinds_without_following(root: Path) -> None:
    (root / "link").symlink_to("/")
    os.mkfifo(root / "pipe")

    with Tree(root) as tree:
        kinds = {child.name: child.kind for child in tree.children()}

    assert kinds == {"agents": Kind.FOLDER, "link": Kind.SYMLINK, "pipe": Kind.SPECIAL}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("link", Reason.SYMLINK, id="a link to a file"),
        pytest.param("linked/file", Reason.SPECIAL_FILE, id="a link on the way"),
        pytest.param("pipe", Reason.SPECIAL_FILE, id="a pipe, which nobody writes to"),
        pytest.param("agents", Reason.SPECIAL_FILE, id="a directory"),
        pytest.param("large", Reason.TOO_LARGE, id="above the limit"),
        pytest.param("gone", Reason.UNREADABLE, id="gone since it was listed"),
    ],
)
def test_a_tree_opens_regular_files_only(root: Path, path: str, reason: Reason) -> None:
    (root / "file").write_bytes(b"x")
    (root / "large").write_bytes(b"x" * 11)
    (root / "link").symlink_to(root / "file")
    (root / "linked").symlink_to(root)
    os.mkfifo(root / "pipe")

    with Tree(root) as tree, pytest.raises(Refused) as caught:
        tree.open(path, 10)

    assert caught.value.reason is reason


@pytest.mark.parametrize("path", ["x" * 300, "agents/" + "x" * 300, "x" * 300 + "/file"])
def test_an_error_that_is_not_the_files_own_ends_everything(root: Path, path: str) -> None:
    """A name too long for the file system stands for every error of the volume."""
    with Tree(root) as tree:
        with pytest.raises(SourceError) as of_file:
            tree.open(path, 10)
        with pytest.raises(SourceError) as of_folder:
            tree.children(path)

    assert of_file.value.reason == of_folder.value.reason == "SourceUnreadable"


def test_running_out_of_descriptors_ends_everything(root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    with Tree(root) as tree:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(SourceError) as caught:
                tree.children("agents")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert caught.value.reason == "SourceUnreadable"


def test_an_io_error_while_lines_are_read_ends_everything() -> None:
    """The kernel has one file that anyone may open and that answers EIO: a process's own memory at 0."""
    path = f"{os.getpid()}/mem"

    with Tree(Path("/proc")) as tree:
        folder = state_dir.SessionsFolder(tree, "main", str(os.getpid()), 1000)
        with pytest.raises(SourceError) as caught:
            list(folder.lines(Part(path, "mem", 0)))

    assert caught.value.reason == "SourceUnreadable"


def test_a_file_name_that_is_not_utf8_is_shown_and_never_crashes(root: Path) -> None:
    os.close(os.open(os.fsencode(root) + b"/agents/main/sessions/\xff.txt", os.O_CREAT | os.O_WRONLY))

    with Tree(root) as tree:
        [problem] = state_dir.find(tree).readers[0].listing().refused.values()

    assert problem.path == "agents/main/sessions/\\xff.txt"
