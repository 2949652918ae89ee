"""Measuring appends: every store and every length of history in turn, so that all see the machine equally busy.

A message costs what a session worker does for it when nothing else is going on: one commit appended, and the head that
it leaves saved. Histories have a commit a message, written in large batches.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final, TypeVar
from unittest.mock import patch

from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.messages import Role, SessionMessage, message_key_for
from agentbus.contracts.session import RECENT_INPUTS, SessionState, SessionStatus
from agentbus.storage.factory import open_store
from agentbus.storage.files import FileStore
from agentbus.storage.port import Store
from tests.benchmarks.messages import envelope_of, message_of
from tests.harness.program import say
from tests.harness.stores import empty_store

Something = TypeVar("Something")

LIMIT: Final = 1.3
"""How many times as dear a message may be in the longest history as in the shortest."""

BLOCK: Final = 10
"""Messages that are measured together."""

_BATCH: Final = 500

Costs = dict[str, dict[int, list[float]]]
"""Milliseconds per message of each block, by kind of store and messages that its session began with."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    lengths: tuple[int, ...]
    """Messages that a session has already, the fewest first."""
    rounds: int
    """Blocks measured of each length on each store."""


FULL: Final = Sizes((100, 10_000, 100_000), rounds=40)
QUICK: Final = Sizes((100, 1_000, 10_000), rounds=10)


async def measure(kinds: Sequence[str], sizes: Sizes, folder: Path) -> tuple[Costs, dict[str, str]]:
    """Measure appends to stores of all kinds, each an empty one; return the costs, and the stores' versions."""
    async with AsyncExitStack() as stack:
        stores: dict[str, Store] = {}
        for kind in kinds:
            url = stack.enter_context(empty_store(kind, folder))
            stores[kind] = await stack.enter_async_context(open_store(url))
        talks: dict[str, list[Talk]] = {}
        for kind, store in stores.items():
            say(f"appends: {kind}: histories of {' and '.join(f'{length:,}' for length in sizes.lengths[1:])} ...")
            talks[kind] = [await _reached(store, length) for length in sizes.lengths[1:]]
        versions = {kind: (await store.info()).version for kind, store in stores.items()}
        costs: Costs = {kind: {length: [] for length in sizes.lengths} for kind in kinds}
        for number in range(sizes.rounds):
            for kind in _turned(kinds, number):
                # A short history would soon be a longer one: each block has a new one.
                short = await _reached(stores[kind], sizes.lengths[0])
                for length, talk in _turned(list(zip(sizes.lengths, (short, *talks[kind]), strict=True)), number):
                    costs[kind][length].append(await talk.cost(BLOCK))
        return costs, versions


def medians(costs: Costs) -> dict[str, dict[int, float]]:
    """Return the median cost of a message, in ms, by kind of store and length."""
    return {kind: {length: median(blocks) for length, blocks in found.items()} for kind, found in costs.items()}


def growth(costs: Mapping[int, float]) -> float:
    """Return how many times as dear a message is in the longest history as in the shortest."""
    return costs[max(costs)] / costs[min(costs)]


_users = count(1)


class Talk:
    """A session and what is said in it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._user = f"user-{next(_users)}"
        self._conversation, _ = envelope_of(self._user, 1)
        self._said = 0
        self._recent: deque[InputId] = deque(maxlen=RECENT_INPUTS)

    async def reach(self, length: int) -> None:
        """Let it have so many messages."""
        with _unsynced(self._store):
            while self._said < length:
                commits = [self._say() for _ in range(min(_BATCH, length - self._said))]
                assert not any(await self._store.log.append(commits))
            await self._store.heads.save([self._head()])

    async def cost(self, messages: int) -> float:
        """Say so many messages more, one after the other; return what one costs, in ms."""
        ready = [(self._say(), self._head()) for _ in range(messages)]
        begun = perf_counter()
        for commit, head in ready:
            assert await self._store.log.append([commit]) == [None]
            assert await self._store.heads.save([head]) == [None]
        return 1000 * (perf_counter() - begun) / messages

    def _say(self) -> Commit:
        """Return the commit of one more message."""
        self._said += 1
        said = message_of(self._user, self._said)
        self._recent.append(said.input_id())
        message = SessionMessage(
            key=message_key_for(said.address, said.message_id),
            message_id=said.message_id,
            role=Role.USER,
            address=said.address,
            author=said.sender_name,
            sent_at=said.sent_at,
            content=said.content,
        )
        event = MessageAppended(
            session_id=session_id_for(self._conversation, 1),
            sequence=self._said,
            at=said.sent_at,
            cause=said.input_id(),
            platform=said.address.platform,
            message=message,
        )
        return Commit(
            conversation_id=self._conversation,
            version=self._said,
            epoch=1,
            at=said.sent_at,
            inputs=(said.input_id(),),
            events=(event,),
        )

    def _head(self) -> SessionState:
        """Return the session as the last message left it."""
        last = message_of(self._user, self._said)
        return SessionState(
            conversation_id=self._conversation,
            generation=1,
            version=self._said,
            epoch=1,
            sequence=self._said,
            first_version=1,
            status=SessionStatus.ACTIVE,
            address=last.address,
            message_count=self._said,
            created_at=last.sent_at,
            last_activity=last.sent_at,
            recent_inputs=tuple(self._recent),
        )


async def _reached(store: Store, length: int) -> Talk:
    talk = Talk(store)
    await talk.reach(length)
    return talk


@contextmanager
def _unsynced(store: Store) -> Iterator[None]:
    """Let a store of files, where each commit waits for the disk by itself, wait for the disk at the end alone."""
    if not isinstance(store, FileStore):
        yield
        return
    with patch.object(store._folder.disk, "sync", lambda _: None):
        yield
    os.sync()


def _turned(what: Sequence[Something], number: int) -> Sequence[Something]:
    """Return them beginning with another one each time."""
    first = number % len(what)
    return [*what[first:], *what[:first]]
