"""The page of settings says what the code reads and what the chart sets: no variable more, and none less."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import pathlib
import re
from typing import NamedTuple

import pytest
import yaml

from sessionstore import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text()
SOURCE = pathlib.Path(settings.__file__).read_text()
TEMPLATE = (ROOT / "charts" / "sessionstore" / "templates" / "deployment.yaml").read_text()
VALUES = yaml.safe_load((ROOT / "charts" / "sessionstore" / "values.yaml").read_text())

VARIABLE = re.compile(r"[A-Z]+(?:_[A-Z]+)+")
NOT_SET = "not set"


class Row(NamedTuple):
    variable: str
    unit: str
    default: str
    chart_value: str
    why: str


ROWS = [
    Row(cells[0].strip("`"), *cells[1:])
    for cells in (line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| `"))
]


def _read() -> set[str]:
    """Find the variables that the settings read: text in the code, docstrings left out."""
    tree = ast.parse(SOURCE)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    return {text for text in texts if isinstance(text, str) and VARIABLE.fullmatch(text)}


def _set_by_chart() -> dict[str, str]:
    """Return variable -> the template's text of it, up to the next one."""
    (block,) = re.findall(r"^ {8}env:\n(.*?)^ {8}ports:\n", TEMPLATE, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"- name: (\S+)\n(.*?)(?=^ {8}- |\Z)", block, re.MULTILINE | re.DOTALL))


def test_each_variable_that_is_read_has_one_row() -> None:
    assert sorted(row.variable for row in ROWS) == sorted(_read())


def test_the_chart_sets_each_variable_that_is_not_said_to_be_left_out() -> None:
    assert _set_by_chart().keys() == {row.variable for row in ROWS if row.chart_value != NOT_SET}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.variable)
def test_a_row_says_unit_and_reason(row: Row) -> None:
    assert row.unit
    assert len(row.why.split()) > 6


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.variable)
def test_the_chart_value_of_a_row_is_there_and_is_what_sets_the_variable(row: Row) -> None:
    names = re.findall(r"`([\w.]+)`", row.chart_value)
    template = _set_by_chart().get(row.variable, "")

    assert names or row.chart_value in (NOT_SET, "downward API")
    for name in names:
        place = VALUES
        for part in name.split("."):
            place = place[part]
    # The image's name and tag are put together by a template of their own.
    is_set = all(f".Values.{name} " in template for name in names) or "sessionstore.image" in template
    assert is_set
    assert ("fieldRef" in template) is (row.chart_value == "downward API")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.variable)
def test_the_default_of_a_row_is_that_of_the_code(row: Row) -> None:
    required = {one.variable: "x" for one in ROWS if one.default == "required"}
    if row.default == "required":
        with pytest.raises(ValueError, match=rf"^set {row.variable};"):
            settings.OperatorSettings.from_environment({**required, row.variable: ""})
        return

    said = "" if row.default == "all" else row.default.strip("`")
    unset = settings.OperatorSettings.from_environment(required)
    assert settings.OperatorSettings.from_environment({**required, row.variable: said}) == unset


def test_each_setting_names_its_variable_and_says_what_it_is() -> None:
    """A docstring below each field; what no variable sets is said to be no setting."""
    (body,) = (node.body for node in ast.parse(SOURCE).body if isinstance(node, ast.ClassDef))
    docs = {
        field.target.id: ast.literal_eval(after.value)
        for field, after in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr)
    }

    assert docs.keys() == {field.name for field in dataclasses.fields(settings.OperatorSettings)}
    unset = {name for name, text in docs.items() if not set(VARIABLE.findall(text)) & _read()}
    assert unset == {"lease_duration_s"}
    assert f"the Lease lasts {settings.OperatorSettings('', '', '', '').lease_duration_s:.0f} s" in PAGE
