"""The checker of cancellations finds what it is for: each fault planted here is one that was found in the project."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from agentbus.storage.cancelling import cancelled_once, finished, taken
from agentbus.testing.cancelling import Call, When, cancel_everywhere

MOMENTS = pytest.mark.parametrize("when", When)


class Thing:
    """Something that can be held, as a lock or a connection."""

    def __init__(self) -> None:
        self.held = 0

    async def take(self) -> "Thing":
        await asyncio.sleep(0)
        self.held += 1
        await asyncio.sleep(0)
        return self

    async def give_back(self) -> None:
        await asyncio.sleep(0)
        self.held -= 1
        await asyncio.sleep(0)


async def check(call: Callable[[Thing], Call], when: When, deadline: float = 5) -> int:
    thing = Thing()

    async def prepare() -> Call:
        return call(thing)

    async def is_free() -> None:
        assert thing.held == 0, "held by nobody"

    return await cancel_everywhere(prepare, is_free, when=when, deadline=deadline)


# What is right


@MOMENTS
async def test_each_await_is_counted_those_of_tasks_too(when: When) -> None:
    async def call(_: Thing) -> None:
        await asyncio.sleep(0)
        await asyncio.create_task(asyncio.sleep(0))

    assert await check(call, when) == 3


@MOMENTS
@pytest.mark.parametrize(("first", "cut"), [(1, [0, 4]), (3, [2]), (5, [4]), (6, [0]), (9, [3])])
async def test_of_some_awaits_each_so_manieth_is_tried_and_one_of_a_call_that_has_fewer(
    when: When, first: int, cut: list[int]
) -> None:
    found: list[int] = []

    async def prepare() -> Call:
        async def call() -> None:
            passed = 0
            try:
                while passed < 5:
                    await asyncio.sleep(0)
                    passed += 1
            except asyncio.CancelledError:
                found.append(passed)
                raise

        return call()

    async def nothing() -> None: ...

    await cancel_everywhere(prepare, nothing, when=when, step=4, first=first)
    assert found == cut


@MOMENTS
@pytest.mark.parametrize("how", [finished, cancelled_once])
async def test_what_is_held_for_one_call_is_given_back(how: Callable[[Call], Awaitable[object]], when: When) -> None:
    async def use(thing: Thing) -> None:
        await taken(thing.take(), Thing.give_back)
        try:
            await asyncio.sleep(0)
        finally:
            await finished(thing.give_back())

    async def call(thing: Thing) -> None:
        await how(use(thing))

    assert await check(use, when) > 4
    assert await check(call, when) > 4


async def test_call_without_awaits_cannot_be_cancelled() -> None:
    async def call(_: Thing) -> None:
        pass

    assert await check(call, When.WAITING) == 0


# What is wrong


async def swallows(_: Thing) -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)


async def replaces(_: Thing) -> None:
    try:
        await asyncio.sleep(0)
    finally:
        raise ConnectionError("the store does not answer")


async def keeps(thing: Thing) -> None:
    await thing.take()
    await asyncio.sleep(0)
    await thing.give_back()


async def is_disturbed(thing: Thing) -> None:
    await taken(thing.take(), Thing.give_back)
    try:
        await asyncio.sleep(0)
    finally:
        await thing.give_back()


async def leaves_a_task(_: Thing) -> None:
    await asyncio.wait({asyncio.create_task(asyncio.Event().wait(), name="left")}, timeout=0.01)


async def never_ends(_: Thing) -> None:
    try:
        await asyncio.sleep(0)
    finally:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("call", "when", "found"),
    [
        (swallows, When.WAITING, "ended with None"),
        (swallows, When.THERE, "ended with None"),
        (replaces, When.WAITING, "ended with ConnectionError"),
        (keeps, When.WAITING, "held by nobody"),
        (is_disturbed, When.INSISTING, "held by nobody"),
        (leaves_a_task, When.WAITING, "left behind .*left"),
        (never_ends, When.WAITING, "does not end"),
    ],
)
async def test_fault_is_found(call: Callable[[Thing], Call], when: When, found: str) -> None:
    before = asyncio.all_tasks()

    with pytest.raises(AssertionError, match=found):
        await check(call, when, deadline=0.1)

    for task in asyncio.all_tasks() - before:
        task.cancel()
