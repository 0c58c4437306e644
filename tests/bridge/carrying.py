"""A bridge of one transcript in a process of its own.

`python -m tests.bridge.carrying URL DIRECTORY once` takes the lease, carries once, and prints what came of it and the
most memory that it had, in KiB. `… owning` takes the lease again and again, and carries while a turn runs;
`… following` carries without a lease.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from sessionstore.bridge.transcripts import Carried, Transcripts
from sessionstore.sessions import Store, open_store
from sessionstore.sessions.plainfiles import Directory
from tests.bridge.sides import ID, KEY
from tests.migrate.measured import peak_kib

PAUSE_S = 0.002


async def main(url: str, path: str, how: str) -> None:
    with Directory.opened(Path(path), create=True) as directory:
        assert directory is not None
        async with open_store(url) as store:
            transcripts = Transcripts.begun(store, directory, lambda transcript_id: how != "owning")
            if how == "once":
                print((await _once(store, transcripts)).value, peak_kib())
                return
            while True:
                # The same holder: who was killed has it still.
                token = (await store.acquire_lease(KEY, path, 15)).token if how == "owning" else None
                await transcripts.carry(KEY, ID, fence=token)
                await asyncio.sleep(PAUSE_S)


async def _once(store: Store, transcripts: Transcripts) -> Carried:
    async with store.lease(KEY, wait_s=60) as lease:
        return await transcripts.carry(KEY, ID, fence=lease.token)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
