"""A process of its own that appends to one session, or races to update it: `python -m tests.contract.writer`."""

from __future__ import annotations

import asyncio
import sys

from sessionstore.sessions import Conflict, open_store


async def append(url: str, name: str, count: int) -> None:
    async with open_store(url) as store:
        for number in range(count):
            await store.append("k", [f"{name}:{number}".encode()])


async def update(url: str, name: str, count: int) -> None:
    """Set a field of its own, `count` times, by compare-and-set."""
    async with open_store(url) as store:
        for number in range(count):
            while True:
                current = await store.get("k")
                assert current is not None
                try:
                    fields = {name: number}
                    await store.set("k", current.entry.with_fields(fields), expected=current.revision)
                    break
                except Conflict:
                    continue


if __name__ == "__main__":
    work, url, name, count = sys.argv[1:]
    asyncio.run({"append": append, "update": update}[work](url, name, int(count)))
