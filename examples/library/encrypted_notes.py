"""Keeps notes about people encrypted, and changes the key while everybody goes on writing.

    python encrypted_notes.py KEYS note ann "likes tea"
    python encrypted_notes.py KEYS show ann

KEYS is a directory of key files; the one with the highest number encrypts. A new key takes four steps. After `prepare`
and `activate`, let all programs open the store anew before you go on.

    python encrypted_notes.py KEYS prepare     a new key that only decrypts; the very first one encrypts at once
    python encrypted_notes.py KEYS activate    from now on it encrypts
    python encrypted_notes.py KEYS rekey       encrypts anew what is under other keys; may be repeated
    python encrypted_notes.py KEYS retire      puts the others aside, once nothing needs them
"""

import asyncio
import contextlib
import dataclasses
import json
import secrets
import sys
import uuid
from pathlib import Path

from sessionstore.sessions import Conflict, NoTranscript, SessionError, SessionStorage, Store, open_store
from sessionstore.sessions.encryption import Keyring, rekey


def ring(keys: Path) -> list[Path]:
    return sorted(keys.glob("*.key"))


def prepare(keys: Path) -> None:
    new = keys / "new"
    new.touch(0o600, exist_ok=False)
    new.write_text(secrets.token_hex(32))
    new.rename(keys / ("0000.key" if ring(keys) else "0001.key"))


def activate(keys: Path) -> None:
    (keys / "0000.key").rename(keys / f"{int(ring(keys)[-1].stem) + 1:04}.key")


async def note(store: Store, keys: Path, who: str, text: str) -> None:
    key = f"agent:main:notes:direct:{who}"
    while True:
        past = await store.read(key, -1)
        with contextlib.suppress(Conflict, NoTranscript):  # somebody was faster; ours comes behind theirs
            if past is None:
                await store.set(key, {"sessionId": uuid.uuid4().hex, "about": who}, expected=0)
                continue
            await store.append(key, [json.dumps(text).encode()], position=past.head.lines)
            return


async def show(store: Store, keys: Path, who: str) -> None:
    past = await store.read(f"agent:main:notes:direct:{who}")
    for line in past.lines if past else ():
        print(json.loads(line))


async def renew(store: Store, keys: Path) -> None:
    done = await rekey(store)
    print(f"{done.changed} encrypted anew", *done.problems.values(), sep="; ")


async def retire(store: Store, keys: Path) -> None:
    found, *others, last = await rekey(store, dry_run=True), *ring(keys)
    if found.problems or set(found.keys) - {Keyring.from_files([last]).last}:
        sys.exit(f"still needed: {dict(found.keys)} {found.problems or ''}; run rekey, and this again")
    for other in others:
        # Not deleted: a backup from before needs it.
        print("put aside:", other.rename(other.with_suffix(".retired")))


async def main(keys: Path, command: str, *rest: str) -> None:
    if command in ("prepare", "activate"):
        return {"prepare": prepare, "activate": activate}[command](keys)
    files = tuple(map(str, ring(keys)))
    config = SessionStorage.from_environment()
    # `require`: an empty directory is an error then, and not a reason to write in plain.
    async with open_store(dataclasses.replace(config, encryption_key_files=files, encryption_require=True)) as store:
        await {"note": note, "show": show, "rekey": renew, "retire": retire}[command](store, keys, *rest)


if __name__ == "__main__":
    try:
        asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
    except SessionError as error:
        # A key that is missing is an error that names it, and never an empty page.
        sys.exit(f"{type(error).__name__}: {error}")
