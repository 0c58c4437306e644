"""connect-redis as a process that takes turns, with its locked packages kept in the cache."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.side_by_side import Turn

SOURCE = Path(__file__).with_name("connect_redis")


class NodeLibrary:
    """A running process of turns.mjs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def turn(self, name: str, count: int, concurrency: int) -> Turn:
        async def turn() -> float:
            return float(await self.ask(f"{name} {count} {concurrency}\n"))

        return turn

    async def ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode())
        answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError("connect-redis ended; what it said is above")
        return answer.decode().strip()


@contextlib.asynccontextmanager
async def connect_redis(url: str, session: dict[str, object]) -> AsyncIterator[NodeLibrary]:
    """Start the process on the Redis at `url`, for the block."""
    program = await _installed() / "turns.mjs"
    process = await asyncio.create_subprocess_exec(
        "node", str(program), url, json.dumps(session), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        library = NodeLibrary(process)
        assert await library.ask("") == "ready"
        yield library
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _installed() -> Path:
    """Return a directory with the program and the locked packages; made once for each lock."""
    content = b"".join(path.read_bytes() for path in sorted(SOURCE.iterdir()) if path.is_file())
    cache = Path(os.environ.get("SESSIONSTORE_CACHE", "~/.cache/sessionstore")).expanduser()
    directory = cache / f"bench-node-{hashlib.sha256(content).hexdigest()[:12]}"
    if not (directory / "complete").exists():
        shutil.copytree(SOURCE, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
        print("  connect-redis: installing the locked npm packages")
        npm = await asyncio.create_subprocess_exec(
            "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", cwd=directory
        )
        if await npm.wait():
            raise RuntimeError(f"npm could not install the packages into {directory}")
        (directory / "complete").touch()
    return directory
