"""How things are called in a directory store. Pure. docs/design/0011-directory.md is the contract.

Names are injective: a short text stands in its file's name as base64url, a long one as its SHA-256, with the text
itself inside the file. base64url tells case apart, some file systems do not, so a piece of the digest follows it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from sessionstore.sessions.exceptions import InvalidKey
from sessionstore.sessions.record import SessionKey, check_agent

STORE, LOCKS, JOURNAL, AGENTS, ARCHIVES, DOCUMENTS = "store.json", "locks", "journal", "agents", "archives", "documents"
RECORD, LEASE, LINES, DOCUMENT = ".json", ".lease", ".jsonl", ".document"

MAX_PLAIN_BYTES = 108
"""Of a text that stands in the name itself: the longest name behind it is `.<64>.<20>.jsonl`, and 255 is the limit."""

_STEM = re.compile(r"s-(?P<text>[A-Za-z0-9_-]+)\.(?P<piece>[0-9a-f]{16})|h-(?P<digest>[0-9a-f]{64})")
_LINES = re.compile(r"(?P<stem>.+)\.[0-9a-f]{64}\.\d{1,20}\.jsonl")
_TEMPORARY = re.compile(r"\.sessionstore-.+\.tmp")
_FAN = re.compile(r"[0-9a-f]{2}")
_SLOT_BITS = 62


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session's files are: in `agents/<agent>/<fan>`, all with names that begin with `stem`."""

    agent: str
    """The name of the agent's directory."""
    fan: str
    stem: str

    @property
    def directories(self) -> tuple[str, str, str]:
        """The way from the store's root."""
        return AGENTS, self.agent, self.fan

    @property
    def record(self) -> str:
        """The file of the session's record."""
        return self.stem + RECORD

    @property
    def lease(self) -> str:
        """The file of its lease."""
        return self.stem + LEASE

    def lines(self, transcript_id: str, generation: int) -> str:
        """Return the file of a transcript's lines."""
        return lines_file(self.stem, transcript_id, generation)

    @property
    def slot(self) -> int:
        """What is locked to write the session: told by the names alone, so that a sweep can lock what it finds."""
        return slot_of(AGENTS, self.agent, piece_of(self.stem))


def place_of(name: SessionKey) -> Place:
    """Return where a session's files are."""
    return Place(agent_directory(name.agent), _digest(name.key)[:2], stem_of(name.key))


def stem_of(text: str) -> str:
    """Return what the file names of a key, a document's name or an archive's name begin with."""
    raw, digest = text.encode(), _digest(text)
    if len(raw) > MAX_PLAIN_BYTES:
        return f"h-{digest}"
    return f"s-{base64.urlsafe_b64encode(raw).rstrip(b'=').decode()}.{digest[:16]}"


def lines_file(stem: str, of: str, generation: int) -> str:
    """Return the file of a transcript's lines, or an archive's; `of` is its name."""
    return f"{stem}.{_digest(of)}.{generation}{LINES}"


def is_stem(stem: str) -> bool:
    """Return whether `stem_of` may have made this."""
    return _STEM.fullmatch(stem) is not None


def text_of(stem: str) -> str | None:
    """Return the text that a stem spells out; None for a digest, and for what is no stem of ours."""
    match = _STEM.fullmatch(stem)
    if match is None or match["text"] is None:
        return None
    try:
        text = base64.urlsafe_b64decode(match["text"] + "=" * (-len(match["text"]) % 4)).decode()
    except ValueError:
        return None
    return text if stem_of(text) == stem else None


def piece_of(stem: str) -> str:
    """Return the piece of the digest that every stem holds."""
    return stem.rpartition(".")[2] if stem.startswith("s-") else stem[2:18]


def agent_directory(agent: str) -> str:
    """Return the name of an agent's directory: its own, made unlike any other where it holds capitals."""
    return agent if agent == agent.lower() else f"{agent}~{_digest(agent)[:16]}"


def agent_of(directory: str) -> str | None:
    """Return the agent whose directory this is, or None."""
    try:
        agent = check_agent(directory.partition("~")[0])
    except InvalidKey:
        return None
    return agent if agent_directory(agent) == directory else None


def is_fan(name: str) -> bool:
    """Return whether this is one of the 256 directories of an agent."""
    return _FAN.fullmatch(name) is not None


def is_temporary(name: str) -> bool:
    """Return whether a file was being written, and is of no use where its writer is gone."""
    return _TEMPORARY.fullmatch(name) is not None


def stem_of_lines(name: str) -> str | None:
    """Return the stem of a file of transcript lines; None for any other file."""
    match = _LINES.fullmatch(name)
    return match["stem"] if match and is_stem(match["stem"]) else None


def stem_before(name: str, ending: str) -> str | None:
    """Return the stem of a file with this ending; None for any other file."""
    stem = name.removesuffix(ending)
    return stem if name.endswith(ending) and is_stem(stem) else None


def is_ours(name: str) -> bool:
    """Return whether a plain file among a session's may have been made by this library."""
    known = (stem_before(name, RECORD), stem_before(name, LEASE), stem_of_lines(name))
    return is_temporary(name) or any(stem is not None for stem in known)


def slot_of_archive(directory: str, stem: str) -> int:
    """Return what is locked to write an archive."""
    return slot_of(ARCHIVES, directory, piece_of(stem))


def slot_of(*parts: str) -> int:
    """Return a place in the file of locks for something with this name; two names never meet, but for chance."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _SLOT_BITS)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
