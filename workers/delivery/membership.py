"""Membership: a heartbeat in the store, and who else lives."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Final

from agentbus.contracts.errors import StoreError
from agentbus.contracts.members import Member
from agentbus.storage.port import Store
from agentbus.workers.concurrency import ended, passing_over, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.outages import Trouble

SILENCE: Final = 3
"""How many times the ttl a worker may be unable to beat before it lets go of its partitions."""

_LAST_WORD: Final = 1.0
"""Seconds that telling the others may take: who hears nothing finds out by the ttl."""


class Membership:
    """Beats every `interval` seconds; whoever was silent for `ttl` seconds, by the store's clock, is taken for dead.

    After each beat `on_members` is called with those who live. A beat that fails is passed over at first: what is owned
    stays owned, as nothing can be committed meanwhile; the beating goes on, whatever it was that failed. After
    `SILENCE` x `ttl` seconds without a beat `on_silence` is called: perhaps it is this worker alone that lost the
    store. When the store is back, one beat is waited for before anything is changed, so that the others can be heard
    again.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        *,
        describe: Callable[[], Member],
        on_members: Callable[[list[Member]], Awaitable[None]],
        on_silence: Callable[[], Awaitable[None]],
        interval: float,
        ttl: float,
    ) -> None:
        self._store = store
        self._group = group
        self._describe = describe
        self._on_members = on_members
        self._on_silence = on_silence
        self._interval = interval
        self._ttl = ttl
        self._silent_since: float | None = None
        self._trouble = Trouble("heartbeat")
        self._task: asyncio.Task[None] | None = None

    @property
    def beating(self) -> bool:
        """Whether it has joined and goes on beating."""
        return self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Join, take up what is assigned, and go on beating."""
        await self._on_members(await keep_trying("join", self._beat))
        self._task = asyncio.create_task(self._run())

    async def announce(self) -> None:
        """Beat once, out of turn: something about this worker has changed. Fails silently, within a second."""
        with passing_over(StoreError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._beat()

    async def stop(self) -> None:
        """Stop beating; the worker stays a member until it leaves or its time runs out. Idempotent."""
        if self._task:
            await ended({self._task})
            self._task = None
        self._trouble.over()

    async def leave(self) -> None:
        """Tell the others at once instead of letting them wait. Fails silently, within a second."""
        with passing_over(StoreError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._store.members.leave(self._group, self._describe().worker_id)

    async def _beat(self) -> list[Member]:
        return await self._store.members.heartbeat(self._group, self._describe(), ttl=self._ttl)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._beat_in_turn()
            except Exception as error:
                raise_if_cancelled()
                self._trouble.failed(error)
                await self._missed()
            else:
                self._trouble.over()

    async def _beat_in_turn(self) -> None:
        members = await self._beat()
        was_silent, self._silent_since = self._silent_since is not None, None
        if not was_silent:
            await self._on_members(members)

    async def _missed(self) -> None:
        now = monotonic()
        if self._silent_since is None:
            self._silent_since = now
        elif now - self._silent_since > SILENCE * self._ttl:
            await self._on_silence()
            self._silent_since = inf
