"""Mutations of what stands at a name: links, pipes, directories, others' files, names that no one expects.

What copies follows no link: an earlier mutation may have put one to a device there that does not end.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.site import MAX_FILE_BYTES, Site, Touch, touched

Place = Callable[[Site, random.Random], Touch]

_NAMES = (
    b"\xff\xfe.jsonl", b"x\xff.jsonl.reset.1", b"\xc3\x28", b"n" * 249 + b".jsonl", b".jsonl", b"..jsonl",
    b"a:b.jsonl", b"line\nfeed.jsonl", b"tab\t.jsonl", b"__proto__.jsonl", b"constructor.jsonl", b"-rf.jsonl",
    b" .jsonl", b"%2e%2e%2f.jsonl", b"x.jsonl.bak.2026-01-01T00-00-00.000Z", b"x.jsonl.deleted.",
    b"x.jsonl.reset.1x", b"x.jsonl.tmp", b"x.jsonl.lock", b"sessions.json.bak.1",
    b"sessions.json.bak.99999999999999999999", b"sessions.json.bak.x", b"sessions.json.tmp", b"SESSIONS.JSON",
    b"sessions.json~", b"x.checkpoint.0702a876-21b9-4e7b-89d4-41c0cf41117e.jsonl", b"x.trajectory.jsonl",
    b"\xe2\x80\xae.jsonl", b"\xf0\x9f\x98\x80.jsonl", b"x.jsonl.zst",
    b"x.jsonl.deleted.2026-11-20T10-08-02.716Z.3.zst", b"sessions.d", b"sessions.d.migrating", b"archived",
    b"state.json", b"sessions",
)  # fmt: skip
_NO_FILES = (
    "/dev/zero",
    "/dev/stdin",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/proc/self/mem",
    "/nowhere/at/all",
    "/",
)


def delete(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    (site.root / name).unlink()
    return touched(name)


def swap(site: Site, chance: random.Random) -> Touch:
    one, other = chance.sample(site.files, 2)
    (site.root / one).rename(site.root / "swapped")
    (site.root / other).rename(site.root / one)
    (site.root / "swapped").rename(site.root / other)
    return touched(one, other)


def link_outside(site: Site, chance: random.Random) -> Touch:
    target = chance.choice(
        (*_NO_FILES, str(site.outside / "canary.jsonl"), "../../../../outside/sessions/sessions.json")
    )
    return _link(site, chance.choice(site.files), target)


def link_inside(site: Site, chance: random.Random) -> Touch:
    target = site.root / chance.choice(site.files)
    return _link(site, chance.choice(site.files), str(target))


def link_loop(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    return _link(site, name, Path(name).name)


def link_folder(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.folders)
    target = chance.choice(
        (site.outside, site.outside / "sessions", site.root, site.root / chance.choice(site.folders))
    )
    return _link(site, name, str(target))


def hard_link(site: Site, chance: random.Random) -> Touch:
    one, other = chance.sample(site.files, 2)
    (site.root / one).unlink()
    (site.root / one).hardlink_to(site.root / other)
    return touched(one)


def pipe(site: Site, chance: random.Random) -> Touch:
    name = _clear(site, chance)
    os.mkfifo(site.root / name)
    return touched(name)


def socket_file(site: Site, chance: random.Random) -> Touch:
    name = _clear(site, chance)
    # A socket's path is short; so it is made where it is, and moved.
    made = site.root.parent / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(made))
    made.rename(site.root / name)
    return touched(name)


def folder_in_place(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    (site.root / name).unlink()
    (site.root / name).mkdir()
    if chance.random() < 0.5:
        (site.root / name / "sessions.json").write_bytes(b"{}")
    return touched(name)


def file_in_place(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.folders)
    _remove(site.root / name)
    (site.root / name).write_bytes(chance.choice((b"", b"{}", b"text")))
    return touched(name)


def remove_folder(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.folders)
    _remove(site.root / name)
    return touched(name)


def sparse(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    os.truncate(site.root / name, chance.choice((MAX_FILE_BYTES + 1, 2**40, 3 * 1024**3)))
    return touched(name)


def rename(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    new = _beside(site, name, chance.choice(_NAMES))
    (site.root / name).rename(new)
    return touched(name, _relative(site, new))


def add(site: Site, chance: random.Random) -> Touch:
    """Put a copy of some file beside it, under an odd name. What was there stays."""
    name = chance.choice(site.files)
    new = _beside(site, name, chance.choice(_NAMES))
    if new.exists():
        return Touch()
    shutil.copy(site.root / name, new, follow_symlinks=False)
    return touched(_relative(site, new))


def add_at_top(site: Site, chance: random.Random) -> Touch:
    """Put a copy of some file or directory where another layout has one; which of them counts the reader says."""
    new = os.fsencode(site.root) + b"/" + chance.choice(_NAMES)
    if os.path.lexists(new):
        return Touch()
    name = chance.choice(site.files + site.folders)
    source = os.fsencode(site.root / name)
    if (site.root / name).is_dir():
        shutil.copytree(source, new, symlinks=True)
    else:
        shutil.copy(source, new, follow_symlinks=False)
    return touched("")


def case_twin(site: Site, chance: random.Random) -> Touch:
    name = chance.choice(site.files)
    twin = Path(name).with_name(Path(name).name.swapcase())
    if (site.root / twin).exists():
        return Touch()
    shutil.copy(site.root / name, site.root / twin, follow_symlinks=False)
    return touched(str(twin))


def odd_agent(site: Site, chance: random.Random) -> Touch:
    """Put a copy of an agent beside it, under an odd name."""
    agents = sorted(name for name in site.folders if name.startswith("agents/") and name.count("/") == 1)
    if not agents:
        return Touch()
    new = (
        os.fsencode(site.root / "agents")
        + b"/"
        + chance.choice((b"\xff", b"a:b", b"MAIN", b"x" * 255, b" ", b"a\nb", b"..."))
    )
    shutil.copytree(os.fsencode(site.root / chance.choice(agents)), new, symlinks=True)
    return touched(_relative(site, Path(os.fsdecode(new))))


def crowd(site: Site, chance: random.Random) -> Touch:
    """Many files that are none of OpenClaw's."""
    folder = chance.choice(site.folders)
    for number in range(300):
        (site.root / folder / f"junk-{number}").write_bytes(b"")
    return touched(f"{folder}/junk-")


def times(site: Site, chance: random.Random) -> Touch:
    for name in chance.sample(site.files, min(3, len(site.files))):
        os.utime(site.root / name, ns=(0, chance.choice((0, -(10**18), 4 * 10**18, 1))))
    return Touch()


def modes(site: Site, chance: random.Random) -> Touch:
    """Take the right to read away. It stops everybody but root."""
    name = chance.choice(site.files)
    (site.root / name).chmod(chance.choice((0o000, 0o200, 0o7777)))
    return Touch() if os.geteuid() == 0 else touched("")


PLACES: tuple[Place, ...] = (
    delete, delete, swap, swap, link_outside, link_outside, link_outside, link_inside, link_loop, link_folder,
    link_folder, hard_link, pipe, pipe, socket_file, folder_in_place, file_in_place, remove_folder, sparse, rename,
    rename, add, add, add, add_at_top, add_at_top, case_twin, odd_agent, crowd, times, modes,
)  # fmt: skip


def _link(site: Site, name: str, target: str) -> Touch:
    _remove(site.root / name)
    (site.root / name).symlink_to(target)
    return touched(name)


def _clear(site: Site, chance: random.Random) -> str:
    """Take a file, or now and then a directory, away."""
    name = chance.choice(site.files if chance.random() < 0.8 else site.folders)
    _remove(site.root / name)
    return name


def _remove(path: Path) -> None:
    """Remove what stands there now: an earlier mutation may have put a pipe in a directory's place."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _beside(site: Site, name: str, new: bytes) -> Path:
    return (site.root / name).with_name(os.fsdecode(new))


def _relative(site: Site, path: Path) -> str:
    return str(path.relative_to(site.root))
