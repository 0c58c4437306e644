"""A bridge of one transcript in a process of its own: `python -m tests.bridge.carrying URL DIRECTORY`.

Takes the lease, carries once, and prints what came of it and the most memory that it had, in KiB.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sessionstore.bridge.transcripts import Transcripts
from sessionstore.sessions import open_store
from sessionstore.sessions.plainfiles import Directory
from tests.bridge.sides import ID, KEY
from tests.migrate.measured import peak_kib


async def main(url: str, path: str) -> None:
    with Directory.opened(Path(path), create=True) as directory:
        assert directory is not None
        async with open_store(url) as store, store.lease(KEY, wait_s=30) as lease:
            transcripts = Transcripts.begun(store, directory, lambda transcript_id: True)
            carried = await transcripts.carry(KEY, ID, fence=lease.token)
    print(carried.value, peak_kib())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
