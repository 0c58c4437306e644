"""Why something cannot be a session, or cannot be one of a store's: the errors of others as reasons of ours. Pure."""

from __future__ import annotations

from sessionstore.migrate.items import SourceArchive, SourceSession
from sessionstore.openclaw import rawjson
from sessionstore.openclaw.problems import Problem, Reason, Refused
from sessionstore.sessions.exceptions import InvalidEntry, InvalidKey


def reason_of(error: Exception) -> Reason:
    """Return why an entry cannot be a session, or cannot be one of a store's."""
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, InvalidKey):
        return Reason.INVALID_KEY
    if isinstance(error.__cause__, rawjson.DuplicateKeyError):
        return Reason.DUPLICATE_KEY
    if isinstance(error.__cause__, rawjson.NotAnObjectError):
        return Reason.NOT_AN_OBJECT
    return Reason.INVALID_JSON if error.__cause__ else Reason.TOO_LARGE


def refusal(item: SourceSession | SourceArchive, error: InvalidKey | InvalidEntry) -> Problem:
    """Say that a store cannot hold something that the contract allows: each store has limits of its own."""
    detail = f"the store refuses it: {error}"
    if isinstance(item, SourceArchive):
        return Problem(item.lines.path, reason_of(error), detail, item.agent)
    path = item.lines.path if item.lines else item.problem.path if item.problem else "."
    return Problem(path, reason_of(error), detail, item.key.agent, item.key.key)
