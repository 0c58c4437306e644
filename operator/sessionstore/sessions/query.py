"""What `search` looks for. Pure; every backend filters its rows with it."""

from __future__ import annotations

from dataclasses import dataclass

from sessionstore.sessions.record import SessionInfo, Status, check_agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All that is set must hold; an empty query finds every active session.

    Raises: InvalidKey for an agent that cannot be one.
    """

    agent: str | None = None
    status: Status | None = Status.ACTIVE
    """None finds active and archived ones."""
    tags: frozenset[str] = frozenset()
    """All of these."""
    title: str | None = None
    """Part of the title, in whatever case."""
    channel: str | None = None
    sender: str | None = None
    pinned: bool | None = None
    updated_from_ms: int | None = None
    """This time or later; milliseconds since the epoch."""
    updated_before_ms: int | None = None
    """Earlier than this."""

    def __post_init__(self) -> None:
        # A name that no agent can have is a mistake, and "there are none" would hide it.
        if self.agent is not None:
            check_agent(self.agent)

    def matches(self, info: SessionInfo) -> bool:
        """Return whether a row is looked for."""
        return (
            self.agent in (None, info.key.agent)
            and self.status in (None, info.status)
            and self.tags <= set(info.tags)
            and (self.title is None or self.title.casefold() in (info.title or "").casefold())
            and self.channel in (None, info.channel)
            and self.sender in (None, info.sender)
            and self.pinned in (None, info.pinned)
            and (self.updated_from_ms is None or self.updated_from_ms <= info.updated_ms)
            and (self.updated_before_ms is None or info.updated_ms < self.updated_before_ms)
        )
