"""Two and three bridges over one store, in any order, dying at any moment: in the end all have the same, and all of it.

Each rule of the machine does what is atomic in life; `gateways.World` says what has to hold.
"""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.unit.bridge.gateways import CONTESTED, SHARED, Pod, World

PODS = st.integers(0, 2)
KEYS = st.sampled_from([*SHARED, SHARED[0], SHARED[0], CONTESTED, "own-0", "own-1", "own-2"])
OPERATIONS = st.sampled_from(["update", "update", "update", "create", "create", "delete", "reset", "run", "end"])


class Bridges(RuleBasedStateMachine):
    """What gateways and bridges do."""

    @initialize(pods=st.integers(2, 3))
    def begin(self, pods: int) -> None:
        self.world = World(pods)

    def pod(self, index: int) -> Pod:
        return self.world.pods[index % len(self.world.pods)]

    @rule(index=PODS)
    def load(self, index: int) -> None:
        self.world.load(self.pod(index))

    @rule(index=PODS, operation=OPERATIONS, key=KEYS)
    def write(self, index: int, operation: str, key: str) -> None:
        pod = self.pod(index)
        self.world.write(pod, operation, self.choose(pod, operation, key))

    def choose(self, pod: Pod, operation: str, key: str) -> str:
        """Name a session: a gateway makes its own anew, and changes and deletes what anybody made."""
        if not key.startswith("own-"):
            return key
        if operation == "create":
            return f"own-{pod.index}-{self.world.now}"
        made = [name for name in self.world.told if name.startswith("own-")]
        return made[-1 - int(key[-1]) % len(made)] if made else key

    @rule(index=PODS)
    def read(self, index: int) -> None:
        self.world.read(self.pod(index))

    @rule(index=PODS)
    def look_up(self, index: int) -> None:
        self.world.look_up(self.pod(index))

    @rule(index=PODS, key=st.integers(0, 9))
    def tell(self, index: int, key: int) -> None:
        self.world.tell(self.pod(index), list(self.world.store.rows)[-1 - key % len(self.world.store.rows)])

    @rule(index=PODS, place=st.integers(0, 99))
    def tell_old(self, index: int, place: int) -> None:
        self.world.tell_old(self.pod(index), place)

    @rule(index=PODS)
    def push(self, index: int) -> None:
        self.world.push(self.pod(index))

    @rule(index=PODS)
    def send(self, index: int) -> None:
        self.world.send(self.pod(index))

    @rule(index=PODS)
    def send_unanswered(self, index: int) -> None:
        self.world.send(self.pod(index), is_answered=False)

    @rule(index=PODS)
    def push_and_send(self, index: int) -> None:
        pod = self.pod(index)
        self.world.push(pod)
        while pod.outbox:
            self.world.send(pod)

    @rule(index=PODS, is_told=st.booleans())
    def place(self, index: int, is_told: bool) -> None:
        self.world.place(self.pod(index), is_told=is_told)

    @rule(index=PODS, operation=OPERATIONS, key=KEYS)
    def work(self, index: int, operation: str, key: str) -> None:
        pod = self.pod(index)
        self.world.work(pod, operation, self.choose(pod, operation, key))

    @rule(index=PODS)
    def push_and_crash(self, index: int) -> None:
        self.world.push(self.pod(index))
        self.world.crash(self.pod(index))

    @rule(index=PODS)
    def bring_up_to_date(self, index: int) -> None:
        self.world.bring_up_to_date(self.pod(index))

    @rule(index=PODS, operation=OPERATIONS, key=KEYS, peeks=st.booleans(), dies=st.booleans())
    def collide(self, index: int, operation: str, key: str, peeks: bool, dies: bool) -> None:
        pod = self.pod(index)
        self.world.collide(pod, operation, self.choose(pod, operation, key), peeks=peeks, dies=dies)

    @rule(index=PODS, key=st.sampled_from(SHARED), owned=st.booleans())
    def own(self, index: int, key: str, owned: bool) -> None:
        self.world.own(self.pod(index), key, owned)

    @rule(index=PODS)
    def crash(self, index: int) -> None:
        self.world.crash(self.pod(index))

    @rule(index=PODS)
    def start(self, index: int) -> None:
        self.world.start(self.pod(index))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.check()


class Remembering(Bridges):
    """The store keeps all: counters are exact, and nothing that was deleted comes back."""

    @rule(index=PODS)
    def remove(self, index: int) -> None:
        self.world.remove(self.pod(index))


class Forgetting(Bridges):
    """The store loses what it had confirmed: whoever knows it brings it back."""

    @rule(count=st.integers(1, 4))
    def forget(self, count: int) -> None:
        self.world.forget(count)


@pytest.fixture
def histories(count: Callable[[int, int], int]) -> hypothesis.settings:
    most = count(150, 3000)
    return hypothesis.settings(
        max_examples=most, stateful_step_count=60, suppress_health_check=list(hypothesis.HealthCheck)
    )


def test_all_gateways_come_to_have_the_same_and_all_of_it_whatever_happens(histories: hypothesis.settings) -> None:
    run_state_machine_as_test(Remembering, settings=histories)


def test_what_a_store_lost_is_brought_back(histories: hypothesis.settings) -> None:
    run_state_machine_as_test(Forgetting, settings=histories)
