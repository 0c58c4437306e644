"""The sheet of one agent's gateway: read when it changed, and replaced when the desk wants another one.

Called by a room. Nothing here decides about entries. What came back from an exchange is read like the sheet itself, and
its file is kept until the desk that has read it is on the disk.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from sessionstore.bridge import exchange, sheet
from sessionstore.bridge.ancestors import Ancestors
from sessionstore.bridge.desk import Desk, Placement
from sessionstore.bridge.exchange import Displaced, Placed
from sessionstore.bridge.sheet import Mark
from sessionstore.sessions.exceptions import Unreadable

AGAIN_S = (0.3, 2.0)
"""So long after a placement the sheet gets a new time: a gateway may have noted the old content under ours."""

_log = logging.getLogger(__name__)


class GatewaySheet:
    """One file, as it was last seen."""

    def __init__(self, directory: int, agent: str, desk: Desk, ancestors: Ancestors) -> None:
        """Take the directory's descriptor, which stays the caller's, whose it is, what decides, and what keeps that."""
        self._directory, self._agent = directory, agent
        self._desk, self._ancestors = desk, ancestors
        self._mark: Mark | None = None
        self._unread = exchange.left_over(directory)
        self._came_back: list[str] = []
        self._damage = ""
        self._again: list[float] = []

    def glance(self) -> Mapping[str, bytes]:
        """Return the entries that are there, and decide nothing. Raises: OSError."""
        with contextlib.suppress(Unreadable):
            found = sheet.read(self._directory, self._agent, {})
            return found.entries if found else {}
        return {}

    def read(self) -> bool:
        """Read what the gateway wrote; return whether there was anything. Raises: OSError."""
        unread, self._unread = self._unread, []
        for name in unread:
            self._read_back(name)
        if sheet.look(self._directory) == self._mark:
            return bool(unread)
        try:
            found = sheet.read(self._directory, self._agent, self._desk.sheet)
        except Unreadable as error:
            self._tell(str(error))
            return bool(unread)
        self._damage = ""
        self._mark = found.mark if found else None
        if found is None:
            self._desk.gone()
        else:
            self._desk.read(found.marker, found.entries)
        return True

    def keep(self) -> None:
        """Put on the disk what the desk knows: then what it has read may go. Raises: OSError."""
        self._ancestors.save(self._desk.state())
        exchange.forget(self._directory, self._came_back)
        self._came_back = []

    def place(self, placement: Placement, now_ms: int, now_s: float) -> bool:
        """Put a sheet of ours in place; False where the gateway wrote one that is to be read first. Raises: OSError."""
        if self._damage or sheet.look(self._directory) != self._mark:
            self._desk.withdrawn(placement)
            return bool(self._damage)
        self.keep()
        text = sheet.text(self._agent, placement.marker, placement.entries, now_ms)
        try:
            placed = exchange.place(self._directory, text, self._mark)
        except OSError:
            self._unread = exchange.left_over(self._directory)
            raise
        if isinstance(placed, Placed):
            self._mark = placed.mark
            self._again = [now_s + after_s for after_s in AGAIN_S]
            self._desk.placed(placement)
            return True
        if isinstance(placed, Displaced):
            # Ours was there for a moment, so the gateway may have read it.
            self._unread = list(placed.names)
        else:
            self._desk.withdrawn(placement)
        return False

    def refresh(self, now_s: float) -> None:
        """Give a sheet of ours a new time, where that is due. Raises: OSError."""
        if self._mark is not None and self._again and self._again[0] <= now_s:
            self._again = [at for at in self._again if at > now_s]
            self._mark = exchange.refreshed(self._directory, self._mark)

    def _read_back(self, name: str) -> None:
        try:
            found = sheet.read(self._directory, self._agent, self._desk.sheet, name)
        except Unreadable as error:
            _log.warning("%s; what it says is not known, and the file is left there", error)
            return
        if found is not None:
            self._desk.read(found.marker, found.entries)
            self._came_back.append(name)

    def _tell(self, damage: str) -> None:
        """Say once that nothing is read or placed until somebody mends the file."""
        if damage != self._damage:
            _log.warning("%s", damage)
        self._damage = damage
