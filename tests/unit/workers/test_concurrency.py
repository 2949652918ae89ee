"""Endings: a cancellation passes whatever takes its place, and what does not end is named and left."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.telemetry import Action
from agentbus.workers.concurrency import (
    SharedLock,
    afterwards,
    ended,
    passing_over,
    raise_if_cancelled,
    side_by_side,
    standing,
    still_wanted,
)
from agentbus.workers.delivery import retry
from agentbus.workers.delivery.retry import keep_trying
from tests.harness.patience import PATIENCE

SOON = 0.05


async def replaced() -> None:
    """Wait for ever; when cancelled, raise what a driver or a clean-up raises in its place."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise StoreUnavailable("the connection was closed") from None


async def cancelled_in(work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Begin `work`, cancel it once it waits, and return its task when it has ended."""

    async def begin() -> None:
        await work()

    task = asyncio.create_task(begin())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    return task


async def test_an_error_in_place_of_a_cancellation_is_not_taken_for_an_ordinary_one() -> None:
    async def handled() -> None:
        try:
            await replaced()
        except StoreUnavailable:
            raise_if_cancelled()

    async def passed_over() -> None:
        with passing_over(StoreUnavailable):
            await replaced()

    async def wanted() -> None:
        await still_wanted(replaced())

    for work in (handled, passed_over, wanted):
        assert (await cancelled_in(work)).cancelled(), work


async def test_outside_a_cancellation_errors_are_what_they_are() -> None:
    async def down() -> None:
        raise StoreUnavailable

    with passing_over(StoreUnavailable):
        await down()
    with pytest.raises(StoreUnavailable):
        await still_wanted(down())
    with pytest.raises(ValueError, match="other"), passing_over(StoreUnavailable):
        raise ValueError("other")


async def test_a_retry_ends_when_it_is_cancelled_and_the_store_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "OUTAGES", replace(retry.OUTAGES, longest_wait=0))
    for failures in (0, 1, 2):
        calls = list[int]()

        async def call(failures: int = failures, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) <= failures:
                raise StoreUnavailable
            await replaced()

        task = asyncio.create_task(keep_trying("wait", call))
        while len(calls) <= failures:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        assert task.cancelled()
        assert len(calls) == failures + 1


async def test_a_time_limit_stays_a_time_limit() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SOON):
            await keep_trying("wait", replaced)


async def test_what_is_ended_has_ended() -> None:
    ends = list[str]()

    async def cleaning() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ends.append("cleaned")

    tasks = [asyncio.create_task(cleaning()) for _ in range(3)]
    await asyncio.sleep(0)
    assert await ended(tasks)
    assert ends == ["cleaned"] * 3
    assert await ended(tasks)
    assert await ended(())


async def test_a_task_that_does_not_end_is_named_with_where_it_stands_and_left() -> None:
    let_go = asyncio.Event()

    async def deaf() -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf(), name="the deaf one")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        assert not await ended({task}, within=SOON)
    (line,) = logs
    assert (line["event"], line["task"], line["seconds"]) == (Action.NOT_ENDED, "the deaf one", SOON)
    assert "deaf > locks.py" in line["stands_at"].replace(f":{deaf.__code__.co_firstlineno + 3}", "")
    let_go.set()
    await task


async def test_how_and_where_a_task_failed_is_in_the_log() -> None:
    task = asyncio.create_task(replaced())
    await asyncio.sleep(0)
    with capture_logs() as logs:
        assert await ended({task})
    assert [(line["event"], " in replaced" in line["at"]) for line in logs] == [(Action.ENDED_BADLY, True)]


async def test_who_is_cancelled_while_ending_others_still_ends_them_and_hurries_them() -> None:
    hurried = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                hurried.set()
                raise

    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    closing = await cancelled_in(lambda: _until(ended({task}, within=PATIENCE)))
    assert closing.cancelled()
    assert hurried.is_set()
    assert task.done()


async def _until(ending: Awaitable[object]) -> None:
    await ending


async def test_the_first_failure_ends_those_beside_it_before_it_is_raised() -> None:
    ends = list[str]()

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("ended")

    async def failing() -> None:
        await asyncio.sleep(0)
        raise StoreUnavailable("down")

    before = asyncio.all_tasks()
    with pytest.raises(StoreUnavailable, match="down"):
        await side_by_side([waiting(), failing(), waiting()])
    assert ends == ["ended"] * 2
    assert (await cancelled_in(lambda: _until(side_by_side([waiting(), waiting()])))).cancelled()
    assert ends == ["ended"] * 4
    assert asyncio.all_tasks() == before


async def test_after_a_failure_of_one_beside_it_nobody_is_taken_for_cancelled() -> None:
    async def failing() -> None:
        raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable):
        await side_by_side([failing(), asyncio.sleep(PATIENCE), failing()])
    raise_if_cancelled()


async def test_what_runs_side_by_side_returns_in_its_order() -> None:
    async def later(number: int) -> int:
        for _ in range(3 - number):
            await asyncio.sleep(0)
        return number

    assert await side_by_side(later(number) for number in range(3)) == [0, 1, 2]
    assert await side_by_side(()) == []


async def test_a_clean_up_is_carried_out_though_its_caller_is_cancelled_again() -> None:
    done = list[str]()
    begun = asyncio.Event()

    async def clean_up() -> None:
        begun.set()
        await asyncio.sleep(SOON)
        done.append("let go")

    async def body() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await afterwards("let go", clean_up())

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    await begun.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE)
    assert task.cancelled()
    assert done == ["let go"]


async def test_a_clean_up_that_fails_or_takes_too_long_changes_nothing_and_is_in_the_log() -> None:
    async def failing() -> None:
        raise StoreUnavailable("down")

    async def body() -> None:
        try:
            raise ValueError("the body's")
        finally:
            await afterwards("let go", failing())

    async def for_ever() -> None:
        await asyncio.Event().wait()

    with capture_logs() as logs:
        with pytest.raises(ValueError, match="the body's"):
            await body()
        await afterwards("wait", for_ever(), within=SOON)
    assert [(line["event"], line["task"]) for line in logs] == [
        (Action.ENDED_BADLY, "let go"),
        (Action.NOT_ENDED, "wait"),
    ]


async def test_where_a_task_stands_is_told_down_to_what_it_waits_for() -> None:
    async def inner() -> None:
        await asyncio.sleep(PATIENCE)

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert [place.split()[-1] for place in standing(task).split(" > ")] == ["outer", "inner", "sleep"]
    await ended({task})
    assert standing(task) == ""


async def test_of_several_failures_the_first_is_raised_and_none_is_left_unread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^0$"):
        await side_by_side(fail(number) for number in range(3))
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_lock_is_shared_by_many_or_held_by_one_who_goes_before_new_sharers() -> None:
    lock, order, let_go = SharedLock(), list[str](), asyncio.Event()

    async def share(name: str) -> None:
        async with lock.shared():
            order.append(name)
            await let_go.wait()

    async def alone(name: str) -> None:
        async with lock.exclusive():
            assert lock.is_exclusive
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    first = [asyncio.create_task(share(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    rest = [asyncio.create_task(one) for one in (alone("x"), share("c"), alone("y"))]
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["a", "b"]
    let_go.set()
    await asyncio.gather(*first, *rest)
    assert order == ["a", "b", "x begins", "x ends", "y begins", "y ends", "c"]
    assert not lock.is_exclusive


async def test_who_is_cancelled_while_waiting_for_a_lock_holds_up_nobody() -> None:
    lock = SharedLock()
    async with lock.shared():
        waiting = asyncio.create_task(_hold(lock.exclusive()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        async with asyncio.timeout(PATIENCE), lock.shared():
            pass
    async with lock.exclusive():
        waiting = asyncio.create_task(_hold(lock.shared()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    async with asyncio.timeout(PATIENCE), lock.exclusive():
        assert lock.is_exclusive


async def _hold(held: AbstractAsyncContextManager[None]) -> None:
    async with held:
        pass
