"""The scripts, what they are given and what they answer; lua/shared.lua is the other side of it. Pure."""

from __future__ import annotations

from typing import Any, NoReturn

from sessionstore.sessions import leases, record, transitions
from sessionstore.sessions.exceptions import Conflict, NoTranscript, Unreadable
from sessionstore.sessions.record import Entry, Lifetime, NewSession, Session, Transcript, TranscriptHead
from sessionstore.sessions.redis import limits, records
from sessionstore.sessions.redis.places import Place
from sessionstore.sessions.redis.resp import Argument
from sessionstore.sessions.redis.script import Script
from sessionstore.sessions.transitions import Marking

Answer = list[Any]

SET = Script.load("shared", "set")
CREATE = Script.load("shared", "transcript", "create")
DELETE = Script.load("shared", "delete")
MARK = Script.load("shared", "mark")
APPEND = Script.load("shared", "transcript", "append")
REWRITE = Script.load("shared", "transcript", "rewrite")
READ = Script.load("shared", "transcript", "read")
SWEEP = Script.load("shared", "sweep")
ACQUIRE = Script.load("acquire")
RENEW = Script.load("renew")


def term(number: int | None) -> str:
    """Return one of the terms of ARGV[1]."""
    return "-" if number is None else str(number)


def lifetime_terms(lifetime: Lifetime | None) -> str:
    """Return two of them; None leaves the session's own as it is."""
    return "= =" if lifetime is None else f"{term(lifetime.ttl_ms)} {term(lifetime.idle_ms)}"


def set_arguments(place: Place, entry: Entry) -> tuple[Argument, ...]:
    """Return what set.lua and create.lua take behind their terms. Raises: InvalidEntry for an impossible transcript."""
    raw, told = entry.raw, records.attributes_text(place.name, entry)
    return raw, told, f"{term(entry.updated_ms)} {records.checksum(raw)} {entry.transcript_id or ''}"


def create_arguments(ages: str, place: Place, new: NewSession) -> tuple[Argument, ...]:
    """Return what create.lua takes. Raises: InvalidEntry, NoTranscript."""
    transitions.check_begins(place.name, new.entry, new.lines)
    terms = f"- {ages} - {lifetime_terms(new.lifetime)}"
    return terms, *set_arguments(place, new.entry), *limits.joined_lines(new.lines)


def created(place: Place, new: NewSession, answer: Answer | Unreadable) -> Session:
    """Return the session that create.lua made. Raises: Conflict, Unreadable."""
    answer = believed(place, answer)
    if answer[0] != b"ok":
        refuse_revision(place, answer, 0)
    session = records.session_of(place.name, (answer[1], new.entry.raw, None), new.entry)
    assert session is not None
    return session


def read_arguments(ages: str, start: int, stop: int | None) -> tuple[Argument, ...]:
    """Return what read.lua takes."""
    end = "" if stop is None else limits.clamped(stop)
    return f"- {ages} - - -", limits.clamped(start), end, limits.JOINED_BYTES


def transcript_of(place: Place, answer: Answer | Unreadable, *, reverse: bool = False) -> Transcript | None:
    """Return what read.lua found; None where there is no transcript. Raises: Unreadable."""
    answer = believed(place, answer)
    if answer[0] != b"ok":
        return None
    head = TranscriptHead(answer[1].decode(), answer[2], answer[3])
    lines = limits.cut_lines(answer[5])
    if len(lines) != answer[7]:
        raise records.unreadable(place.name, "a line of its transcript holds a line feed")
    return Transcript(head, answer[4], lines[::-1] if reverse else lines)


def mark_arguments(marking: Marking, *, use: bool) -> tuple[Argument, ...]:
    """Return what mark.lua takes behind its terms. `use`: the session's idle time begins anew."""
    return (
        marking.status or "",
        "" if marking.pinned is None else int(marking.pinned),
        "" if marking.title is None else f"={marking.title}",
        "" if marking.reason is None else f"={marking.reason}",
        int(use),
        record.MAX_TAGS,
        len(marking.add),
        *marking.add,
        *marking.remove,
    )


def believed(place: Place, answer: Answer | Unreadable, fence: int | None = None) -> Answer:
    """Return the answer of a script of one session. Raises: Unreadable; LeaseLost."""
    if isinstance(answer, Unreadable):
        raise records.unreadable(place.name, str(answer))
    if answer[0] == b"unreadable":
        raise records.unreadable(place.name, answer[1].decode())
    if answer[0] == b"lost":
        assert fence is not None
        raise leases.lost(place.name, fence)
    return answer


def refuse_revision(place: Place, answer: Answer, expected: int | None) -> NoReturn:
    """Raise what a refused `expected` is answered with."""
    current = records.session_of(place.name, answer[1:])
    have = current.revision if current else 0
    raise Conflict(f"session {place.name} is at revision {have}, not {expected}", current)


def refuse_lines(
    place: Place, answer: Answer, position: int | None, generation: int | None, expected: int | None = None
) -> NoReturn:
    """Raise what a change of a transcript that was not made is answered with: Conflict or NoTranscript."""
    if answer[0] != b"conflict":
        why = "is absent" if answer[0] == b"absent" else "names no transcript (sessionFile, sessionId)"
        raise NoTranscript(f"session {place.name} {why}")
    current = records.session_of(place.name, answer[1:])
    if current is None or expected not in (None, current.revision):
        refuse_revision(place, answer, expected)
    assert current.transcript is not None
    if generation not in (None, current.transcript.generation):
        why = f"has its transcript at generation {current.transcript.generation}, not {generation}"
    else:
        why = f"has a transcript of {current.transcript.lines} lines, not {position}"
    raise Conflict(f"session {place.name} {why}", current)
