"""What ends a migration early. Everything smaller is a Problem, and the migration goes on."""

from __future__ import annotations


class MigrationError(Exception):
    """The migration cannot be finished; what was copied stays, and a further run goes on from there.

    Attributes:
        reason: CamelCase, for machines: `ConflictsFound`, `StoreBusy`, `SourceChanged`, `CannotKeep`,
            `CountsDoNotAddUp`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
