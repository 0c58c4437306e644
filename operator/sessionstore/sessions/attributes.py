"""What `search` and `invalidate` know of a session beside its marks: its channel, its sender, its own title. Pure.

The entry says it where it does (`channel`, `senderId`, `label`, as OpenClaw writes them); else the key, in OpenClaw's
form `agent:<agent>:<channel>:<kind>:<peer>…`, tells channel and, in a direct conversation, sender. An encrypted entry
carries what it told, encrypted as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sessionstore.sessions.exceptions import InvalidEntry
from sessionstore.sessions.record import Entry, SessionKey, check_text

_DIRECT = frozenset({"direct", "dm"})


@dataclass(frozen=True, slots=True)
class Attributes:
    """Derived, kept beside the entry so that a search need not parse it."""

    channel: str | None = None
    sender: str | None = None
    title: str | None = None


def attributes_of(name: SessionKey, entry: Entry) -> Attributes:
    """Return what entry and key tell. A value that is no short plain text counts as not told."""
    parts = name.key.split(":")
    spoken = parts[2:] if len(parts) > 3 and parts[0] == "agent" else []
    peer = ":".join(spoken[2:]) if len(spoken) > 2 and spoken[1] in _DIRECT else None
    told, channel = _told(entry), spoken[0] if len(spoken) > 1 else None
    return Attributes(
        _first(told.get("channel"), entry.get("channel"), entry.get("lastChannel"), channel),
        _first(told.get("sender"), entry.get("senderId"), peer),
        _first(told.get("title"), entry.get("label"), entry.get("displayName"), entry.get("subject")),
    )


def _told(entry: Entry) -> Mapping[str, object]:
    sealed = entry.get("$encrypted")
    told = sealed.get("told") if isinstance(sealed, dict) else None
    return told if isinstance(told, dict) else {}


def _first(*values: object) -> str | None:
    for value in values:
        if isinstance(value, str) and _is_plain(value):
            return value
    return None


def _is_plain(value: str) -> bool:
    try:
        return bool(check_text(value, "value"))
    except InvalidEntry:
        return False
