"""A store, gateways that write whole sheets, and desks between them, one step at a time: the world of the machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sessionstore.bridge import merge
from sessionstore.bridge.changes import NEVER
from sessionstore.bridge.desk import Desk, Held, Placement, Push
from sessionstore.bridge.keeping import State

Entries = Mapping[str, bytes]
SHARED = ("shared-0", "shared-1")
CONTESTED = "contested"
ROUNDS = 60


def entry(**fields: Any) -> bytes:
    """Write an entry as OpenClaw does."""
    return json.dumps(fields, indent=2).replace("\n", "\n  ").encode()


def fields_of(raw: bytes) -> dict[str, Any]:
    """Read an entry."""
    return dict(json.loads(raw))


def rewritten(raw: bytes) -> bytes:
    """Write an entry as JavaScript does that has read it: it knows no 1.0."""
    return raw.replace(b'"rate": 1.0,', b'"rate": 1,')


@dataclass(frozen=True)
class File:
    """A sheet in place."""

    marker: str | None
    entries: Entries


@dataclass
class Store:
    """What bridges share: compare and set, revisions that grow, tombstones."""

    rows: dict[str, Held] = field(default_factory=dict)
    past: list[tuple[str, Held]] = field(default_factory=list)

    def held(self, key: str) -> Held:
        return self.rows.get(key, NEVER)

    def do(self, push: Push) -> bool:
        """Carry a push out; False where the store is not as expected."""
        held = self.held(push.key)
        if (held.revision if held.raw is not None else 0) != push.expected:
            return False
        if held.raw is None and push.want is None:
            return False
        self.past.append((push.key, held))
        self.rows[push.key] = Held(held.revision + 1, push.want)
        return True


@dataclass
class Told:
    """What gateways did to one key, as somebody would know who saw it all."""

    count: int = 0
    stamps: dict[str, int] = field(default_factory=dict)
    covered: set[tuple[str, int]] = field(default_factory=set)
    """What somebody saw and deleted."""
    running: bool = False
    deleted: bool = False
    """By anybody."""
    buried: bool = False
    """By somebody who had seen all of it, and untouched since."""
    either: bool = False
    """Deleted from a sheet without a marker, which is a deletion only where the entry was not read before."""


@dataclass
class Pod:
    """A gateway, its sheet, and the bridge beside them."""

    index: int
    desk: Desk | None
    file: File | None = None
    is_read: bool = True
    """Whether the desk knows the sheet that is in place."""
    left_over: list[File] = field(default_factory=list)
    kept: State = field(default_factory=dict)
    loaded: File | None = None
    """What the gateway has read, and will write when it has changed it."""
    outbox: list[Push] = field(default_factory=list)
    starts: int = 0

    @property
    def name(self) -> str:
        return f"by_{self.index}"

    def keep(self) -> None:
        assert self.desk is not None
        self.kept = copy.deepcopy({name: dict(entries) for name, entries in self.desk.state().items()})


class World:
    """All of it. A step does one thing that is atomic in life; what cannot be done now does nothing."""

    def __init__(self, pods: int) -> None:
        self.store = Store({key: Held(1, _seed(key)) for key in SHARED})
        self.told = {key: Told() for key in SHARED}
        self.now = 10
        self.owners: dict[str, int] = {}
        self.sessions: dict[str, set[tuple[str, int]]] = {}
        """Who wrote what in each session of the contested key."""
        self.doubts = False
        """Whether an answer was lost."""
        self.forgot = False
        self.crashed = False
        self.pods = [Pod(index, None) for index in range(pods)]
        for pod in self.pods:
            self.start(pod)

    def tick(self) -> int:
        self.now += 1
        return self.now

    # -- gateways -------------------------------------------------------------------------------

    def load(self, pod: Pod) -> None:
        pod.loaded = pod.file or File(None, {})

    def write(self, pod: Pod, operation: str, key: str) -> None:
        """Change what the gateway had loaded, and put it in place, whatever is there by now."""
        if pod.loaded is None:
            self.load(pod)
        assert pod.loaded is not None
        entries = {name: rewritten(raw) for name, raw in pod.loaded.entries.items()}
        self._change(pod, operation, key, entries)
        pod.file, pod.is_read, pod.loaded = File(pod.loaded.marker, entries), False, None

    def _change(self, pod: Pod, operation: str, key: str, entries: dict[str, bytes]) -> None:
        if operation == "create" and key not in SHARED and key not in entries:
            self._create(pod, key, entries)
        elif key not in entries:
            return
        elif operation == "update":
            # Who does not run it may still write what runs write.
            self._update(pod, key, entries, totalTokens=self.now)
        elif operation == "delete" and key not in SHARED:
            self._delete(pod, key, entries)
        elif operation == "reset" and key == CONTESTED:
            self._create(pod, key, entries)
        elif operation in ("run", "end") and self.owners.get(key) == pod.index:
            self._run(pod, operation, key, entries)

    def _create(self, pod: Pod, key: str, entries: dict[str, bytes]) -> None:
        now = self.tick()
        if key == CONTESTED:
            self.sessions[f"{pod.index}-{now}"] = {(pod.name, now)}
        else:
            self.told[key] = Told(count=1, stamps={pod.name: now})
        entries[key] = entry(
            sessionId=f"{pod.index}-{now}", sessionStartedAt=now, updatedAt=now, compactionCount=1, **{pod.name: now}
        )

    def _update(self, pod: Pod, key: str, entries: dict[str, bytes], **more: Any) -> None:
        now, had = self.tick(), fields_of(entries[key])
        fields = {**had, "updatedAt": now, "compactionCount": had.get("compactionCount", 0) + 1, pod.name: now, **more}
        entries[key] = entry(**{name: value for name, value in fields.items() if value is not None})
        if key == CONTESTED:
            self.sessions[had["sessionId"]].add((pod.name, now))
        elif key in self.told:
            told = self.told[key]
            told.count, told.buried = told.count + 1, False
            told.stamps[pod.name] = now

    def _delete(self, pod: Pod, key: str, entries: dict[str, bytes]) -> None:
        had = fields_of(entries.pop(key))
        if key in self.told:
            told = self.told[key]
            told.deleted = True
            is_based = pod.loaded is not None and pod.loaded.marker is not None
            is_seen = all(
                had.get(name) == stamp or (name, stamp) in told.covered for name, stamp in told.stamps.items()
            )
            told.buried = told.buried or (is_based and is_seen)
            told.either = told.either or not is_based
            told.covered |= {(name, had[name]) for name in told.stamps if name in had}

    def _run(self, pod: Pod, operation: str, key: str, entries: dict[str, bytes]) -> None:
        self.told[key].running = operation == "run"
        if operation == "run":
            self._update(pod, key, entries, status="running", startedAt=self.now, endedAt=None)
        else:
            self._update(pod, key, entries, status="done", endedAt=self.now)

    def own(self, pod: Pod, key: str, owned: bool) -> None:
        """Take or give back what lets a gateway run a session; it gives it back when all is in the store."""
        if owned and key not in self.owners:
            self.owners[key] = pod.index
        elif not owned and self.owners.get(key) == pod.index and not self._is_running(pod, key):
            del self.owners[key]
        if pod.desk is not None:
            pod.desk.owns(key, self.owners.get(key) == pod.index)

    def _is_running(self, pod: Pod, key: str) -> bool:
        places = [self.store.held(key).raw, pod.file.entries.get(key) if pod.file else None]
        return pod.loaded is not None or any(raw and b'"running"' in raw for raw in places)

    # -- bridges --------------------------------------------------------------------------------

    def start(self, pod: Pod) -> None:
        if pod.desk is not None:
            return
        pod.starts += 1
        pod.desk, pod.is_read = Desk(f"{pod.index}.{pod.starts}", pod.kept), pod.file is None
        for key, owner in self.owners.items():
            pod.desk.owns(key, owner == pod.index)
        for key, held in self.store.rows.items():
            if held.raw is not None:
                pod.desk.told(key, held)
        self.read(pod)

    def crash(self, pod: Pod) -> None:
        self.crashed, self.doubts = True, self.doubts or bool(pod.outbox)
        pod.desk, pod.outbox = None, []

    def read(self, pod: Pod) -> None:
        if pod.desk is None:
            return
        for file in pod.left_over:
            pod.desk.read(file.marker, file.entries)
        if pod.file is None and not pod.left_over:
            pod.desk.gone()
        elif pod.file is not None and (not pod.is_read or pod.left_over):
            pod.desk.read(pod.file.marker, pod.file.entries)
        if pod.left_over:
            pod.keep()
        pod.left_over, pod.is_read = [], True

    def look_up(self, pod: Pod) -> None:
        for key in pod.desk.unknown() if pod.desk is not None else ():
            assert pod.desk is not None
            pod.desk.told(key, self.store.held(key))

    def tell(self, pod: Pod, key: str) -> None:
        if pod.desk is not None and key in self.store.rows:
            pod.desk.told(key, self.store.held(key))

    def tell_old(self, pod: Pod, place: int) -> None:
        """Tell something that was so once."""
        if pod.desk is not None and self.store.past and not self.forgot:
            key, held = self.store.past[place % len(self.store.past)]
            if held.revision:
                pod.desk.told(key, held)

    def push(self, pod: Pod) -> None:
        if pod.desk is not None:
            pod.outbox = pod.desk.pushes()
            assert len({push.key for push in pod.outbox}) == len(pod.outbox)
            pod.keep()

    def send(self, pod: Pod, *, is_answered: bool = True) -> None:
        if pod.desk is None or not pod.outbox:
            return
        push = pod.outbox.pop(0)
        done = self.store.do(push)
        if not is_answered:
            self.doubts = True
        elif done:
            pod.desk.pushed(push, self.store.held(push.key))
        else:
            pod.desk.refused(push, self.store.held(push.key))

    def place(self, pod: Pod, *, is_told: bool = True) -> None:
        """Put a sheet in place; the bridge may die right after it."""
        placement = self._placement(pod)
        if placement is None or pod.desk is None:
            return
        if not pod.is_read:
            pod.desk.withdrawn(placement)
            return
        self._check_own(pod, placement.entries)
        pod.file = File(placement.marker, placement.entries)
        if is_told:
            pod.desk.placed(placement)
        else:
            self.crash(pod)

    def _check_own(self, pod: Pod, entries: Entries) -> None:
        """A gateway never misses what it wrote itself."""
        for key, raw in pod.file.entries.items() if pod.file else ():
            if key in self.told and not self.told[key].deleted and not self.forgot:
                assert key in entries, "a gateway's own session is taken away"
                had, has = fields_of(raw), fields_of(entries[key])
                assert had.get(pod.name, 0) <= has.get(pod.name, 0), "a gateway's own change is taken away"

    def collide(self, pod: Pod, operation: str, key: str, *, peeks: bool, dies: bool) -> None:
        """Put a sheet in place where the gateway comes between: its own comes back, and goes in place again.

        Args:
            peeks: the gateway loads the sheet that is there for a moment.
            dies: the bridge dies before it puts the gateway's back.
        """
        placement = self._placement(pod) if pod.is_read else None
        if placement is None or pod.desk is None:
            return
        self.write(pod, operation, key)
        written, ours = pod.file, File(placement.marker, placement.entries)
        assert written is not None
        pod.loaded = ours if peeks else None
        if dies:
            pod.left_over.append(written)
            pod.file = ours
            self.crash(pod)
        else:
            self.read(pod)
            pod.keep()

    def _placement(self, pod: Pod) -> Placement | None:
        placement = pod.desk.placement() if pod.desk is not None else None
        if placement is not None:
            pod.keep()
        return placement

    def remove(self, pod: Pod) -> None:
        """Somebody removes the sheet, which the bridge has read, and had time to keep."""
        if pod.desk is not None and pod.is_read and pod.loaded is None:
            pod.keep()
            pod.file = None
            pod.desk.gone()

    def forget(self, count: int) -> None:
        """Let the store lose the last writes; what had been asked of it then is not answered.

        All bridges learn of it before the next write: of what is lost and written over, nobody can tell.
        """
        for pod in self.pods:
            self.start(pod)
            self.look_up(pod)
        lost = self.store.past[-count:]
        self.store.past = self.store.past[:-count]
        self.forgot = self.forgot or bool(lost)
        had = dict(self.store.rows)
        self.store.rows |= dict(reversed(lost))
        self.store.rows = {key: held for key, held in self.store.rows.items() if held.revision}
        gone_back = {key: self.store.held(key) for key in had if self.store.held(key) != had[key]}
        for pod in self.pods:
            pod.outbox = []
            self._tell_lost(pod, gone_back)
            pod.keep()

    def _tell_lost(self, pod: Pod, gone_back: Mapping[str, Held]) -> None:
        for key, held in gone_back.items() if pod.desk is not None else ():
            assert pod.desk is not None
            known = pod.desk.revision(key)
            (pod.desk.lost if known > held.revision else pod.desk.told)(key, held)

    # -- the end --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything be done that is left to do. What a gateway has loaded, and not changed, is dropped."""
        for pod in self.pods:
            pod.loaded = None
            self.start(pod)
        for _ in range(ROUNDS):
            if sum(self._step(pod) for pod in self.pods) == 0:
                return
        raise AssertionError(f"bridges go on and on: {[pod.outbox for pod in self.pods]}")

    def work(self, pod: Pod, operation: str, key: str) -> None:
        """Let a gateway do something, and its bridge all that follows from it."""
        self.write(pod, operation, key)
        self.bring_up_to_date(pod)

    def bring_up_to_date(self, pod: Pod) -> None:
        """Do all that a bridge does, once."""
        if pod.desk is not None:
            self._step(pod)

    def _step(self, pod: Pod) -> bool:
        assert pod.desk is not None
        self.read(pod)
        self.look_up(pod)
        for key in self.store.rows:
            self.tell(pod, key)
        self.push(pod)
        work = bool(pod.outbox)
        while pod.outbox:
            self.send(pod)
        before = pod.file
        self.place(pod)
        return work or pod.file is not before

    def check(self) -> None:
        """Everybody has the same; nothing is lost, nothing has come back, and who counted counted right."""
        live = {key: held.raw for key, held in self.store.rows.items() if held.raw is not None}
        for pod in self.pods:
            assert pod.file is not None
            assert {*pod.file.entries} == {*live}
            for key, raw in live.items():
                is_owner = self.owners.get(key) == pod.index
                shown = raw if is_owner else merge.masked(raw)
                assert merge.same(pod.file.entries[key], shown), (key, pod.index, pod.file.entries[key], shown)
                assert is_owner or b'"running"' not in shown, "a session is shown running where it does not run"
        if CONTESTED in live:
            mixed = fields_of(live[CONTESTED])
            stamps = {(name, stamp) for name, stamp in mixed.items() if name.startswith("by_")}
            assert stamps <= self.sessions[mixed["sessionId"]], "two sessions are mixed"
        for key, told in self.told.items():
            self._check_key(told, live.get(key))

    def _check_key(self, told: Told, raw: bytes | None) -> None:
        if told.buried and not told.either and not self.forgot:
            assert raw is None, "it was deleted, and came back"
        if not told.deleted or not (told.buried or told.either or self.doubts or self.forgot):
            assert raw is not None, "it is lost"
            fields = fields_of(raw)
            missing = {(name, stamp) for name, stamp in told.stamps.items() if fields.get(name) != stamp} - told.covered
            # A bridge that crashes may not know from which of its sheets an entry is that the store lost meanwhile.
            assert not missing or (self.forgot and self.crashed), f"changes are lost: {missing} of {fields}"
        if not told.deleted and not self.forgot and raw is not None:
            assert fields_of(raw).get("compactionCount", 0) == told.count
            assert (fields_of(raw).get("status") == "running") == told.running


def _seed(key: str) -> bytes:
    return entry(sessionId=key, rate=1.0, updatedAt=1)
