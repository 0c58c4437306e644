"""What is opened below a directory, and what is never followed."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from sessionstore.openclaw.files import FilePart
from sessionstore.openclaw.problems import Reason, Refused, SourceError
from sessionstore.openclaw.tree import Kind, Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "agents" / "main" / "sessions").mkdir(parents=True)
    (tmp_path / "agents" / "work" / "sessions").mkdir(parents=True)
    return tmp_path


def test_few_lines_are_what_the_file_has_now(root: Path) -> None:
    file, name = root / "a.jsonl", "a.jsonl"
    file.write_bytes(b"1\n")
    with Tree(root) as tree:
        part = FilePart(tree, "", name, "main", "a", 1024, tree.status(name))
        unseen = FilePart(tree, "", name, "main", "a", 1024)
        before = part.few()
        file.write_bytes(b"1\n2\n")
        after = part.few()
        file.write_bytes(b"1\n2")
        torn = part.few()
        file.unlink()
        file.symlink_to("/etc/passwd")
        with pytest.raises(Refused):
            part.few()

    assert (before, after, torn, unseen.few()) == ([b"1"], [b"1", b"2"], None, None)


def test_a_file_that_outgrew_a_single_read_is_gone_through(root: Path) -> None:
    file = root / "a.jsonl"
    file.write_bytes(b"1\n")
    with Tree(root) as tree:
        part = FilePart(tree, "", "a.jsonl", "main", "a", 2**20, tree.status("a.jsonl"))
        file.write_bytes(b"1\n" * 200_000)

        assert part.few() is None
        assert sum(len(batch.lines) for batch in part.batches()) == 200_000


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
    with Tree(Path("/proc")) as tree:
        part = FilePart(tree, str(os.getpid()), "mem", "main", "mem", 1000)
        with pytest.raises(SourceError) as caught:
            list(part.batches())

    assert caught.value.reason == "SourceUnreadable"


def test_a_tree_holds_few_descriptors_of_many_directories(root: Path) -> None:
    for number in range(100):
        (root / str(number)).mkdir()
        (root / str(number) / "x").write_bytes(b"x")

    with Tree(root) as tree:
        before = _descriptors()
        assert all(tree.status(f"{number}/x") for number in range(100))
        held = _descriptors() - before
        tree.refresh()
        after = _descriptors()

    assert (held, after) == (16, before)


def test_what_is_not_there_or_cannot_be_has_no_status(root: Path) -> None:
    with Tree(root) as tree:
        assert [tree.status(path) for path in ("x", "agents/x", "x" * 300, "x/y")] == [None] * 4


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
