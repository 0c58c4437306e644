"""What a migration tells: one JSON document, its counts checked against each other. Pure.

`found` is counted by the survey, which never looks at the store; the rest is counted by what was done. That the two
agree is the proof that nothing was passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        if other is _NOTHING:
            return self
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


_NOTHING = Account()


@dataclass(frozen=True, slots=True)
class Accounts:
    """The three things that are counted. `lines` are those of sessions; an archive is counted as a whole."""

    sessions: Account = _NOTHING
    lines: Account = _NOTHING
    archives: Account = _NOTHING

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
        superseded: entries that a more recent index has, too.
        beside: files that are no part of a conversation.
        quarantined: sessions that are set aside.
        archives_aside: archives that are.
        unsupported: what may hold sessions and cannot be read.
        unread: links, odd names, a configuration that makes no sense: sessions may be there that are not seen.
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
    superseded: int
    beside: int
    quarantined: int
    digest: str
    archives_aside: int = 0
    unsupported: Problem | None = None
    unread: int = 0


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
    """Two digests, each from bytes that were read for this alone, and where they differ.

    Attributes:
        mismatches: the first of them.
        mismatch_count: all of them.
        session_mismatches: those of them that are sessions.
    """

    source_digest: str
    store_digest: str
    mismatches: tuple[Mismatch, ...] = ()
    mismatch_count: int = 0
    session_mismatches: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: how many sessions of each decision, and the first rows."""

    decisions: Mapping[str, int]
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to say. `accounts` is None where nothing was compared with a store (`inspect`, `verify`).

    Attributes:
        problems: the first that a person should look at, of `problem_count`.
        kept: the first documents that keep what was set aside, of `kept_count`.
        plan: of a dry run.
        moving: how many things of a live source changed meanwhile; None where none may.
        following: what came of following a store; None where none was followed.
    """

    outcome: str
    survey: Survey
    accounts: Accounts | None = None
    proof: Proof | None = None
    problems: tuple[Problem, ...] = ()
    problem_count: int = 0
    kept: tuple[str, ...] = ()
    kept_count: int = 0
    plan: Plan | None = None
    moving: int | None = None
    following: Mapping[str, int | float | None] | None = None

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Where the proof failed."""
        return self.proof.mismatches if self.proof else ()

    @property
    def is_set_aside(self) -> bool:
        """Whether something is not in the store as it is in the source, or is there although it is broken."""
        return (
            bool(self.problem_count)
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
            "superseded": survey.superseded,
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
            found["keptCount"] = self.kept_count
        if self.plan:
            found["decisions"] = dict(self.plan.decisions)
            found["plan"] = list(self.plan.rows)
        if self.moving is not None:
            found["moving"] = self.moving
        if self.following is not None:
            found["following"] = dict(self.following)
        found["digest"] = self.proof.source_digest if self.proof else survey.digest
        found["storeDigest"] = self.proof.store_digest if self.proof else None
        found["mismatches"] = [_mismatch(mismatch) for mismatch in self.mismatches]
        found["mismatchCount"] = self.proof.mismatch_count if self.proof else 0
        found["problems"] = [problem_document(problem) for problem in self.problems]
        found["problemCount"] = self.problem_count
        return found

    def _sessions(self) -> dict[str, int | None]:
        """Return how sessions are accounted for; None for what this command does not look at."""
        if self.accounts:
            return {name: count for name, count in self.accounts.sessions.document(0).items() if name != "found"}
        proof = self.proof
        present = self.survey.sessions - self.survey.quarantined - proof.session_mismatches if proof else None
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


def summary(reports: Sequence[Report], seconds: float) -> bytes:
    """Return what became of one source, or of several together, in at most SUMMARY_BYTES, for a termination message."""
    documents = [report.document() for report in reports]
    counts = ("sessions", "lines", "bytes", "archives", "migrated", "present", "conflicts", "quarantined")
    mismatch = next((found for report in reports for found in report.mismatches), None)
    moving = [report.moving for report in reports if report.moving is not None]
    return _fitting(
        {"outcome": "Failed" if mismatch else reports[0].outcome}
        | {name: sum(document.get(name) or 0 for document in documents) for name in counts}
        | ({"moving": sum(moving)} if moving else {})
        | {
            "problems": sum(report.problem_count for report in reports),
            "digest": documents[0]["digest"] if len(documents) == 1 else None,
            "mismatches": sum(document["mismatchCount"] for document in documents),
            "seconds": round(seconds, 3),
            "reason": "Mismatch" if mismatch else None,
            "message": f"{mismatch.agent}/{mismatch.name}: {mismatch.detail}" if mismatch else None,
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
