"""Settling: heads that all can read become durable, those of many rounds together, before inputs are acknowledged."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying

GATHERING: Final = 0.25
"""Seconds for which rounds gather: what is not acknowledged by then comes again after a crash, and is known."""
HASTE: Final = 0.05
"""Seconds for which they gather while somebody waits for their end."""

_CLOSED: Final = "the worker was closed before the heads were flushed"


class _Group:
    """The heads of the rounds that wait for the same flush."""

    def __init__(self) -> None:
        self.heads: dict[SessionId, SessionState] = {}
        self.inputs = 0
        self.is_over = asyncio.Event()
        self.error: Exception | None = None

    def add(self, heads: Sequence[SessionState], inputs: int) -> None:
        for head in heads:
            known = self.heads.get(head.session_id)
            if known is None or known.version < head.version:
                self.heads[head.session_id] = head
        self.inputs += inputs

    def fail(self, error: Exception) -> None:
        """Let nobody wait any more for what is not over."""
        if not self.is_over.is_set():
            self.error = error
            self.is_over.set()


class HeadsFlush:
    """Flushes heads for who waits: one flush is under way at a time, and meanwhile the next ones gather.

    They gather until `enough` inputs wait for it, of those that a partition has room for before it gets no more, or for
    `GATHERING` seconds; for `HASTE` seconds where `in_haste` says so.
    """

    def __init__(self, store: Store, *, enough: int, in_haste: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._enough = enough
        self._in_haste = in_haste
        self._since = 0.0  # when the first of a group began to wait, by the loop's clock
        self._group = _Group()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def durable(self, heads: Sequence[SessionState], *, inputs: int, at_once: bool = False) -> None:
        """Return once `heads`, which the store has, are durable, waiting store outages out.

        They are what so many `inputs` left; `at_once`, nobody else is waited for. Raises what a flush fails with
        otherwise; StoreUnavailable once it is closed.
        """
        if not heads or not self._store.heads.flushes:
            return
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        group = self._group
        group.add(heads, self._enough if at_once else inputs)
        self._look()
        await group.is_over.wait()
        if group.error is not None:
            raise group.error

    async def close(self) -> None:
        """Stop, in the middle of it if need be. Idempotent."""
        self._closed = True
        self._stop_waiting()
        self._group.fail(StoreUnavailable(_CLOSED))
        if self._task is not None:
            await ended({self._task})

    def _look(self) -> None:
        """Flush if it is time to."""
        if self._closed or self._task is not None or not self._group.inputs:
            return
        if self._group.inputs >= self._enough:
            self._begin()
        elif self._timer is None:
            self._since = asyncio.get_running_loop().time()
            self._wait()

    def _wait(self) -> None:
        """Look again soon: somebody may have come to wait by then."""
        self._timer = asyncio.get_running_loop().call_later(HASTE, self._look_again)

    def _look_again(self) -> None:
        if self._in_haste() or asyncio.get_running_loop().time() - self._since + HASTE / 2 > GATHERING:
            self._begin()
        else:
            self._wait()

    def _begin(self) -> None:
        self._stop_waiting()
        group, self._group = self._group, _Group()
        self._task = asyncio.create_task(self._flush(group), name="flush heads")
        self._task.add_done_callback(partial(self._next, group))

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self, group: _Group, _: "asyncio.Task[None]") -> None:
        group.fail(StoreUnavailable(_CLOSED))  # unless it is over: one that was cancelled may not even have begun
        self._task = None
        self._look()

    async def _flush(self, group: _Group) -> None:
        try:
            await keep_trying("flush heads", self._store.heads.flush, list(group.heads.values()))
        except Exception as error:  # whatever it is: it is raised where it is waited for
            raise_if_cancelled()
            group.error = error
        group.is_over.set()
