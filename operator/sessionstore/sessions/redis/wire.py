"""One connection that many callers share.

Commands that are given within one turn of the event loop go out in one write, and whatever answers one read brings are
given to their callers in order. Nobody owns the connection, so nobody can leave it in the middle of an answer: a caller
that is cancelled, or gives up, is passed over when its answer comes.

    given ──▶ queue (not sent) ──flush──▶ waiting (sent) ──answer──▶ done
                 └── connection lost: Failure, certainly not carried out
                                             └── connection lost: Failure, unknown
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from sessionstore.sessions.redis import resp
from sessionstore.sessions.redis.failures import Failure

WRITE_BYTES = 128 * 1024
"""Of one write. Between two the transport may ask for a pause, and what is not written then is known not to be sent."""
BIG_ANSWER_BYTES = 256 * 1024
"""While something of this size arrives, new commands take another connection if there is one."""
_NEVER = float("inf")


class _Waiting:
    """A command, or a batch of them, without its answer. A class and no dataclass: one is made for each command."""

    __slots__ = ("answers", "begun", "count", "deadline", "future")

    def __init__(self, future: asyncio.Future[Any], begun: float, deadline: float, count: int | None) -> None:
        self.future = future
        self.begun = begun
        self.deadline = deadline
        self.count = count
        self.answers: list[Any] = []


class Wire(asyncio.Protocol):
    """One connection to one server. Times are of the loop's clock."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[Exception | None], None],
    ) -> None:
        """Take over `transport`, which is connected and logged in; the caller makes this its protocol.

        Args:
            release: is called when the connection is gone.
        """
        self.on_lost: Callable[[Wire], None] = _ignore
        self._transport = transport
        self.loop = loop
        self._release = release
        self._parser = resp.Parser()
        self._queue: deque[tuple[bytes, _Waiting]] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._paused = False
        self._finishing = False
        self._shared = False  # the last write carried more than one caller's command
        self._heard_at = loop.time()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER
        self._ended: Failure | None = None

    @property
    def is_closed(self) -> bool:
        return self._finishing or self._transport.is_closing()

    @property
    def load(self) -> int:
        """How many commands are under way."""
        return len(self._waiting) + len(self._queue)

    @property
    def is_receiving_much(self) -> bool:
        return self._parser.unfinished_bytes > BIG_ANSWER_BYTES

    def send(self, packed: bytes, begun: float, deadline: float, count: int | None = None) -> asyncio.Future[Any]:
        """Send a command and return its answer, which may be a Refusal; with `count`, of a batch, the list of them.

        The future raises Failure. It may be cancelled at any time.
        """
        future = self.loop.create_future()
        waiting = _Waiting(future, begun, deadline, count)
        if self._transport.is_closing():
            future.set_exception(Failure("the connection was closed", "connection"))
        elif self._waiting or self._queue or self._shared or self._paused:
            if not self._queue:
                self.loop.call_soon(self._flush)
            self._queue.append((packed, waiting))
        else:
            # Alone on the line: waiting for others to share the write would cost a turn of the loop.
            self._waiting.append(waiting)
            self._transport.write(packed)
            self._shared = False
        if deadline < self._alarm_at:
            self._set_alarm(deadline)
        return future

    def close(self, failure: Failure | None = None) -> None:
        """End the connection; commands without answer fail with what `failure` says."""
        self._ended = self._ended or failure
        self._transport.abort()

    def finish(self) -> None:
        """Take no more commands, and end the connection when those under way are answered."""
        self._finishing = True
        if not self.load:
            self._transport.close()

    # -- what the transport tells ---------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        try:
            answers = self._parser.feed(data)
        except resp.Malformed as error:
            self.close(Failure(f"the server does not speak RESP2: {error}", "connection"))
            return
        waiting = self._waiting
        for answer in answers:
            if not waiting:
                self.close(Failure("the server answered what nobody asked", "connection"))
                return
            self._give(waiting, answer)
        if self._finishing and not self.load:
            self._transport.close()

    @staticmethod
    def _give(waiting: deque[_Waiting], answer: Any) -> None:
        first = waiting[0]
        if first.count is None:
            waiting.popleft()
            if not first.future.done():
                first.future.set_result(answer)
            return
        first.answers.append(answer)
        if len(first.answers) == first.count:
            waiting.popleft()
            if not first.future.done():
                first.future.set_result(first.answers)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        ended = self._ended or Failure(f"the connection was lost{f': {error}' if error else ''}", "connection")
        if self._alarm is not None:
            self._alarm.cancel()
        for waiting in self._waiting:
            _fail(waiting, Failure(ended.text, ended.reason, unknown=True, code=ended.code))
        for _, waiting in self._queue:
            _fail(waiting, Failure(ended.text, ended.reason, code=ended.code))
        self._waiting.clear()
        self._queue.clear()
        self._release(error)
        self.on_lost(self)

    # -- sending --------------------------------------------------------------------------------

    def _flush(self) -> None:
        batch: list[bytes] = []
        size = 0
        queue, waiting = self._queue, self._waiting
        while queue and not self._paused and not self._transport.is_closing():
            packed, command = queue.popleft()
            if command.future.done():
                continue
            waiting.append(command)
            batch.append(packed)
            size += len(packed)
            if size > WRITE_BYTES:
                self._transport.write(b"".join(batch))
                batch.clear()
                size = 0
        self._shared = len(batch) > 1
        if batch:
            self._transport.write(b"".join(batch))

    # -- deadlines ------------------------------------------------------------------------------

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        """Fail what is past its deadline, and set the alarm for what is not.

        One alarm for all, set for the earliest deadline and left alone when its command is answered: nearly all are,
        so it rings once for each deadline's length and not once for each command.
        """
        now = self.loop.time()
        self._alarm, self._alarm_at = None, _NEVER
        silent = self._fail_overdue(now)
        left = [w.deadline for w in self._waiting if w.deadline > now]
        left += [w.deadline for _, w in self._queue if w.deadline > now]
        if silent:
            self.close(Failure("the server has stopped answering", "timeout"))
        elif left:
            self._set_alarm(min(left))

    def _fail_overdue(self, now: float) -> bool:
        """Return whether nothing at all was heard since a command that is overdue: then this connection is dead.

        A server that is slow, or sends much to others, is heard; its connection is kept, and the answer passed over.
        """
        silent = False
        for waiting in self._waiting:
            if waiting.deadline <= now:
                silent = silent or self._heard_at <= waiting.begun
                _fail(waiting, _overdue(waiting, unknown=True))
        for _, waiting in self._queue:
            if waiting.deadline <= now:
                _fail(waiting, _overdue(waiting, unknown=False))
        return silent


def _overdue(waiting: _Waiting, *, unknown: bool) -> Failure:
    return Failure(f"no answer within {waiting.deadline - waiting.begun:g} s", "timeout", unknown=unknown)


def _fail(waiting: _Waiting, failure: Failure) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(failure)


def _ignore(wire: Wire) -> None:
    """Stand in for who wants to know, before anybody does."""
