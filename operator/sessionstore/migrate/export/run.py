"""Exports a store: read, settle, prove, put in place. Called by the command line alone."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sessionstore.migrate import directory
from sessionstore.migrate.errors import MigrationError
from sessionstore.migrate.export import beside, checks, jsonl, placing, where
from sessionstore.migrate.export.catalogue import ARCHIVE, SESSION, Catalogue
from sessionstore.migrate.export.files import FilesTarget, Layout
from sessionstore.migrate.export.notes import Notes
from sessionstore.migrate.export.placing import Place
from sessionstore.migrate.export.proof import Proof, Prover
from sessionstore.migrate.export.reading import Reading
from sessionstore.migrate.export.report import Exported
from sessionstore.migrate.export.staging import Move, Owner, Staging, finish, staged, sync
from sessionstore.migrate.export.target import Target
from sessionstore.migrate.export.where import Where
from sessionstore.migrate.export.writing import LEFT_OUT, Writer
from sessionstore.migrate.items import Source
from sessionstore.migrate.patience import Patience
from sessionstore.openclaw import openclaw_json
from sessionstore.openclaw.scratch import Scratch
from sessionstore.sessions.store import Store

Watch = Callable[[str, int], None]
"""Is told the phase, and how many sessions are done in it."""


class Format(StrEnum):
    """What an export writes."""

    OPENCLAW_FILES = "openclaw-files"
    SESSIONS_D = "sessions-d"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for.

    Attributes:
        agents: only these; all where there is none.
        state_dir: where the gateway will see the directory; None: where it is written.
        in_place: replace the sessions that are there; they stay beside, under another name.
        owner: whose files are to be; None: the directory's owner.
        run: names the staging directory, and no other run's.
        stamp: the time as OpenClaw has it in file names, in UTC: `2026-11-20T10-08-10`.
        scratch: where to keep what does not fit into memory; None: beside what is written.
    """

    format: Format
    patience: Patience
    run: str
    stamp: str
    agents: tuple[str, ...] = ()
    state_dir: PurePosixPath | None = None
    in_place: bool = False
    owner: Owner | None = None
    scratch: Path | None = None


async def to_directory(store: Store, root: Path, options: Options, watch: Watch) -> Exported:
    """Write files below `root`. Raises: MigrationError, Unavailable, Unreadable, SourceError."""
    with translated(root):
        checks.agents_of(root)
        owner = options.owner or checks.default_owner(root)
        # What a killed run was putting there is no reason to refuse the directory, and may have brought agents.
        is_over = finish(root, owner) or options.in_place
        present = checks.agents_of(root)
        place = where.decide(root, str(_state_dir(root, options)), options.format, options.agents)
        if not is_over:
            place.check_free(root, present)
        with staged(root, options.run, owner) as staging:
            replaced = [agent for agent in present if not options.agents or agent in options.agents]
            return await _Files(staging, place, replaced if is_over else [], options).export(store, watch)


async def to_stream(store: Store, stream: BinaryIO, options: Options, watch: Watch) -> Exported:
    """Write a dump to somebody else's stream; it cannot be proven. Raises: MigrationError, Unavailable, Unreadable."""
    with Scratch(options.scratch) as scratch:
        return await _Run(store, options, scratch, watch).export(jsonl.DumpTarget(stream, None), "-")


async def to_dump(store: Store, path: Path, options: Options, watch: Watch) -> Exported:
    """Write a dump to a new file. Raises: MigrationError, Unavailable, Unreadable, SourceError."""
    checks.check_absent(path)
    with translated(path), staged(path.parent, options.run, options.owner) as staging:
        with Scratch(options.scratch or staging.home) as scratch:
            written = staging.files / "dump"
            with staging.file(written) as stream:
                target = jsonl.DumpTarget(stream, jsonl.reader(written, scratch))
                found = await _Run(store, options, scratch, watch).export(target, str(path))
        if not found.differing:
            sync(staging.home)
            # Another may have been written since the first look.
            checks.check_absent(path)
            written.rename(path)
            sync(path.parent)
        return found


@dataclass(frozen=True, slots=True)
class _Files:
    """An export to a directory; `replaced` are the agents whose sessions are there now."""

    staging: Staging
    place: Where
    replaced: Sequence[str]
    options: Options

    async def export(self, store: Store, watch: Watch) -> Exported:
        """Write, prove, and put in place what is proven."""
        with Scratch(self.options.scratch or self.staging.home) as scratch:
            run = _Run(store, self.options, scratch, watch)
            found = await run.export(self._target(run.notes, scratch), str(self.staging.root))
        if found.differing:
            return found
        if self.options.in_place and found.moving:
            raise MigrationError(
                "StoreMoving",
                f"{found.moving} sessions changed in the store while they were exported; nothing was replaced. Stop "
                "what writes to the store, and run again",
            )
        carried = sum(map(self._carry, self.replaced))
        aside = self.staging.put_in_place(self._moves(sorted({*self.replaced, *found.agents})))
        return replace(found, put_aside=tuple(aside), carried=carried)

    def _target(self, notes: Notes, scratch: Scratch) -> FilesTarget:
        state_dir = _state_dir(self.staging.root, self.options)
        layout = Layout(
            Place(state_dir, self.place.indexes.is_elsewhere), self.place.indexes, self.options.stamp, self.replaced
        )
        return FilesTarget(self.staging, scratch, layout, notes, lambda path: self._reopened(path, scratch))

    def _reopened(self, path: Path, scratch: Scratch) -> contextlib.AbstractContextManager[Source]:
        if self.place.path is not None:
            # It tells where the index is, to whoever reads this as well.
            shutil.copyfile(self.staging.root / openclaw_json.FILE, path / openclaw_json.FILE)
        state_dir = str(_state_dir(self.staging.root, self.options))
        return directory.open_directory(path, scratch, sys.maxsize, state_dir)

    def _carry(self, agent: str) -> int:
        old = self.staging.root / placing.folder_of(agent)
        return beside.carry(old, self.staging.folder(placing.folder_of(agent), like=old))

    def _moves(self, agents: Sequence[str]) -> list[Move]:
        name = f"sessions.before-{self.options.stamp}Z"
        old = self.place.old_moves(self.staging.root, name) if self.options.in_place and not self.options.agents else ()
        folders = [placing.folder_of(agent) for agent in agents]
        moves = [Move(folder, folder, f"{folder}.before-{self.options.stamp}Z") for folder in folders]
        return [*old, *moves, *self.place.index_moves(agents, name)]


def _state_dir(root: Path, options: Options) -> PurePosixPath:
    return options.state_dir or PurePosixPath(root.absolute())


class _Run:
    """One export: what is remembered of it lies in `scratch`."""

    def __init__(self, store: Store, options: Options, scratch: Scratch, watch: Watch) -> None:
        self.notes = Notes()
        self._reading = Reading(store, options.patience, options.agents)
        self._options = options
        self._watch = watch
        self._exported, self._proven = Catalogue(scratch), Catalogue(scratch)

    async def export(self, target: Target, path: str) -> Exported:
        """Write everything, and prove it."""
        writer = Writer(self._reading, target, self._exported, self._ticker("Export"))
        await writer.write()
        target.finish(self._exported)
        written = target.written()
        proof = Proof()
        if written is not None:
            prover = Prover(self._reading, target, self._exported, self._proven, self._ticker("Verify"))
            with written as source:
                proof = await prover.prove(source)
        moving = max(proof.moving, await writer.count_moving())
        return self._report(path, proof, moving, is_proven=written is not None)

    def _report(self, path: str, proof: Proof, moving: int, *, is_proven: bool) -> Exported:
        return Exported(
            format=self._options.format.value,
            path=path,
            agents=tuple(sorted({*self._exported.agents(SESSION), *self._exported.agents(ARCHIVE)})),
            totals=self._exported.totals(),
            moving=moving,
            left_out=self._exported.count(LEFT_OUT),
            digest=self._proven.digest() if is_proven else None,
            store_digest=self._exported.digest(),
            mismatches=tuple(proof.mismatches),
            differing=proof.differing,
            notes=tuple(self.notes.shown),
            note_counts=tuple(sorted(self.notes.counts.items())),
        )

    def _ticker(self, phase: str) -> Callable[[], None]:
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self._watch(phase, done)

        return tick


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Say of what the file system refused what a person can do."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        reason, hint = _REASONS.get(error.errno or 0, ("TargetUnwritable", "check the volume"))
        raise MigrationError(reason, f"{where}: {error.strerror}; {hint}. Nothing was replaced") from error


_FULL = "VolumeFull", "make room: an export needs as much as the sessions take, beside what is there"
_DENIED = "PermissionDenied", "run as the user that owns the directory"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: ("ReadOnlyVolume", "mount the volume so that it can be written"),
}
