"""Patience: what passes is waited out, for as long and as often as it says; nothing else is, nor a cancellation."""

import asyncio
from collections import deque
from time import monotonic

import pytest
from tenacity import RetryCallState

from agentbus.contracts.errors import BrokerUnavailable, StoreDamaged, StoreError, StoreUnavailable
from agentbus.workers.patience import Patience

AT_ONCE = Patience(transient=(StoreError,), lasting=(StoreDamaged,), longest_wait=0)


class Failing:
    """Fails with what it was given, one after the other; then it succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = deque(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.popleft()
        return self.calls


def down(times: int) -> list[Exception]:
    return [StoreUnavailable(str(number)) for number in range(1, times + 1)]


async def test_what_may_pass_is_waited_out_and_told() -> None:
    told = list[str]()

    def waiting(state: RetryCallState) -> None:
        assert state.outcome is not None
        told.append(str(state.outcome.exception()))

    assert await AT_ONCE.call(Failing(*down(3)), waiting=waiting) == 4
    assert told == ["1", "2", "3"]


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("error", [StoreDamaged("for good"), BrokerUnavailable("another's"), ValueError("a fault")])
async def test_what_does_not_pass_is_raised_at_once(error: Exception, before: int) -> None:
    call = Failing(*down(before), error)
    with pytest.raises(type(error)):
        await AT_ONCE.call(call)
    assert call.calls == before + 1


async def test_it_is_tried_so_often() -> None:
    patience = Patience(transient=(StoreError,), attempts=3, longest_wait=0)
    assert await patience.call(Failing(*down(2))) == 3
    call = Failing(*down(5))
    with pytest.raises(StoreUnavailable, match="3"):
        await patience.call(call)
    assert call.calls == 3


async def test_it_is_tried_for_so_long_from_the_first_try_on() -> None:
    patience = Patience(transient=(StoreError,), seconds=60, longest_wait=0)
    call = Failing(*down(2))
    with pytest.raises(StoreUnavailable, match="ran out"):
        await patience.again(call, StoreUnavailable("ran out"), begun=monotonic() - 61)
    assert call.calls == 0
    assert await patience.again(call, StoreUnavailable("just begun"), begun=monotonic()) == 3


@pytest.mark.parametrize("most", [0.01, 60.0])
async def test_the_time_that_it_has_is_used_and_the_last_try_is_at_its_end(most: float) -> None:
    patience = Patience(transient=(StoreError,), seconds=0.2, first_wait=most, longest_wait=most)
    begun = monotonic()
    with pytest.raises(StoreUnavailable):
        await patience.call(failing := Failing(*down(1_000)))
    assert monotonic() - begun >= 0.2
    assert failing.calls > 1


def test_the_shorter_of_two_ends_holds() -> None:
    assert [AT_ONCE.within(5).seconds, AT_ONCE.within(5).within(0).seconds, AT_ONCE.within(5).within(9).seconds] == [
        5,
        0,
        5,
    ]


@pytest.mark.parametrize("wanted_for", [0, 1, 2])
async def test_what_nobody_wants_any_more_is_not_tried_again(wanted_for: int) -> None:
    call = Failing(*down(5))
    with pytest.raises(StoreUnavailable, match=str(wanted_for + 1)):
        await AT_ONCE.call(call, wanted=lambda: call.calls <= wanted_for)
    assert call.calls == wanted_for + 1


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_cancellation_that_the_driver_replaces_ends_it(before: int) -> None:
    failing = Failing(*down(before))
    hangs = asyncio.Event()

    async def call() -> None:
        await failing()
        hangs.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailable("the connection was lost") from None

    task = asyncio.create_task(AT_ONCE.call(call))
    await hangs.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert failing.calls == before + 1


async def test_it_waits_longer_and_longer_and_at_most_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    most = list[float]()

    def uniform(low: float, high: float) -> float:
        most.append(high)
        return low

    monkeypatch.setattr("random.uniform", uniform)
    patience = Patience(transient=(StoreError,), first_wait=0.05, longest_wait=0.3)
    await patience.call(Failing(*down(5)))
    assert most == [0.05, 0.1, 0.2, 0.3, 0.3]
