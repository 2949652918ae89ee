"""Endings: a cancellation passes, a close has a deadline, and what does not end is named.

A cancellation is raised in a task once. Whatever is raised in its place on the way out (a driver's error for the call
that it interrupted, a clean-up that fails) can be taken for an ordinary failure, and then the task goes on as if nobody
had asked it to end. So whoever takes up an error of an await asks `raise_if_cancelled` first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.faults import told

PROMPTLY: Final = 3.0
"""Seconds within which a task has to end once it is cancelled, or a clean-up once it is begun.

More than a cancelled call of a store stays for the end of what it began.
"""
CLOSING: Final = 10.0
"""Seconds that several things may take to close together, each of which has a deadline of its own."""

Result = TypeVar("Result")

_log = Logger(__name__)


def raise_if_cancelled() -> None:
    """Raise CancelledError if the current task is being cancelled, whatever was raised in its place."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def passing_over(*errors: type[BaseException]) -> Iterator[None]:
    """Go on after `errors`, as `contextlib.suppress` does; but not if the current task is being cancelled."""
    try:
        yield
    except errors:
        raise_if_cancelled()


async def still_wanted(call: Awaitable[Result]) -> Result:
    """Await `call`; raise CancelledError in place of its failure if the current task is being cancelled."""
    try:
        return await call
    except Exception:
        raise_if_cancelled()
        raise


async def side_by_side(calls: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run `calls` at the same time and return what they return, in their order.

    If one fails, or the caller is cancelled, the others are cancelled and have ended before this raises: the first
    failure, as it was raised.
    """
    # Not a TaskGroup: up to Python 3.12 its caller counts as being cancelled for good after one of its tasks failed.
    tasks = [asyncio.create_task(call) for call in calls]
    if not tasks:
        return []
    done: set[asyncio.Task[Result]] = set()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await ended(task for task in tasks if task not in done)
    # All are asked, in their order: asyncio complains of an error that nobody has asked for.
    errors = [error for task in tasks if task in done and not task.cancelled() and (error := task.exception())]
    if errors:
        raise errors[0]
    return [task.result() for task in tasks]


async def all_of(closes: Iterable[Coroutine[Any, Any, object]], *, within: float = CLOSING) -> None:
    """Run closes at the same time, each to its end, though others fail or the caller is cancelled.

    What they fail with, or that they are not over `within` seconds, is in the log. A cancellation is raised in the end.
    """
    await _seen_through([asyncio.create_task(close) for close in closes], within)


async def ended(tasks: Iterable[asyncio.Task[Any]], *, within: float = PROMPTLY) -> bool:
    """Cancel `tasks`, wait until they have ended, for `within` seconds, and return whether they all have.

    One that has not is named in the log, with where it stands, and left. What they failed with is in the log too.
    A cancellation of the caller is passed on to the tasks, so that they hurry, and raised in the end.
    """
    loop = asyncio.get_running_loop()
    all_of_them = set(tasks) - {asyncio.current_task()}
    left = _cancelled(all_of_them)
    deadline = loop.time() + within
    interrupted = False
    while left and (seconds := deadline - loop.time()) > 0:
        try:
            _, left = await asyncio.wait(left, timeout=seconds)
        except asyncio.CancelledError:
            interrupted = True
            left = _cancelled(left)
    _tell(all_of_them, left, within)
    if interrupted:
        raise asyncio.CancelledError
    return not left


async def in_turn(*steps: Callable[[], Awaitable[object]]) -> None:
    """Take the steps of a close one after the other: each, though one before it failed or the caller was cancelled.

    A cancellation ends the step that it meets, as its deadline would. What a step raised is raised in the end.
    """
    async with AsyncExitStack() as stack:
        for step in reversed(steps):
            stack.push_async_callback(step)


async def afterwards(what: str, clean_up: Coroutine[Any, Any, object], *, within: float = PROMPTLY) -> None:
    """Carry out a clean-up, also if the caller is being cancelled: for a `finally`.

    It has `within` seconds. If it fails or takes longer the log says so, and no more: what the body raised or returned
    stays what it was. A cancellation of the caller is raised once the clean-up is over.
    """
    await _seen_through([asyncio.create_task(clean_up, name=what)], within)


async def _seen_through(tasks: Collection[asyncio.Task[Any]], within: float) -> None:
    """Wait until `tasks` are over, though the caller is cancelled meanwhile; after `within` seconds end them."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    left = set(tasks)
    interrupted = False
    while left and (seconds := deadline - loop.time()) > 0:
        try:
            _, left = await asyncio.wait(left, timeout=seconds)
        except asyncio.CancelledError:
            # Not passed on: a task that is cancelled before its first step does not even begin to clean up.
            interrupted = True
            left = {task for task in left if not task.done()}
    for task in left:
        _say_not_ended(task, within)
    try:
        await ended(tasks)
    finally:
        if interrupted:
            raise asyncio.CancelledError


def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Cancel those that run, and return them."""
    left = {task for task in tasks if not task.done()}
    for task in left:
        task.cancel()
    return left


def _tell(tasks: set[asyncio.Task[Any]], left: set[asyncio.Task[Any]], seconds: float) -> None:
    for task in tasks - left:
        if not task.cancelled() and (error := task.exception()):
            _log.warning(Action.ENDED_BADLY, task=task.get_name(), **told(error))
    for task in left:
        _say_not_ended(task, seconds)


def _say_not_ended(task: asyncio.Task[Any], seconds: float) -> None:
    _log.error(Action.NOT_ENDED, task=task.get_name(), seconds=seconds, stands_at=standing(task))


def standing(task: asyncio.Task[Any]) -> str:
    """Return where a task stands: from its own coroutine to what it awaits in the end."""
    places: list[str] = []
    waits: Any = task.get_coro()
    while (frame := getattr(waits, "cr_frame", None) or getattr(waits, "ag_frame", None)) is not None:
        code = frame.f_code
        places.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        waits = getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None)
    return " > ".join(places)


class SharedLock:
    """A readers-writer lock: many hold it `shared` at a time, or one `exclusive`, who goes before new sharers.

    Not reentrant. Whoever is cancelled while waiting holds nothing.
    """

    def __init__(self) -> None:
        self._sharers = 0
        self._wanted = 0
        self._changed = asyncio.Event()
        self.is_exclusive = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody holds it alone, or waits to."""
        return bool(self._wanted)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold it beside others; waits while somebody holds it alone, or waits to."""
        await self._until(lambda: not self._wanted)
        self._sharers += 1
        try:
            yield
        finally:
            self._sharers -= 1
            self._changed.set()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold it alone; waits until nobody else holds it."""
        self._wanted += 1
        try:
            await self._until(lambda: not (self._sharers or self.is_exclusive))
            self.is_exclusive = True
            try:
                yield
            finally:
                self.is_exclusive = False
        finally:
            self._wanted -= 1
            self._changed.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self._changed.clear()
            await self._changed.wait()
