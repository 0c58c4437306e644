"""What a file of OpenClaw is called, and what an entry says of it. Pure.

Source of the rules: OpenClaw 2026.7.1-2, `resolveSessionFilePath`: `sessionFile` counts where it lies in the directory
of an agent's sessions, else `<sessionId>.jsonl` beside the index.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from sessionstore.openclaw import names
from sessionstore.openclaw.names import FileKind
from sessionstore.sessions.record import Entry, Session, SessionKey, Status

MAX_NAME_BYTES = 255
_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where the gateway will see its state directory, and whether its index lies apart from the transcripts."""

    state_dir: PurePosixPath
    is_index_elsewhere: bool = False

    def session_file(self, agent: str, stem: str) -> str:
        """Return the absolute path of a transcript, as the gateway will see it."""
        return str(self.state_dir / folder_of(agent) / names.file_of(stem))

    def entry(self, session: Session, stem: str | None) -> Entry:
        """Return the entry as it is written.

        `sessionFile` is rewritten where there is one, and added where OpenClaw would look elsewhere without it. A
        session that was archived in the store is marked as OpenClaw marks its own.
        """
        fields: dict[str, object] = {}
        if stem is not None and (self._needs_file(session.entry, stem)):
            fields["sessionFile"] = self.session_file(session.key.agent, stem)
        if session.status is Status.ARCHIVED and "archivedAt" not in session.entry:
            fields["archivedAt"] = session.written_ms
        changed = {name: value for name, value in fields.items() if session.entry.get(name) != value}
        return session.entry.with_fields(changed) if changed else session.entry

    def _needs_file(self, entry: Entry, stem: str) -> bool:
        return "sessionFile" in entry or self.is_index_elsewhere or stem != entry.session_id


def folder_of(agent: str) -> str:
    """Return where an agent's transcripts lie, relative to the state directory."""
    return f"agents/{agent}/sessions"


def stem_of(session: Session) -> str | None:
    """Return the stem of a session's transcript: its id, unless that cannot be a transcript's file name."""
    transcript_id = session.entry.transcript_id
    if transcript_id is None or _is_transcript(names.file_of(transcript_id)):
        return transcript_id
    return other_stem(transcript_id, session.key)


def other_stem(stem: str, key: SessionKey) -> str:
    """Return a stem for a session whose transcript's name another session has, too."""
    digest = hashlib.sha256(f"{key.agent}\0{key.key}".encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{_cut(stem, _DIGEST_CHARACTERS + 1 + len(names.TRANSCRIPT_SUFFIX))}-{digest}"


def archive_file(name: str) -> str | None:
    """Return the file name of an archive, or None where it cannot be that of one."""
    is_taken = names.kind_of(name) is FileKind.ARCHIVE or _is_transcript(name)
    return name if is_taken and len(name.encode()) <= MAX_NAME_BYTES else None


def other_archive_file(name: str, stamp: str, number: int) -> str:
    """Return a file name for an archive that cannot have its own: OpenClaw takes it for a backup of that time."""
    suffix = f"{'' if '.jsonl' in name else names.TRANSCRIPT_SUFFIX}.bak.{stamp}.{number:03}Z"
    return _cut(name, len(suffix)) + suffix


def _is_transcript(name: str) -> bool:
    return names.kind_of(name) is FileKind.TRANSCRIPT and len(name.encode()) <= MAX_NAME_BYTES


def _cut(text: str, room: int) -> str:
    """Return text that leaves `room` bytes of a file name."""
    return text.encode()[: MAX_NAME_BYTES - room].decode("utf-8", "ignore").replace(".trajectory", "-trajectory")
