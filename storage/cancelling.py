"""Ending well while being cancelled: what was begun is finished, what was taken is given back.

Cancelling is an input of every await, and may come again while somebody clears up (anyio's scopes do so at each turn of
the loop). So what must not be disturbed runs in a task of its own, and whoever is being cancelled waits for its end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger

GRACE: Final = 2.0
"""Seconds that a call which is being cancelled stays for the end of what it began.

What takes longer, as a server does not answer, goes on alone until its own timeout; that is said.
"""

_Answer = TypeVar("_Answer")
_Work = Coroutine[Any, Any, _Answer]
_log = Logger(__name__)


async def finished(work: _Work[_Answer]) -> _Answer:
    """Await `work`, which goes on to its end although this call is being cancelled; that is raised then.

    For a release, a close, and what can't be stopped anyway: its writes must not arrive after the call is over.
    """
    return await _undisturbed(_begun(work), lambda task: task)


async def cancelled_once(work: _Work[_Answer]) -> _Answer:
    """Await `work`, which is cancelled as this call is, but not again while it clears up; that is raised then."""

    def cancel(task: asyncio.Task[_Answer]) -> asyncio.Task[_Answer]:
        task.cancel()
        return task

    return await _undisturbed(_begun(work), cancel)


async def taken(take: _Work[_Answer], give_back: Callable[[_Answer], Awaitable[object]]) -> _Answer:
    """Await `take`, to its end; if this call is being cancelled, what it took is given back before that is raised."""

    async def undo(taking: asyncio.Task[_Answer]) -> None:
        await give_back(await taking)

    return await _undisturbed(_begun(take), lambda task: _begun(undo(task)))


async def seen_off(ending: asyncio.Future[Any]) -> None:
    """Await, in a call that is being cancelled, the end of what it began: as the others do, however often that is said.

    Its error is nobody's any more.
    """
    await _end(ending)


def _begun(work: _Work[_Answer]) -> asyncio.Task[_Answer]:
    return asyncio.create_task(work, name=getattr(work, "__qualname__", None))


async def _undisturbed(
    task: asyncio.Task[_Answer], when_cancelled: Callable[[asyncio.Task[_Answer]], asyncio.Task[Any]]
) -> _Answer:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # less than half of what `wait` costs

    def wake(_: object) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(wake)
    try:
        await ended
    except asyncio.CancelledError:
        await _end(when_cancelled(task))
        raise
    return task.result()


async def _end(task: asyncio.Future[Any]) -> None:
    """Wait for a task's end. Its error is nobody's any more: whoever asked for it is being cancelled."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GRACE
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    while not task.done() and (left := deadline - loop.time()) > 0:
        with suppress(asyncio.CancelledError):  # Once more: it is on its way out already, and the first one is raised.
            await asyncio.wait({task}, timeout=left)
    if not task.done():
        work = task.get_name() if isinstance(task, asyncio.Task) else "a thread"
        _log.warning(Action.LEFT_BEHIND, seconds=GRACE, work=work)
