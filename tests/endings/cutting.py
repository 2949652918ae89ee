"""Cancelling a coroutine at each of its awaits, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from tests.harness.patience import PATIENCE

MOST = 2_000

Subject = TypeVar("Subject")


class Cut:
    """Awaits a coroutine, and cancels its task where it waits for the `at`-th time."""

    def __init__(self, work: Coroutine[Any, Any, object], at: int) -> None:
        self._work = work
        self._at = at
        self.waits = 0

    def __await__(self) -> Generator[Any, None, object]:
        inner = self._work.__await__()
        error: BaseException | None = None
        while True:
            try:
                waited_for = inner.throw(error) if error else next(inner)
            except StopIteration as stop:
                return stop.value
            self.waits += 1
            task = asyncio.current_task()
            if self.waits == self._at and task is not None:
                task.cancel()
            try:
                yield waited_for
            except BaseException as raised:
                error = raised
            else:
                error = None


async def cut(work: Coroutine[Any, Any, object], at: int) -> bool:
    """Run `work`, cancelled at its `at`-th wait; return whether it came that far, once it has ended."""
    cutting = Cut(work, at)

    async def run() -> None:
        await cutting

    task = asyncio.create_task(run())
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    assert done, f"cancelled at its wait number {at} it did not end"
    if not task.cancelled() and (error := task.exception()):
        raise error
    return cutting.waits >= at


async def cut_everywhere(
    make: Callable[[int], AbstractAsyncContextManager[Subject]],
    work: Callable[[Subject], Coroutine[Any, Any, object]],
    then: Callable[[Subject], Awaitable[None]],
    *,
    least: int,
) -> None:
    """Cancel `work` of a new subject at each of its waits in turn, and look at each subject after that.

    `least`: waits that it has in any case, so that a test can't pass by cutting nothing.
    """
    for at in range(1, MOST):
        async with make(at) as subject:
            reached = await cut(work(subject), at)
            await then(subject)
        if not reached:
            assert at > least
            return
    raise AssertionError(f"it waits more than {MOST} times")
