"""A connection that is looked at: what bytes a client sends, so that another client can send the same ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

_NOT_WORK = (b"AUTH", b"HELLO", b"SELECT", b"PING", b"TIME", b"CLIENT")


class Recorder:
    """Passes bytes on to a server, and keeps those of the client."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._sent = bytearray()
        self._connections: list[asyncio.Task[None]] = []
        self.port = 0

    def take(self) -> list[list[bytes]]:
        """Return the commands that were sent since the last look, without those that only keep a connection."""
        found = [command for command in _commands(bytes(self._sent)) if command[0].upper() not in _NOT_WORK]
        self._sent.clear()
        return found

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.append(asyncio.create_task(self._serve(reader, writer)))

    async def close(self) -> None:
        """Wait for the connections' ends, which their clients make."""
        await asyncio.gather(*self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        with contextlib.closing(writer), contextlib.closing(to_writer):
            await asyncio.gather(self._pass(reader, to_writer, self._sent), self._pass(to_reader, writer, bytearray()))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
        writer.close()


@contextlib.asynccontextmanager
async def recording(server_port: int) -> AsyncIterator[Recorder]:
    """A recorder in front of the server on this machine's `server_port`, until the end of the block."""
    recorder = Recorder(server_port)
    server = await asyncio.start_server(recorder.accept, "127.0.0.1", 0)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()
        await recorder.close()


def _commands(data: bytes) -> Iterator[list[bytes]]:
    """Split what a RESP client sends: `*2 $3 GET $1 k`."""
    at = 0

    def number() -> int:
        nonlocal at
        end = data.index(b"\r\n", at)
        value, at = int(data[at + 1 : end]), end + 2
        return value

    def word() -> bytes:
        nonlocal at
        size = number()
        at += size + 2
        return data[at - size - 2 : at - 2]

    while at < len(data):
        yield [word() for _ in range(number())]
