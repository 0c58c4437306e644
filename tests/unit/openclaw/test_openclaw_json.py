"""What `openclaw.json` says of where the sessions are, and when that cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionstore.openclaw import openclaw_json
from sessionstore.openclaw.openclaw_json import Configuration
from sessionstore.openclaw.problems import Reason
from sessionstore.openclaw.tree import Tree


def read(folder: Path) -> Configuration:
    with Tree(folder) as tree:
        return openclaw_json.read(tree)


@pytest.mark.parametrize(
    ("text", "store"),
    [
        pytest.param("{}", None, id="nothing"),
        pytest.param('{"session":{"dmScope":"main"}}', None, id="a session without a store"),
        pytest.param('{"session":{"store":"/data/s.json"}}', "/data/s.json", id="JSON"),
        pytest.param('\ufeff{"session":{"store":"/s"}}', "/s", id="a byte order mark"),
        pytest.param("{a:[{}],session:{x:{y:1},store:'~/s.json',},}", "~/s.json", id="JSON5"),
        pytest.param("{ // why\n 'session': /* { */ {\nstore: 's'}}", "s", id="comments around"),
        pytest.param("{session:{/* store: 's' */ x: 1 // store: 2\n}}", None, id="a store in a comment"),
        pytest.param("{store:1,session:{deep:{store:1},list:[{store:1}]}}", None, id="another store"),
        pytest.param('{"session":{"store":7}}', None, id="a store that is no text"),
        pytest.param('{"session":[]}', None, id="a session that is no object"),
        pytest.param("{channels:{$include: './channels.json5'}}", None, id="another part in another file"),
    ],
)
def test_a_store_is_read(tmp_path: Path, text: str, store: str | None) -> None:
    (tmp_path / "openclaw.json").write_text(text)

    found = read(tmp_path)

    assert (found.store, found.problem, found.is_certain) == (store, None, True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{$include: './base.json5'}", id="another file included"),
        pytest.param("{session:{$include: ['a']}}", id="another file included in session"),
        pytest.param("{session:{", id="torn"),
        pytest.param("{session:{]}", id="other brackets"),
        pytest.param("", id="empty"),
        pytest.param("{} {}", id="two objects"),
        pytest.param("[]", id="an array"),
        pytest.param("{a:'", id="a text that does not end"),
        pytest.param("{a:" * 2000, id="deeper than can be read"),
        pytest.param("{a:" + "9" * 5000 + "}", id="a number of thousands of digits"),
        pytest.param("{a:'" + "x" * 600_000 + "'}", id="too large for JSON5"),
    ],
)
def test_doubt_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "openclaw.json").write_text(text)

    found = read(tmp_path)

    assert found.problem and found.problem.reason is Reason.INVALID_JSON
    assert not found.is_certain


def test_bytes_that_are_not_utf8_are_reported(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").write_bytes(b'{"a":"\xff"}')

    found = read(tmp_path)

    assert found.problem and found.problem.reason is Reason.INVALID_JSON


def test_a_configuration_that_is_a_link_is_reported_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").symlink_to(tmp_path / "elsewhere.json")

    found = read(tmp_path)

    assert found.problem and found.problem.reason is Reason.SYMLINK


@pytest.mark.parametrize(
    ("agents", "default"),
    [
        pytest.param("{}", "main", id="none"),
        pytest.param("{list:[{id:'a'},{id:'b'}]}", "a", id="the first"),
        pytest.param("{list:[{id:'a'},{id:' B b!',default:true}]}", "b-b", id="the one that says so"),
        pytest.param("{list:[7,{id:7}]}", "main", id="no agents at all"),
    ],
)
def test_the_default_agent_is_openclaws(tmp_path: Path, agents: str, default: str) -> None:
    (tmp_path / "openclaw.json").write_text(f"{{agents:{agents}}}")

    assert read(tmp_path).default_agent == default


@pytest.mark.parametrize(
    ("key", "agent"),
    [
        ("agent:work:main", "work"),
        ("agent:Work:main", "work"),
        ("agent:work:", "default"),
        ("agent::x", "default"),
        ("global", "default"),
        ("agent:a b:x:y", "a-b"),
    ],
)
def test_a_key_tells_its_agent(key: str, agent: str) -> None:
    assert openclaw_json.agent_of(key, "default") == agent


@pytest.mark.parametrize(
    ("store", "path"),
    [
        ("/s/d/x", "x"),
        ("/s/d//a/./x", "a/x"),
        ("${OPENCLAW_STATE_DIR}/{agentId}.json", "{agentId}.json"),
        ("/s/d/$${HOME}", "${HOME}"),
        ("/s/d/~", "~"),
    ],
)
def test_a_path_is_resolved(store: str, path: str) -> None:
    assert openclaw_json.resolve(store, "/s/d/") == path
