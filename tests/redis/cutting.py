"""A way to a real server that can be cut between a question and its answer, as networks do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Way:
    """Passes bytes on in both directions until it is told otherwise. It runs in the tests' own loop."""

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self._server_port = server_port
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self.held = 0
        """Answers, in pieces as they came, that were kept back since `hold`."""

    def hold(self) -> None:
        """Keep answers back from now on; questions go on reaching the server."""
        self._answers.clear()
        self.held = 0

    def cut(self) -> None:
        """End all connections, and with them the answers that were kept back; new ones are as they should be."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()
        self._answers.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, server_writer}
        for source, target, is_answer in ((reader, server_writer, False), (server_reader, writer, True)):
            task = asyncio.create_task(self._pass_on(source, target, is_answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if is_answer and not self._answers.is_set():
                    self.held += 1
                    await self._answers.wait()
                target.write(data)
        target.transport.abort()


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
