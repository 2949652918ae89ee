"""The checker of cancellations: a call is cancelled at each of its awaits in turn, until it ends before that one.

Cancelling is an input of every await: whoever is cancelled ends with CancelledError, soon, and leaves nothing behind.
The awaits of the tasks that a call begins count as its own: they are moments at which it may be cancelled as well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import partial
from typing import Any, Final

DEADLINE: Final = 20.0
"""Seconds after which a call that was cancelled, or a task that it left, will never end."""

MOST_AWAITS: Final = 1000
"""More awaits than any call has: the checker itself must end."""

Call = Coroutine[Any, Any, object]


class When(StrEnum):
    """When the cancellation comes, seen from the await."""

    WAITING = "waiting"
    """What is awaited is not there yet."""
    THERE = "there"
    """What is awaited is there, but whoever awaits it is not awake yet, and may not hear of it."""
    INSISTING = "insisting"
    """As `WAITING`, and again at each await of the clearing up, as the scopes of anyio do."""


class Cancelled:
    """One call, cancelled at its await number `at`."""

    def __init__(self, call: Call, at: int, when: When, deadline: float = DEADLINE) -> None:
        self._call = call
        self._at = at
        self._when = when
        self._deadline = deadline
        self.awaits = 0
        """How many it has come to."""
        self.was_cancelled = False
        self._where = f"cancelled at await {at} ({when})"
        self.error: asyncio.CancelledError | None = None
        """What the call ended with: kept, as a log record, a retry policy or a task that waits keeps it."""

    async def happens(self) -> bool:
        """Make the call; return whether it was cancelled before it ended."""
        with _counting_tasks():
            _counter.set(self._reached)
            self._task = asyncio.create_task(self._run(), name=self._where)
            _counter.set(None)
            done, _ = await asyncio.wait({self._task}, timeout=self._deadline)
        assert done, f"{self._where}, it does not end: {self._task.get_stack()}"
        if not self.was_cancelled:
            self._task.result()
        elif not self._task.cancelled():
            error = self._task.exception()
            raise AssertionError(f"{self._where}, it ended with {error or self._task.result()!r}") from error
        return self.was_cancelled

    async def _run(self) -> object:
        try:
            return await self._call
        except asyncio.CancelledError as error:
            self.error = error
            raise

    def _reached(self, awaited: object) -> None:
        self.awaits += 1
        if self.awaits < self._at or (self.awaits > self._at and self._when is not When.INSISTING):
            return
        if self._when is When.THERE and isinstance(awaited, asyncio.Future):
            awaited.add_done_callback(self._cancel)  # Comes before that of the task, which wakes it.
        else:
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self, _: object = None) -> None:
        self.was_cancelled = self._task.cancel() or self.was_cancelled


async def cancel_everywhere(
    prepare: Callable[[], Awaitable[Call]],
    check: Callable[[], Awaitable[None]],
    *,
    when: When,
    deadline: float = DEADLINE,
    step: int = 1,
    first: int = 1,
    owns_tasks: bool = True,
) -> int:
    """Make the call that `prepare` gives again and again, cancelled at its first await, its second, ..., until it ends.

    Each time it ends with the cancellation, `check` says that all still works, and no task is left that was not there
    before it was prepared. Returns how many awaits there are.

    Of the awaits only each `step`th is tried, from the `first` on; of a call that has fewer, one. Unless it
    `owns_tasks`, those that it begins may be others', who go on.
    """

    async def tried(at: int) -> Cancelled:
        before = asyncio.all_tasks()
        cancelled = Cancelled(await prepare(), at, when, deadline)
        await cancelled.happens()
        await check()
        if owns_tasks and (begun := asyncio.all_tasks() - before):
            _, left = await asyncio.wait(begun, timeout=deadline)
            assert not left, f"cancelled at await {at} ({when}), it left behind {left}"
        return cancelled

    for at in range(first, MOST_AWAITS, step):
        if not (one := await tried(at)).was_cancelled:
            if at == first and one.awaits:
                await tried(1 + (first - 1) % one.awaits)
            return at - 1
    raise AssertionError(f"more than {MOST_AWAITS} awaits")


_counter: ContextVar[Callable[[object], None] | None] = ContextVar("_counter", default=None)
"""Whom to tell of the awaits of the tasks that are begun here: tasks begin with a copy of where they were begun."""


@contextmanager
def _counting_tasks() -> Iterator[None]:
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    loop.set_task_factory(_counted_task)
    try:
        yield
    finally:
        loop.set_task_factory(factory)


def _counted_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **settings: Any) -> asyncio.Task[Any]:
    async def counted(reached: Callable[[object], None]) -> object:
        return await _Counted(coroutine, reached)

    reached = _counter.get()
    if reached is None:
        return asyncio.Task(coroutine, loop=loop, **settings)
    task = asyncio.Task(counted(reached), loop=loop, **settings)
    task.add_done_callback(lambda _: coroutine.close())  # It may have been cancelled before its first step.
    return task


class _Counted:
    """Awaits a coroutine step by step, and tells of each await what it waits for."""

    def __init__(self, call: Call, reached: Callable[[object], None]) -> None:
        self._call = call
        self._reached = reached

    def __await__(self) -> Generator[Any, Any, object]:
        step = partial(self._call.send, None)
        while True:
            try:
                awaited = step()
            except StopIteration as end:
                return end.value
            self._reached(awaited)
            try:
                yield awaited
            except BaseException as error:
                step = partial(self._call.throw, error)
            else:
                step = partial(self._call.send, None)
