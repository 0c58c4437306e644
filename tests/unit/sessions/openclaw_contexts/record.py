"""Record what OpenClaw itself makes of transcripts, compacted ones of ours among them, for `test_window_openclaw.py`.

usage: PYTHONPATH=operator:. python tests/unit/sessions/openclaw_contexts/record.py DIRECTORY

DIRECTORY holds the npm package openclaw 2026.7.1-2, its dependencies installed; node 24 is on the PATH. Tests read what
is recorded and need neither.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from sessionstore.sessions.exceptions import InvalidEntry
from sessionstore.sessions.memory import MemoryStore
from sessionstore.sessions.window import compact, window
from tests.unit.sessions import trees

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
FIXTURE = HERE.parents[2] / "fixtures" / "openclaw" / "file-2026.7.1-2.tar.gz"
MOMENT = "2026-11-20T10:10:00.000Z"
KINDS = (("sound", 30), ("damaged", 30), ("compacted", 30))


async def compacted(choose: random.Random) -> list[bytes]:
    """Return a transcript that our own `compact` was called on, and that went on after it."""
    lines = trees.transcript(choose, choose.randint(5, 40))
    store = MemoryStore()
    await store.set("k", {"sessionId": "s"})
    await store.append("k", lines)
    part = await window(store, "k", max_tokens=choose.choice([20, 50, 100]))
    assert part is not None
    try:
        await compact(store, "k", "what was said", part.first_id if choose.random() < 0.8 else None)
    except InvalidEntry:
        return lines
    found = await store.read("k")
    assert found is not None
    last = json.loads(found.lines[-1])
    said = {"role": "user", "content": "and then", "timestamp": 1}
    later = {"type": "message", "id": "later", "parentId": last["id"], "timestamp": last["timestamp"], "message": said}
    return [*found.lines, json.dumps(later).encode()]


def by_hand() -> dict[str, list[bytes]]:
    """Return what chance seldom makes."""
    side = {"appendMode": "side"}
    trees_by_hand = {
        "a control to a side line behind a side line": [
            said("a", None), said("s1", "a", **side), said("s2", "s1", **side), control("l", target="s2"),
        ],
        "a line behind a side line": [said("a", None), said("s1", "a", **side), said("b", "s1")],
        "a line behind a line of a plugin on a side line": [
            said("a", None), said("s1", "a", **side), {"type": "of_a_plugin", "id": "p", "parentId": "s1"},
            said("b", "p"),
        ],
        "a void control above a line of a plugin on a side line": [
            said("a", None), said("s1", "a", **side), {"type": "of_a_plugin", "id": "p", "parentId": "s1"},
            control("l", target="gone", appendParentId="s1"), said("b", "p"), said("c", "b"),
        ],
        "a control to nothing": [said("a", None), control("l", target=None)],
        "a new root behind a control to nothing": [said("a", None), control("l", target=None), said("b", None)],
    }  # fmt: skip
    return {name: [json.dumps(line).encode() for line in (trees.HEADER, *tree)] for name, tree in trees_by_hand.items()}


def said(id: str, parent: str | None, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": id, "timestamp": 1}
    return {"type": "message", "id": id, "parentId": parent, "timestamp": MOMENT, "message": message, **more}


def control(id: str, target: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "leaf", "id": id, "parentId": None, "timestamp": MOMENT, "targetId": target, **more}


def made(kind: str, number: int) -> list[bytes]:
    choose = random.Random(f"{kind} {number}")
    if kind == "compacted":
        return asyncio.run(compacted(choose))
    return trees.transcript(choose, choose.randint(0, 40), damaged=kind == "damaged")


def real() -> dict[str, list[bytes]]:
    """Return the transcripts that a real OpenClaw wrote."""
    found = {}
    with tarfile.open(FIXTURE) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            if stream and "/sessions/" in member.name and ".jsonl" in member.name and "trajectory" not in member.name:
                found[Path(member.name).name] = stream.read().splitlines()
    return found


def contexts(package: Path, transcripts: list[list[bytes]]) -> tuple[list[Any], list[str]]:
    """Return what OpenClaw hands to the model for each, and the lines that its own compaction adds to the last."""
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / f"{number}.jsonl" for number in range(len(transcripts))]
        for file, lines in zip(files, transcripts, strict=True):
            file.write_bytes(b"".join(line + b"\n" for line in lines))
        names = Path(directory) / "names"
        names.write_text("\n".join(map(str, files)))
        done = subprocess.run(["node", HERE / "record.mjs", package, names], capture_output=True, text=True, check=True)
    # OpenClaw also prints a warning for each file with a line that is no JSON.
    answers = [json.loads(line) for line in done.stdout.split("\n") if line.startswith(("[{", "[]", '["'))]
    assert len(answers) == len(transcripts) + 1, done.stderr
    return answers[:-1], answers[-1]


def main(package: Path) -> None:
    transcripts = {f"{kind} {number}": made(kind, number) for kind, count in KINDS for number in range(count)}
    transcripts |= by_hand() | real()
    found, compactions = contexts(package, list(transcripts.values()))
    cases = [
        {"name": name, "lines": [line.decode() for line in lines], "messages": messages}
        for (name, lines), messages in zip(transcripts.items(), found, strict=True)
    ]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    RECORDED.write_text(f'{{"compactions": {json.dumps(compactions)},\n"cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
