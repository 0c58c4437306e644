"""What goes wrong between us and a server, as one value, and which of it passes by itself. Pure."""

from __future__ import annotations

from pymongo import errors

from sessionstore.sessions.exceptions import Unavailable

# A document of more than 16 MiB: MongoDB's two codes, and FerretDB's own.
_TOO_LARGE = frozenset({10334, 17419, 285999133})
# MongoDB's error codes (src/mongo/base/error_codes.yml) -> our reason.
_REASONS = {
    13: "permission",
    18: "auth",
    50: "timeout",
    64: "timeout",
    8000: "auth",
    10107: "readonly",
    13435: "readonly",
    14031: "full",
    **dict.fromkeys(_TOO_LARGE, "full"),
}
# A server that goes down, steps down or comes up; 1 is how FerretDB tells that its PostgreSQL is away.
_PASSING = frozenset({1, 6, 7, 50, 64, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})
# Refused before anything was done.
_REFUSED = frozenset({13, 18, 112, 8000, 10107, 13435, 14031}) | _TOO_LARGE


class Failure(Exception):
    """A request without its answer. It stays inside of this package.

    Attributes:
        text: what happened, for people.
        reason: as of `Unavailable`.
        unknown: the server may have carried the request out. False is certain.
        passing: it may go better in a moment.
    """

    def __init__(self, text: str, reason: str, *, unknown: bool, passing: bool) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.unknown = unknown
        self.passing = passing


def failure_of(error: errors.PyMongoError) -> Failure:
    """Read one of the driver's errors."""
    if isinstance(error, errors.ServerSelectionTimeoutError):
        return Failure("no server answered", "connection", unknown=False, passing=True)
    if isinstance(error, errors.ConnectionFailure):
        reason = "timeout" if error.timeout else "connection"
        return Failure(_plain(error), reason, unknown=True, passing=True)
    if isinstance(error, errors.OperationFailure):
        code = error.code or 0
        reason = _REASONS.get(code, "connection")
        return Failure(_plain(error), reason, unknown=code not in _REFUSED, passing=code in _PASSING)
    return Failure(_plain(error), "connection", unknown=True, passing=False)


def translate(failure: Failure, where: str, *, writes: bool) -> Unavailable:
    """Return the library's error. `where` names the server; `writes`: the request would have changed something."""
    doubt = "; whether the write happened is not known, so read before you write again"
    return Unavailable(f"{where}: {failure.text}{doubt if writes and failure.unknown else ''}", failure.reason)


def _plain(error: errors.PyMongoError) -> str:
    """The driver appends the whole answer, or its picture of the topology: neither helps, and the answer may quote."""
    text = str(error).partition(", full error:")[0].partition(", Timeout:")[0].partition(" (configured timeouts")[0]
    return text.strip().rstrip(".")
