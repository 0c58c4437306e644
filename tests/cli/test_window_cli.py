"""A window from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import one_line

TELEGRAM = "agent:main:telegram:direct:123456789"


def test_window_prints_the_newest_that_fits(cli, state_dir: Path) -> None:
    file = state_dir / "agents" / "main" / "sessions" / "6732d08c-b7c4-4713-8441-d87e624024a9.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert cli("window", TELEGRAM, "--raw").stdout_bytes == b"".join(lines[1:])
    assert cli("window", TELEGRAM, "--raw", "--max-tokens", "20").stdout_bytes == b"".join(lines[2:])
    document = json.loads(cli("window", TELEGRAM, "--json", "--max-tokens", "20").stdout)
    assert [message["role"] for message in document["messages"]] == ["user", "assistant"]
    assert (document["complete"], document["overBudget"], document["firstId"]) == (False, False, "b0bd3bc1")
    assert document["transcript"] == {"id": file.stem, "generation": 0, "lines": 4}


def test_window_tells_people_what_is_left_out(cli) -> None:
    result = cli("window", TELEGRAM, "--max-tokens", "1")
    assert result.stdout == "    0  assistant   mock reply 2: I received 38 characters.\n"
    assert result.stderr == (
        "1 messages, about 13 tokens, older ones left out; the newest alone is larger than --max-tokens\n"
    )


def test_window_shows_a_summary(cli, state_dir: Path) -> None:
    file = state_dir / "agents" / "main" / "sessions" / "6732d08c-b7c4-4713-8441-d87e624024a9.jsonl"
    line = {"type": "compaction", "id": "c0ffee00", "parentId": "1a3f9c69", "timestamp": "2026-11-20T10:09:00.000Z"}
    with file.open("a") as appended:
        appended.write(
            json.dumps({**line, "summary": "Two turns", "firstKeptEntryId": "1a3f9c69", "tokensBefore": 9}) + "\n"
        )
    assert "Two turns" in cli("window", TELEGRAM).stdout
    assert json.loads(cli("window", TELEGRAM, "--json").stdout)["summary"] == "Two turns"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("window", "nope"), 1),
        (("window", TELEGRAM, "--max-tokens", "0"), 2),
        (("window", TELEGRAM, "--raw", "--json"), 2),
    ],
)
def test_a_window_of_nothing_is_refused(cli, arguments: tuple[str, ...], status: int) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert status == 2 or one_line(result.stderr)
