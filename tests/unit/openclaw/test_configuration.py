"""Whether `openclaw.json` says that the sessions are elsewhere, and when that cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.openclaw import configuration
from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.tree import Tree


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("{}", None, id="nothing"),
        pytest.param("{x:" + "[" * 100_000, Reason.INVALID_JSON, id="very many brackets"),
        pytest.param('{"session":{"dmScope":"main"}}', None, id="a session without a store"),
        pytest.param('{"session":{"store":"/data/s.json"}}', Reason.UNSUPPORTED_LAYOUT, id="JSON"),
        pytest.param("{a:[{}],session:{x:{y:1},store:'~/s.json',},}", Reason.UNSUPPORTED_LAYOUT, id="JSON5"),
        pytest.param("{ // why\n 'session': /* { */ {\nstore: 's'}}", Reason.UNSUPPORTED_LAYOUT, id="comments around"),
        pytest.param("{session:{/* store: 's' */ x: 1 // store: 2\n}}", None, id="a store in a comment"),
        pytest.param('{"x":"session:{store:1}"}', None, id="a store in a text"),
        pytest.param("{store:1,session:{deep:{store:1},list:[{store:1}]}}", None, id="another store"),
        pytest.param("{x:{session:{store:1}}}", None, id="another session"),
        pytest.param('{"\\u0073ession":{"store":1}}', Reason.UNSUPPORTED_LAYOUT, id="an escaped key"),
        pytest.param("{$include: './base.json5'}", Reason.INVALID_JSON, id="another file included"),
        pytest.param("{session:{$include: ['a']}}", Reason.INVALID_JSON, id="another file included in session"),
        pytest.param("{session:{", Reason.INVALID_JSON, id="torn"),
        pytest.param("{session:{]}", Reason.INVALID_JSON, id="other brackets"),
        pytest.param("", Reason.INVALID_JSON, id="empty"),
        pytest.param("{} {}", Reason.INVALID_JSON, id="two objects"),
        pytest.param("[]", Reason.INVALID_JSON, id="an array"),
        pytest.param("{a:'", Reason.INVALID_JSON, id="a text that does not end"),
        pytest.param("}", Reason.INVALID_JSON, id="nothing but an end"),
    ],
)
def test_a_store_elsewhere_is_told_and_doubt_is_reported(tmp_path: Path, text: str, reason: Reason | None) -> None:
    (tmp_path / "openclaw.json").write_text(text)

    with Tree(tmp_path) as tree:
        problem = configuration.problem_of(tree)

    assert (problem and problem.reason) == reason


def test_a_configuration_that_is_a_link_is_reported_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").symlink_to(tmp_path / "elsewhere.json")

    with Tree(tmp_path) as tree:
        problem = configuration.problem_of(tree)

    assert problem and problem.reason is Reason.SYMLINK
