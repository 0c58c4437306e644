"""What a migration tells: one JSON document, its counts checked against each other. Pure.

`found` is counted by the survey, which never looks at the store; the rest is counted by what was done. That the two
agree is the proof that nothing was passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore.openclaw.problems import Problem

SUMMARY_BYTES = 4096
"""What Kubernetes keeps of a container's termination message (`terminationMessagePath`)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where things ended up: each is in exactly one of the four."""

    migrated: int = 0
    present: int = 0
    conflicts: int = 0
    quarantined: int = 0

    def __add__(self, other: Account) -> Account:
        return Account(
            self.migrated + other.migrated,
            self.present + other.present,
            self.conflicts + other.conflicts,
            self.quarantined + other.quarantined,
        )

    @property
    def total(self) -> int:
        """How many there are altogether."""
        return self.migrated + self.present + self.conflicts + self.quarantined

    def document(self, found: int) -> dict[str, int]:
        """Return the account as JSON has it."""
        return {
            "found": found,
            "migrated": self.migrated,
            "present": self.present,
            "conflicts": self.conflicts,
            "quarantined": self.quarantined,
        }


@dataclass(frozen=True, slots=True)
class Accounts:
    """The three things that are counted. `lines` are those of sessions; an archive is counted as a whole."""

    sessions: Account = Account()
    lines: Account = Account()
    archives: Account = Account()

    def __add__(self, other: Accounts) -> Accounts:
        return Accounts(self.sessions + other.sessions, self.lines + other.lines, self.archives + other.archives)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source holds.

    Attributes:
        sessions: entries, those that are set aside included; an index that cannot be taken apart counts as one.
        lines: of the sessions' transcripts, torn ones included.
        bytes: of entries, transcripts and archives together.
        archives: transcripts without a session, `orphans` and those set aside included.
        beside: files that are no part of a conversation.
        quarantined: sessions that are set aside.
        digest: of all that can be carried.
    """

    layouts: tuple[str, ...]
    agents: tuple[str, ...]
    sessions: int
    lines: int
    bytes: int
    archives: int
    archive_lines: int
    orphans: int
    beside: int
    quarantined: int
    problems: tuple[Problem, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A session or archive of which source and store hold different things.

    Attributes:
        name: the session key, or the archive's file name.
        line: the first line that differs, counted from 1; None where the lines are the same or cannot be compared.
    """

    kind: str
    agent: str
    name: str
    detail: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """Two digests, each from bytes that were read for this alone, and where they differ."""

    source_digest: str
    store_digest: str
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to say. `accounts` is None where nothing was compared with a store (`inspect`, `verify`)."""

    outcome: str
    survey: Survey
    accounts: Accounts | None = None
    proof: Proof | None = None
    extra_problems: tuple[Problem, ...] = ()
    kept: tuple[str, ...] = field(default=())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What a person should look at."""
        return self.survey.problems + self.extra_problems

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Where the proof failed."""
        return self.proof.mismatches if self.proof else ()

    @property
    def is_set_aside(self) -> bool:
        """Whether something is not in the store as it is in the source, or is there although it is broken."""
        return (
            bool(self.problems)
            or bool(self.accounts and self.accounts.sessions.conflicts)
            or bool(self.accounts and self.accounts.archives.conflicts)
        )

    def imbalance(self) -> str | None:
        """Say which count does not add up, or None."""
        if self.accounts is None:
            return None
        pairs = (
            ("sessions", self.survey.sessions, self.accounts.sessions),
            ("lines", self.survey.lines, self.accounts.lines),
            ("archives", self.survey.archives, self.accounts.archives),
        )
        wrong = [
            f"{name}: {found} found, {account.total} accounted for"
            for name, found, account in pairs
            if found != account.total
        ]
        return "; ".join(wrong) or None

    def document(self) -> dict[str, Any]:
        """Return the JSON document that docs/migration.md describes."""
        survey = self.survey
        found: dict[str, Any] = {
            "outcome": self.outcome,
            "layouts": list(survey.layouts),
            "agents": list(survey.agents),
            "sessions": survey.sessions,
            "lines": survey.lines,
            "bytes": survey.bytes,
            "archives": survey.archives,
            "archiveLines": survey.archive_lines,
            "orphans": survey.orphans,
            "beside": survey.beside,
        }
        found |= self._sessions()
        if self.accounts:
            found["accounts"] = {
                "sessions": self.accounts.sessions.document(survey.sessions),
                "lines": self.accounts.lines.document(survey.lines),
                "archives": self.accounts.archives.document(survey.archives),
            }
            found["kept"] = list(self.kept)
        found["digest"] = self.proof.source_digest if self.proof else survey.digest
        found["storeDigest"] = self.proof.store_digest if self.proof else None
        found["mismatches"] = [_mismatch(mismatch) for mismatch in self.mismatches]
        found["problems"] = [problem_document(problem) for problem in self.problems]
        return found

    def _sessions(self) -> dict[str, int | None]:
        """Return how sessions are accounted for; None for what this command does not look at."""
        if self.accounts:
            return {name: count for name, count in self.accounts.sessions.document(0).items() if name != "found"}
        differ = sum(mismatch.kind == "session" for mismatch in self.mismatches)
        present = self.survey.sessions - self.survey.quarantined - differ if self.proof else None
        return {"migrated": None, "present": present, "conflicts": None, "quarantined": self.survey.quarantined}


def problem_document(problem: Problem) -> dict[str, Any]:
    """Return a problem as JSON has it; what is not known is left out."""
    values = {
        "path": problem.path,
        "agent": problem.agent,
        "key": problem.key,
        "reason": problem.reason.value,
        "detail": problem.detail,
        "offset": problem.offset,
    }
    return {name: value for name, value in values.items() if value is not None}


def summary(report: Report, seconds: float) -> bytes:
    """Return the report in at most SUMMARY_BYTES, for a container's termination message."""
    document = report.document()
    counts = ("sessions", "lines", "bytes", "archives", "migrated", "present", "conflicts", "quarantined")
    first = next(iter(report.mismatches), None)
    return _fitting(
        {"outcome": report.outcome}
        | {name: document.get(name, 0) for name in counts}
        | {
            "problems": len(report.problems),
            "digest": document["digest"],
            "mismatches": len(report.mismatches),
            "seconds": round(seconds, 3),
            "reason": "Mismatch" if report.mismatches else None,
            "message": f"{first.agent}/{first.name}: {first.detail}" if first else None,
        }
    )


def failure(reason: str, message: str, seconds: float) -> bytes:
    """Return the summary of a migration that could not be finished."""
    return _fitting({"outcome": "Failed", "seconds": round(seconds, 3), "reason": reason, "message": message})


def _fitting(document: Mapping[str, Any]) -> bytes:
    """Write compactly. The message alone can be long; it is cut where the whole would not fit."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True)
    if len(text) > SUMMARY_BYTES:
        shorter = str(document["message"]).encode("ascii", "backslashreplace")[: SUMMARY_BYTES // 4].decode("ascii")
        text = json.dumps({**document, "message": f"{shorter}..."}, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii")


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    named = {"kind": mismatch.kind, "agent": mismatch.agent, "name": mismatch.name, "detail": mismatch.detail}
    return named | ({} if mismatch.line is None else {"line": mismatch.line})
