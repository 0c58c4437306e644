"""Nothing points into the void: links and anchors of every page, and the pages that code and other files name."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where files of the project lie; what else is in a work tree (caches, environments) is not.
ROOMS = (".ci", "charts", "crds", "docs", "examples", "manifests", "operator", "requirements", "tests")
FILES = [*ROOT.glob("*.*"), ROOT / "Makefile", *(path for room in ROOMS for path in (ROOT / room).rglob("*"))]
TEXTS = sorted(
    path
    for path in FILES
    if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".gz", ".pyc", ".sqlite", ".png")
)
PAGES = [path for path in TEXTS if path.suffix == ".md"]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
PAPER = re.compile(r"\bdocs/[\w./-]+\.md\b")


def _names(paths: list[pathlib.Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=_names(PAGES))
def test_every_link_leads_somewhere(page: pathlib.Path) -> None:
    links = [link.partition("#") for link in LINK.findall(page.read_text())]
    targets = [((page.parent / path).resolve() if path else page, path, anchor) for path, _, anchor in links]

    assert [path for target, path, _ in targets if not target.exists()] == []
    anchored = [(target, anchor) for target, _, anchor in targets if anchor and target.suffix == ".md"]
    assert [anchor for target, anchor in anchored if anchor not in _anchors(target)] == []


def _anchors(page: pathlib.Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_that_a_file_names_is_there() -> None:
    named = {(path, paper) for path in TEXTS for paper in PAPER.findall(path.read_text(errors="replace"))}
    missing = [(path.relative_to(ROOT).as_posix(), paper) for path, paper in named if not (ROOT / paper).exists()]

    assert len(named) > len(PAGES)
    assert missing == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}

    assert pages - linked - {index} == set()
