"""When an image counts as changed: the promise that a run neither tests old code nor rebuilds for nothing."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from . import images, machine

IMAGE = images.Image("example", "dev", "Dockerfile", ("code", "lock.txt"))


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("print(1)\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "lock.txt").write_text("a==1\n")
    return tmp_path


def _edit(name: str, text: str) -> Callable[[pathlib.Path], None]:
    def edit(root: pathlib.Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(_edit("code/main.py", "print(1)\n"), id="the same bytes again"),
        pytest.param(_edit("code/__pycache__/main.pyc", "x"), id="byte code"),
        pytest.param(_edit("code/package.egg-info/PKG-INFO", "x"), id="metadata of an install"),
        pytest.param(_edit("README.md", "x"), id="a file that is no input"),
    ],
)
def test_an_image_is_not_rebuilt_for(root: pathlib.Path, edit: Callable[[pathlib.Path], None]) -> None:
    before = images.inputs_digest(IMAGE, root, "base")
    edit(root)
    assert images.inputs_digest(IMAGE, root, "base") == before


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(_edit("code/main.py", "print(2)\n"), id="changed code"),
        pytest.param(_edit("code/more/other.py", ""), id="an empty new file"),
        pytest.param(_edit("lock.txt", "a==2\n"), id="a changed lock"),
        pytest.param(_edit("Dockerfile", "FROM other\n"), id="a changed Dockerfile"),
        pytest.param(lambda root: (root / "code/main.py").rename(root / "code/moved.py"), id="a moved file"),
        pytest.param(lambda root: (root / "code/main.py").chmod(0o755), id="a file made executable"),
    ],
)
def test_an_image_is_rebuilt_for(root: pathlib.Path, edit: Callable[[pathlib.Path], None]) -> None:
    before = images.inputs_digest(IMAGE, root, "base")
    edit(root)
    assert images.inputs_digest(IMAGE, root, "base") != before


def test_an_image_is_rebuilt_for_another_base(root: pathlib.Path) -> None:
    assert images.inputs_digest(IMAGE, root, "base") != images.inputs_digest(IMAGE, root, "another")


def test_every_file_that_an_image_is_made_of_exists() -> None:
    wanted = {name for image in images.ALL for name in (image.dockerfile, *image.inputs)}
    assert {name for name in wanted if not (machine.ROOT / name).exists()} == set()
