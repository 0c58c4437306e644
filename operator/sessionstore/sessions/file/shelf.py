"""OpenClaw's state directory as a shelf of sessions: `agents/<agent>/sessions`, a room for each key."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sessionstore.openclaw.names import FileKind, kind_of
from sessionstore.sessions import feed
from sessionstore.sessions.exceptions import FeedLost, InvalidKey, Unavailable, Unreadable
from sessionstore.sessions.file.agent import AgentFiles, Sight
from sessionstore.sessions.file.room import Nowhere, SessionRoom, is_read_only
from sessionstore.sessions.plainfiles import Directory, translated
from sessionstore.sessions.record import Change, Changes, Health, Lifetime, SessionKey, check_agent
from sessionstore.sessions.transitions import Record

STORE_ID = "file"
"""In cursors. Each agent's log has an id of its own, which its place in the cursor carries."""

Place = tuple[str, int, int]
"""A log's id, the number of the last event that was told, and by what that event is known again (`Log.check_of`)."""

_log = logging.getLogger(__name__)


class StateDirectory:
    """The shelf."""

    def __init__(self, path: Path, now_ms: Callable[[], int], defaults: Lifetime) -> None:
        self.path = path
        self._now_ms, self._defaults = now_ms, defaults
        self._agents: dict[str, AgentFiles] = {}
        self._odd: dict[str, str] = {}

    @contextmanager
    def room(self, name: SessionKey, *, writing: bool) -> Iterator[SessionRoom | Nowhere | None]:
        with self.opened(name.agent) as directory:
            if directory is None:
                yield Nowhere(name) if writing else None
                return
            agent = self._agent(name.agent)
            if not writing:
                yield SessionRoom(agent, directory, name, locked=False)
                return
            with agent.locked(directory):
                yield SessionRoom(agent, directory, name, locked=True)

    def record(self, name: SessionKey) -> Record | None:
        """Return what is kept of a session, and write nothing down of what other programs did."""
        with self.opened(name.agent) as directory:
            return None if directory is None else self._agent(name.agent).look(directory, name.key).record

    def opened(self, agent: str, *, create: bool = False) -> AbstractContextManager[Directory | None]:
        """Open an agent's directory. Raises: Unreadable where it is a link."""
        return Directory.opened(self.path, "agents", agent, "sessions", create=create)

    def rows(self, agent: str | None) -> Iterable[tuple[SessionKey, Record]]:
        found = []
        for owner in self.agents(agent):
            for key, sight in self._all(owner).items():
                if sight.record is not None:
                    found.append((SessionKey(owner, key), sight.record))
        return found

    def agents(self, agent: str | None) -> list[str]:
        """Return the names of the agents, or of one where it is there. What only looks like one is left out."""
        names = _directories(self.path / "agents")
        found, odd = [], {}
        for name in names if agent is None else {agent} & set(names):
            why = _oddity(self.path / "agents" / name, name)
            if why is None or agent is not None:
                found.append(name)
            else:
                odd[name] = why
        if odd.keys() - self._odd.keys():
            _log.warning("%d directories in %s are left out; health() names them", len(odd), self.path / "agents")
        if agent is None:
            self._odd = odd
        return sorted(found)

    def count_archives(self) -> int:
        return sum(kind_of(name) is FileKind.ARCHIVE for agent in self.agents(None) for name in self._names(agent))

    def feed_end(self) -> str:
        places: dict[str, Place] = {}
        for owner in self.agents(None):
            with self.opened(owner) as directory:
                if directory is not None:
                    with self._agent(owner).steady(directory) as log:
                        places[owner] = log.id, log.settled, log.check_of(log.settled)
        return _encode(places)

    def feed_after(self, cursor: str, limit: int) -> Changes:
        places = _decode(cursor)
        found: list[Change] = []
        for owner in sorted({*self.agents(None), *places}):
            place, told = self._told(owner, places.get(owner, ("", 0, 0)), limit - len(found))
            places[owner] = place
            found += told
        return Changes(tuple(found), _encode(places))

    def _told(self, owner: str, place: Place, limit: int) -> tuple[Place, list[Change]]:
        """Return an agent's events behind a place, and the place behind them. Raises: FeedLost."""
        id, seen, check = place
        with self.opened(owner) as directory:
            agent = self._agent(owner)
            if directory is None:
                events, now, last, known, next_check = [], None, seen, 0, 0
            else:
                self._write_down(agent, directory)
                with agent.steady(directory) as log:
                    events, now = log.events(seen, limit), (log.id, log.first, log.number)
                    last = events[-1].number if events else seen
                    known, next_check = log.check_of(seen), log.check_of(last)
        if now is None or not now[0] or (id and id != now[0]):
            if seen:
                raise FeedLost(f"what agent {owner} had is gone, or was made anew; take a new position and walk")
            return place, []
        feed.check_reach(now[1], seen, now[2])
        if check and known not in (0, check):
            raise FeedLost(
                f"agent {owner} has other changes than were read, as of a backup; take a new position and walk"
            )
        told = [Change(SessionKey(owner, event.key), event.revision, event.operation) for event in events]
        return (now[0], last, next_check), told

    def health(self) -> Health:
        facts = [("directory", str(self.path))]
        try:
            for owner in self.agents(None):
                self._all(owner)
        except (Unavailable, Unreadable) as error:
            reason = error.reason if isinstance(error, Unavailable) else None
            return Health(ok=False, message=str(error), reason=reason, facts=tuple(facts))
        damage = {f"{name}": why for name, why in self._odd.items()}
        damage |= {f"{name}/{key}": why for name, agent in self._agents.items() for key, why in agent.damaged.items()}
        facts += [("agents", str(len(self.agents(None)))), *damage.items()]
        writable = os.access(_existing(self.path), os.W_OK)
        return Health(
            ok=writable,
            message=_told(self.path, writable, damage),
            reason=None if writable else "readonly",
            facts=tuple(facts),
        )

    def _agent(self, name: str) -> AgentFiles:
        found = self._agents.get(name)
        if found is None:
            path = self.path / "agents" / name / "sessions"
            found = self._agents.setdefault(name, AgentFiles(name, path, self._now_ms, self._defaults))
        return found

    def _names(self, agent: str) -> list[str]:
        with self.opened(agent) as directory:
            return directory.names() if directory else []

    def _all(self, owner: str) -> Mapping[str, Sight]:
        """See all of an agent's sessions, with what other programs did written down, where that can be."""
        with self.opened(owner) as directory:
            if directory is None:
                return {}
            agent = self._agent(owner)
            found = agent.look_at_all(directory)
            if all(sight.noticed is None for sight in found.values()):
                return found
            try:
                with agent.locked(directory):
                    return agent.notice_all(directory)
            except Unavailable as error:
                if is_read_only(error):
                    return found
                raise

    @staticmethod
    def _write_down(agent: AgentFiles, directory: Directory) -> None:
        """Write down what other programs did since the last look, where that can be."""
        if agent.is_quiet(directory):
            return
        sights = agent.look_at_all(directory).values()
        if agent.log.unsettled is None and all(sight.noticed is None for sight in sights):
            return
        try:
            with agent.locked(directory):
                agent.notice_all(directory)
        except Unavailable as error:
            if not is_read_only(error):
                raise


def _encode(places: Mapping[str, Place]) -> str:
    return feed.encode(STORE_ID, [json.dumps({name: list(place) for name, place in sorted(places.items())})])


def _decode(cursor: str) -> dict[str, Place]:
    """Read a cursor's places: agent -> place. Raises: InvalidKey; FeedLost."""
    try:
        found = json.loads(str(feed.decode(cursor, STORE_ID, 1)[0]))
        places = {check_agent(name): (id, seen, check) for name, (id, seen, check) in found.items()}
    except InvalidKey:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidKey("the cursor is not one that position or changes gave out") from error
    if not all(list(map(type, place)) == [str, int, int] and place[1] >= 0 for place in places.values()):
        raise InvalidKey("the cursor is not one that position or changes gave out")
    return places


def _directories(path: Path) -> list[str]:
    with translated(path):
        try:
            with os.scandir(path) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []


def _oddity(path: Path, name: str) -> str | None:
    """Say why a directory under `agents` is no agent's; None where it is one, or has no sessions."""
    try:
        check_agent(name)
    except InvalidKey as error:
        return str(error)
    with translated(path):
        try:
            found = os.lstat(path / "sessions")
        except FileNotFoundError:
            return None
    return (
        None if stat.S_ISDIR(found.st_mode) else f"{path / 'sessions'} is a link, or no directory; it is not followed"
    )


def _existing(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.exists()), path)


def _told(path: Path, writable: bool, damage: Mapping[str, str]) -> str:
    if not writable:
        return f"{path} can be read and not written: correct its owner or mode, or mount it writable"
    if damage:
        names = ", ".join(sorted(damage)[:10])
        return f"{path} can be used, but for {len(damage)} that cannot be read and are left out of lists: {names}"
    return f"{path} can be read and written"
