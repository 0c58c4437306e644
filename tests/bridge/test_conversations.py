"""One conversation on several gateways: each turn sees all that was said, whoever it was said to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sessionstore.sessions import SessionKey
from tests.bridge import pods
from tests.bridge.gateway import Gateway
from tests.bridge.pods import Pod

Count = Callable[[int, int], int]
KEY = "agent:main:telegram:direct:1"


@pytest.fixture
def running(url: str, tmp_path: Path) -> Iterator[list[Pod]]:
    with pods.running(tmp_path, "XYZ", url) as running:
        yield running


def knows(gateway: Gateway) -> bool:
    return gateway.session_id(KEY) is not None


def same_everywhere(gateways: Sequence[Gateway], turns: int) -> None:
    """All gateways have the same transcript, it is linear, and every turn is in it once."""
    session_id = gateways[0].session_id(KEY)
    assert session_id is not None

    def complete() -> bool:
        return all(len(gateway.lines(session_id)) == 1 + 2 * turns for gateway in gateways)

    pods.wait_until(complete, *(gateway.pod for gateway in gateways))
    first, *others = [gateway.lines(session_id)[1:] for gateway in gateways]
    assert others == [first] * len(others)
    assert [line["parentId"] for line in first] == [None, *(line["id"] for line in first[:-1])]
    assert len({line["text"] for line in first}) == 2 * turns


def test_turns_that_go_round_see_the_whole_history(running: list[Pod], count: Count) -> None:
    gateways = [Gateway(pod) for pod in running]
    gateways[0].say(KEY, "turn 0")
    pods.wait_until(lambda: all(map(knows, gateways)), *running)
    many = count(6, 60)
    for number in range(1, many):
        heard = gateways[number % 3].say(KEY, f"turn {number}")
        assert heard[::2] == [f"turn {earlier}" for earlier in range(number)]
    same_everywhere(gateways, many)


def test_turns_at_once_come_one_after_the_other(running: list[Pod], count: Count) -> None:
    gateways = [Gateway(pod) for pod in running]
    gateways[0].say(KEY, "first")
    pods.wait_until(lambda: all(map(knows, gateways)), *running)
    many = count(2, 10)

    def talk(gateway: Gateway) -> list[int]:
        return [len(gateway.say(KEY, f"{gateway.pod.name}{number}", takes_s=0.2)) for number in range(many)]

    with ThreadPoolExecutor() as pool:
        heard = [length for lengths in pool.map(talk, gateways) for length in lengths]
    assert sorted(heard) == [2 * number for number in range(1, 3 * many + 1)]
    same_everywhere(gateways, 3 * many + 1)


def test_an_owner_that_vanishes_is_waited_for_and_then_replaced(running: list[Pod]) -> None:
    first, second, third = (Gateway(pod) for pod in running)
    first.say(KEY, "one")
    pods.wait_until(lambda: knows(second) and knows(third), *running)
    # Its bridge dies right behind a turn, and its lines may not be in the store: they come when it is back.
    first.say(KEY, "two")
    running[0].kill()
    second.say(KEY, "three")
    running[0].start()
    same_everywhere([first, second, third], 3)


def test_what_was_said_is_in_the_store_when_a_bridge_was_told_to_end(running: list[Pod]) -> None:
    first, second, _ = (Gateway(pod) for pod in running)
    first.say(KEY, "one")
    running[0].stop()
    pods.wait_until(lambda: knows(second), *running)
    assert second.say(KEY, "two") == ["one", "answer to one"]


def test_a_turn_that_goes_on_when_a_bridge_is_told_to_end_is_in_the_store_as_far_as_it_came(
    running: list[Pod], url: str
) -> None:
    first = Gateway(running[0])
    first.say(KEY, "one")
    first.break_off(KEY, "two")
    running[0].stop()
    assert pods.stored_texts(url, SessionKey(pods.AGENT, KEY)) == ["one", "answer to one", "two", "answer to two"]
    assert pods.stored(url)[KEY]["status"] == "running"


def test_an_agent_that_came_just_before_the_end_is_in_the_store(running: list[Pod], url: str) -> None:
    other = Gateway(replace(running[0], agent="other"))
    key = "agent:other:main"
    other.pod.sessions.mkdir(parents=True)
    other.pod.sheet.write_text("{}")
    other.say(key, "one")
    running[0].stop()
    assert pods.stored_texts(url, SessionKey("other", key)) == ["one", "answer to one"]
    assert pods.stored(url, "other")[key]["status"] == "done"
