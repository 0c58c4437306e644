"""docs/must-show.md names tests, make targets and files: all of them exist.

Names are collected from the sources, so that a test which needs a cluster can be looked for without one.
"""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "must-show.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")
NAMED = sorted(set(TEST.findall(PAGE)))
SECTIONS = ("The line, on a real cluster", "Secrets", "The library", "The bridge", "Bad input", "The parts")


@pytest.mark.parametrize(("path", "name", "case"), NAMED, ids=[f"{name}-{case}" for _, name, case in NAMED])
def test_a_named_test_exists(path: str, name: str, case: str) -> None:
    tree = ast.parse((ROOT / path).read_text())

    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not case or case in {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def test_every_named_target_is_one_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) - targets == set()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_promise_has_something_that_shows_it(section: str) -> None:
    body = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!-)(.+) \| (.+) \|$", body, re.MULTILINE)
    promises = [(promise, shown) for promise, shown in rows if shown != "shown by"]

    assert promises
    assert [promise for promise, shown in promises if not TEST.search(shown) and "`make " not in shown] == []


def test_the_counts_are_those_that_the_tests_take() -> None:
    """What `make test` takes fewer of is told here, and nothing else is."""
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    kills = [pair for text in sources for pair in re.findall(r"[ (]count\((\d+), (\d+)\)", text)]
    examples = re.findall(r"max_examples=(\d+)", (ROOT / "tests" / "conftest.py").read_text())
    rows = re.findall(r"^\| .+ \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)

    assert sorted(rows) == sorted([*kills, tuple(examples)])
