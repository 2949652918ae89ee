"""Doing together what many ask for at the same time: one bulk call in place of many small ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from agentbus.workers.concurrency import ended, still_wanted

Item = TypeVar("Item")


class Coalescer(Generic[Item]):
    """Gives `work` all items that were asked for since its last call, `most` at a time; never waits for more."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[None]], *, most: int) -> None:
        self._work = work
        self._most = most
        self._asked: dict[Item, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> None:
        """Return once a call of `work` that was begun after this one was done with `item`. Raises what it raised."""
        done = self._asked.get(item)
        if done is None:
            done = self._asked[item] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await asyncio.shield(done)

    async def close(self) -> None:
        """Stop: who waits is told that it was cancelled. Idempotent."""
        try:
            await ended({self._task} if self._task else ())
        finally:
            for done in self._asked.values():
                done.cancel()
            self._asked.clear()

    async def _run(self) -> None:
        await asyncio.sleep(0)  # let those who ask in the same moment come along
        while self._asked:
            batch = {item: self._asked.pop(item) for item in list(self._asked)[: self._most]}
            try:
                await still_wanted(self._work(list(batch)))
            except asyncio.CancelledError:
                for done in batch.values():
                    done.cancel()
                raise
            except Exception as error:
                for done in batch.values():
                    done.set_exception(error)
                    done.exception()  # read, should everyone who waited be gone
            else:
                for done in batch.values():
                    if not done.done():
                        done.set_result(None)
