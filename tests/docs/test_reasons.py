"""Every reason is documented with its remedy, in the code and for users, and nothing is documented that is not."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from sessionstore.apis import conditions
from sessionstore.apis.v1alpha1 import reasons

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "conditions.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)


def test_each_reason_has_one_row_with_a_meaning_and_a_remedy() -> None:
    listed = [reason for reason, _, _ in ROWS]

    assert sorted(listed) == sorted(reason.value for reason in reasons.Reason)
    thin = [reason for reason, meaning, remedy in ROWS if len(meaning.split()) < 4 or len(remedy.split()) < 1]
    assert thin == []


def test_each_reason_has_a_docstring() -> None:
    tree = ast.parse(pathlib.Path(reasons.__file__).read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    pairs = zip(body, [*body[1:], ast.Pass()], strict=True)
    bare = [
        ast.unparse(node)
        for node, after in pairs
        if isinstance(node, ast.Assign)
        and not (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
    ]

    assert bare == []


@pytest.mark.parametrize("reason", list(reasons.Reason))
def test_a_reason_is_named_after_its_word(reason: reasons.Reason) -> None:
    assert re.sub(r"(?<!^)(?=[A-Z])", "_", reason.value).upper() == reason.name


@pytest.mark.parametrize("kind", conditions.TYPES)
def test_each_condition_has_a_section(kind: str) -> None:
    assert re.search(rf"^## {kind}$", PAGE, re.MULTILINE)
