"""Putting a sheet of ours in place of the gateway's, so that nothing the gateway writes meanwhile is lost.

    the gateway wrote nothing   sheet: seen -> ours       aside: ours -> seen, removed                    Placed
    it wrote before the look    sheet: theirs             aside: ours, removed                            Aborted
    it wrote behind the look    sheet: theirs -> ours     aside: ours -> theirs, which is kept
                                sheet: ours -> theirs     aside: theirs -> ours, removed                  Displaced

A gateway must find what it wrote, or it takes its own session for one that was never made. So where theirs came back
it is put in place again at once, some ten microseconds later, and only then read. It may have written once more in
between: then that comes back instead of ours, and goes in place in turn, until what comes back is ours or came before.

What came back is kept under a name of its own before it is put back, since the gateway may write over it at any moment,
and it stays there until `forget`: a bridge that dies in between finds it again (`left_over`). Called by a room.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from sessionstore.bridge import kernel
from sessionstore.bridge.sheet import Mark, look, pinned
from sessionstore.openclaw.names import INDEX
from sessionstore.sessions.plainfiles import hand_over

_ASIDE = ".sessionstore-bridge-sheet-"
_UNFINISHED = ".sessionstore-bridge-new-"
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Placed:
    """Ours is in place."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Aborted:
    """The sheet is not the one that was seen: nothing was done. Read it, and begin anew."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """The gateway's newest is in place. These came back, oldest first: read them, then the sheet, then `forget` them.

    The last of them usually is what is in place, too; read twice, it says nothing new.
    """

    names: tuple[str, ...]


def place(directory: int, text: Iterable[bytes], seen: Mark | None) -> Placed | Aborted | Displaced:
    """Put a sheet in place of the one that was seen last.

    Args:
        directory: descriptor of the sessions directory.
        text: the sheet's bytes, in pieces.
        seen: as it was read or placed, with its pin; None where there was no file.
    Raises: OSError, as for a full disk: ours is not in place then, and what came back, if any, is `left_over`.
    """
    aside, ours = _written(directory, text)
    known = {ours} if seen is None else {ours, seen}
    try:
        # Nothing may come between the look and the exchange: what the gateway writes there has to be put back.
        if look(directory) != seen or not _put(directory, aside, fresh=seen is None):
            return Aborted()
        kept = _put_back(directory, aside, known)
    finally:
        if look(directory, aside) in known:
            forget(directory, [aside])
    return Displaced(tuple(kept)) if kept else Placed(ours)


def left_over(directory: int) -> list[str]:
    """Return the names of sheets that a bridge left that died between an exchange and `forget`, oldest first.

    Read them, then the sheet, as after a placement: where one of them was the newest it is put in place here. Some may
    be what is in place, too, or was never put there. What is not even whole is removed.
    """
    names = os.listdir(directory)
    forget(directory, [name for name in names if name.startswith(_UNFINISHED)])
    aside = [name for name in names if name.startswith(_ASIDE)]
    while aside:
        aside.sort(key=lambda name: (_modified_ns(directory, name), name))
        sheet = look(directory)
        if sheet is None or _modified_ns(directory, aside[-1]) <= sheet.modified_ns:
            break
        _put(directory, aside[-1], fresh=False)
    return aside


def forget(directory: int, names: Iterable[str]) -> None:
    """Remove sheets that came back, or were left over, when all they say has been pushed."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def refreshed(directory: int, mark: Mark) -> Mark:
    """Give a sheet of ours that is still in place a new time, and return its mark from now on.

    A gateway that read the old sheet may have noted it under the time of ours, and would go on with it: it stats the
    file behind its own write. Do so a while after each placement. Where ours was replaced, nobody notices.

    Args:
        mark: as `Placed` has it.
    """
    if mark.pin is None or look(directory) != mark:
        return mark
    os.utime(mark.pin.descriptor)
    found = os.fstat(mark.pin.descriptor)
    return Mark(found.st_ino, found.st_size, found.st_mtime_ns, mark.pin)


def _written(directory: int, text: Iterable[bytes]) -> tuple[str, Mark]:
    """Write a sheet under a name of ours. Only what is whole has a name that `left_over` gives."""
    token = secrets.token_hex(8)
    unfinished, aside = _UNFINISHED + token, _ASIDE + token
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        hand_over(descriptor, os.fstat(directory))
        # Not synced: neither does the gateway, and after a power cut the store has what the sheet lost.
        with os.fdopen(os.dup(descriptor), "wb", _BUFFER_BYTES) as file:
            file.writelines(text)
        os.rename(unfinished, aside, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.close(descriptor)
        forget(directory, [unfinished])
        raise
    return aside, pinned(descriptor)


def _put(directory: int, aside: str, *, fresh: bool) -> bool:
    """Put what is aside in place; return False where the sheet came, or went away, behind the look."""
    try:
        (kernel.move if fresh else kernel.exchange)(directory, aside, INDEX)
    except (FileExistsError, FileNotFoundError):
        return False
    return True


def _put_back(directory: int, aside: str, known: set[Mark]) -> list[str]:
    """Exchange until what comes back is known; return the names of what was not, oldest first."""
    kept: list[str] = []
    while (came := look(directory, aside)) is not None and came not in known:
        try:
            os.link(aside, f"{aside}-{len(kept)}", src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except OSError:
            # Not to be kept, on a full disk say: put back all the same.
            _put(directory, aside, fresh=False)
            raise
        known.add(came)
        kept.append(f"{aside}-{len(kept)}")
        if not _put(directory, aside, fresh=False):
            break
    return kept


def _modified_ns(directory: int, name: str) -> int:
    mark = look(directory, name)
    return mark.modified_ns if mark else 0
