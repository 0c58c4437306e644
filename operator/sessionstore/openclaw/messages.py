"""What of a transcript's line is replayed to a model, as OpenClaw makes it. Pure.

Source: `buildSessionContext`, `normalizeLoadedFileEntry`, `extractToolCallsFromAssistant` and `extractToolResultIds`
of OpenClaw 2026.7.1-2.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from sessionstore.openclaw.branch import Record

Message = dict[str, Any]

_CALL_TYPES = frozenset({"toolCall", "toolUse", "functionCall"})
_RESULT_KEYS = ("toolCallId", "toolUseId", "tool_call_id", "tool_use_id", "callId", "call_id")


def message_of(record: Record) -> Message | None:
    """Return the message that a line on the branch stands for, or None: a label, a change of model.

    A `message` line without a role is none either: no provider takes it, and OpenClaw drops it when it repairs a file.
    """
    data = record.data
    if record.type == "message":
        return _normal(data.get("message"))
    if record.type == "custom_message":
        return {"role": "custom", **_picked(data, "customType", "content", "display", "details"), **_moment(data)}
    if record.type == "branch_summary" and data.get("summary"):
        return {"role": "branchSummary", **_picked(data, "summary", "fromId"), **_moment(data)}
    return None


def is_broken(record: Record) -> bool:
    """Tell a line that should be a message and cannot be one."""
    return record.type == "message" and message_of(record) is None


def summary_message(compaction: Record) -> Message:
    """Return the message that a compaction puts in the place of what it replaced."""
    return {
        "role": "compactionSummary",
        **_picked(compaction.data, "summary", "tokensBefore"),
        **_moment(compaction.data),
    }


def tool_calls(message: Message) -> list[str]:
    """Return the ids of the tool calls in an assistant's message."""
    content = message.get("content")
    if message["role"] != "assistant" or not isinstance(content, list):
        return []
    blocks = [block for block in content if isinstance(block, dict) and str(block.get("type")) in _CALL_TYPES]
    return [block["id"] for block in blocks if isinstance(block.get("id"), str) and block["id"]]


def tool_result(message: Message) -> str | None:
    """Return the id of the call that this message answers."""
    if message["role"] != "toolResult":
        return None
    names = [value.strip() for key in _RESULT_KEYS if isinstance(value := message.get(key), str)]
    return next((name for name in names if name), None)


def text_bytes(message: Message) -> int:
    """Return the bytes of UTF-8 that a model is shown of a message; an image counts as OpenClaw counts one."""
    if message["role"] == "bashExecution":
        return _size(message.get("command")) + _size(message.get("output"))
    if message["role"] in ("branchSummary", "compactionSummary"):
        return _size(message.get("summary"))
    content = message.get("content")
    return sum(map(_block_bytes, content)) if isinstance(content, list) else _size(content)


IMAGE_BYTES = 4800
"""Source: `IMAGE_BLOCK_CHARS` of OpenClaw 2026.7.1-2."""


def _block_bytes(block: Any) -> int:
    if not isinstance(block, dict):
        return _size(block)
    if block.get("type") == "image":
        return IMAGE_BYTES
    return sum(_size(block[key]) for key in ("text", "thinking", "name", "arguments", "input") if key in block)


def _size(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value is not None else ""
    return len(text.encode("utf-8", "surrogatepass"))


def _normal(message: Any) -> Message | None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str) or not message["role"].strip():
        return None
    role, content = message["role"], message.get("content")
    if role in ("assistant", "toolResult") and isinstance(content, str):
        return {**message, "content": [{"type": "text", "text": content}]}
    if role == "toolResult" and isinstance(content, dict):
        return {**message, "content": [content]}
    return message


def _picked(data: Mapping[str, Any], *names: str) -> Message:
    return {name: data[name] for name in names if name in data}


def _moment(data: Mapping[str, Any]) -> Message:
    """Return the line's time in milliseconds, left out where it cannot be read."""
    try:
        at = datetime.datetime.fromisoformat(str(data.get("timestamp")))
    except ValueError:
        return {}
    return {"timestamp": int((at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp() * 1000)}
