"""A way to a real server that can be cut between a question and its answer, as networks do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

PIECE_BYTES = 4096


class Way:
    """Passes bytes on in both directions until it is told otherwise. It runs in the tests' own loop."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[asyncio.Event] = []
        self._flowing = _set()
        self.held = 0
        """Answers, in pieces as they came, that were kept back since `hold`."""

        self.pause_s = 0.0
        """Answers come in pieces of 4 KiB with so long between them."""

    def hold(self) -> None:
        """Keep answers back on the connections that there are; questions go on reaching the server."""
        self._flowing.clear()
        self._held.append(self._flowing)
        self._flowing = _set()
        self.held = 0

    def cut(self) -> None:
        """End all connections, and with them the answers that were kept back; new ones are as they should be."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()
        for answers in self._held:
            answers.set()
        self._held.clear()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, server_writer}
        answers = self._flowing
        for passing in (self._pass_on(reader, server_writer, None), self._pass_on(server_reader, writer, answers)):
            task = asyncio.create_task(passing)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, answers: asyncio.Event | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if answers is not None and not answers.is_set():
                    self.held += 1
                    await answers.wait()
                await self._write(target, data, 0 if answers is None else self.pause_s)
        target.transport.abort()

    async def _write(self, target: asyncio.StreamWriter, data: bytes, pause_s: float) -> None:
        step = PIECE_BYTES if pause_s else len(data)
        for at in range(0, len(data), step):
            target.write(data[at : at + step])
            await asyncio.sleep(pause_s)


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@contextlib.asynccontextmanager
async def way_to(server_port: int) -> AsyncIterator[Way]:
    """Open a way to the server on `server_port` until the end of the block."""
    way = Way(server_port)
    listening = await asyncio.start_server(way.accept, "127.0.0.1", 0)
    way.port = listening.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        listening.close()
        await way.end()
        await listening.wait_closed()
