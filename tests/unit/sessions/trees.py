"""Transcripts at random: trees as OpenClaw writes them, with branches, controls, tools and compactions."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

HEADER = {"type": "session", "version": 3, "id": "s", "timestamp": "2026-11-20T10:06:59.004Z", "cwd": "/w"}
BROKEN_LINES = ("", "{torn", "42", "null", '{"type":"odd"}', '{"type":"session","id":"q","parentId":null}', '{"a":NaN}')


@dataclass
class Tree:
    """A transcript in the making. `damaged` ones name lines that are not there, and hold lines that are no JSON."""

    choose: random.Random
    damaged: bool = False
    lines: list[str] = field(default_factory=lambda: [json.dumps(HEADER)])
    ids: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    end: str | None = None

    def grow(self, size: int) -> list[str]:
        for _ in range(size):
            kind = self.choose.choices(list(_MAKERS), [weight for weight, _ in _MAKERS.values()])[0]
            self._add(kind, _MAKERS[kind][1](self))
            if self.damaged and self.choose.random() < 0.06:
                self.lines.append(self.choose.choice(BROKEN_LINES))
        return self.lines

    def _add(self, kind: str, fields: dict[str, Any]) -> None:
        id, choose = f"e{len(self.ids) + 1:07x}", self.choose
        moment = f"2026-11-20T10:{choose.randint(0, 59):02}:{choose.randint(0, 59):02}.{choose.randint(0, 999):03}Z"
        line: dict[str, Any] = {"type": kind, "id": id, "parentId": self.end, "timestamp": moment, **fields}
        if self.damaged and kind != "leaf":
            self._damage(line)
        self.lines.append(json.dumps(line, ensure_ascii=False))
        self.ids.append(id)
        self.end = line.get("appendParentId", line["targetId"]) if kind == "leaf" else id
        if kind not in ("leaf", "of_a_plugin"):
            self.entries.append(id)

    def _damage(self, line: dict[str, Any]) -> None:
        if self.choose.random() < 0.15:
            line["parentId"] = self.choose.choice([*self.ids, None, "gone"])
        if self.choose.random() < 0.05:
            del line["parentId"]
        if self.choose.random() < 0.1:
            line["appendMode"] = "side"

    def user(self) -> dict[str, Any]:
        return {"message": {"role": "user", "content": self._text(), "timestamp": 1}}

    def assistant(self) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": self._text()}]
        for _ in range(self.choose.choice([0, 1, 2])):
            # Some providers number calls anew in each turn, so that ids come again.
            self.calls.append(f"call_{self.choose.randint(0, 9)}")
            content.append({"type": "toolCall", "id": self.calls[-1], "name": "read", "arguments": {"path": "a"}})
        return {"message": {"role": "assistant", "content": content, "provider": "p", "model": "m", "timestamp": 1}}

    def result(self) -> dict[str, Any]:
        call = self.choose.choice([*self.calls[-3:], "call_of_nobody"])
        return {"message": {"role": "toolResult", "toolCallId": call, "content": self._text(), "timestamp": 1}}

    def message(self) -> dict[str, Any]:
        return self.choose.choice([self.user, self.assistant, self.assistant, self.result, self.result])()

    def compaction(self) -> dict[str, Any]:
        kept = self.choose.choice([*self.entries[-6:], *self.entries, "gone", ""])
        return {"summary": self._text(), "firstKeptEntryId": kept, "tokensBefore": 5}

    def control(self) -> dict[str, Any]:
        unknown = ["gone"] if self.damaged else []
        fields: dict[str, Any] = {"targetId": self.choose.choice([*self.ids, None, *unknown])}
        if self.choose.random() < 0.4:
            fields["appendParentId"] = self.choose.choice([*self.ids, None, *unknown])
        return fields | ({"appendMode": "side"} if self.choose.random() < 0.3 else {})

    def _text(self) -> str:
        return "ü" * self.choose.choice([1, 5, 50])


_MAKERS = {
    "message": (60, Tree.message),
    "compaction": (8, Tree.compaction),
    "leaf": (6, Tree.control),
    "of_a_plugin": (4, lambda tree: {}),
    "model_change": (4, lambda tree: {"provider": "p", "modelId": "m"}),
    "custom_message": (4, lambda tree: {"customType": "x", "content": "c", "display": True}),
    "branch_summary": (4, lambda tree: {"fromId": "root", "summary": tree.choose.choice(["bs", ""])}),
    "label": (2, lambda tree: {"targetId": "x", "label": "y"}),
}


def transcript(choose: random.Random, size: int, *, damaged: bool = False) -> list[bytes]:
    """Return the raw lines of a transcript with about `size` lines."""
    return [line.encode() for line in Tree(choose, damaged).grow(size)]
