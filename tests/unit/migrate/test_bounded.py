"""Much is worked on, little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sessionstore.migrate import bounded
from sessionstore.migrate.bounded import Room


@pytest.mark.parametrize("number", [0, 1, 2, 250])
async def test_groups_hold_everything_once_and_in_order(number: int) -> None:
    found = [group async for group in bounded.groups(bounded.of(range(number)), lambda one: 1)]

    assert [one for group in found for one in group] == list(range(number))
    assert all(1 <= len(group) <= bounded.GROUP for group in found)


async def test_a_group_of_large_things_is_short() -> None:
    found = [len(group) async for group in bounded.groups(bounded.of(range(5)), lambda one: bounded.GROUP_BYTES)]

    assert found == [2, 2, 1]


async def test_no_more_than_so_many_are_under_way_and_a_source_is_not_read_ahead() -> None:
    under_way, most, read = 0, 0, 0

    async def source() -> AsyncIterator[int]:
        nonlocal read
        for number in range(20):
            read += 1
            yield number

    async def work(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        assert read <= number + 5
        await asyncio.sleep(0)
        under_way -= 1

    await bounded.for_each(source(), work, width=4)

    assert most == 4


async def test_the_first_error_ends_the_rest() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        if number == 1:
            raise ZeroDivisionError
        await asyncio.sleep(0.01 * number)
        done.append(number)

    with pytest.raises(ZeroDivisionError):
        await bounded.for_each(bounded.of(range(100)), work, width=2)

    assert len(done) < 100


async def test_who_comes_when_there_is_no_room_waits_until_some_is_given_back() -> None:
    room = Room(10)
    room.take(10)
    waiting = [asyncio.create_task(room.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)

    room.give_back(10)

    await asyncio.gather(*waiting)
