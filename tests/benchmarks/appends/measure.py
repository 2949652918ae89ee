"""Measuring appends: every store and every length of history in turn, so that all see the machine equally busy.

A message costs what a session worker does for it when nothing else is going on: one commit appended, and the head that
it leaves saved. Histories are written in large commits.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
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

BLOCK: Final = 50
"""Messages that are measured together."""

IN_ONE: Final = 100
"""Messages in each commit of a history: what is looked for when one more comes are its id and its version."""

Block = list[tuple[Commit, SessionState]]

Costs = dict[str, dict[int, list[float]]]
"""Milliseconds per message of each block, by kind of store and messages that its session began with."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    lengths: tuple[int, ...]
    """Messages that a session has already, the fewest first."""
    rounds: int
    """Blocks measured of each length on each store."""


FULL: Final = Sizes((100, 10_000, 100_000), rounds=20)
QUICK: Final = Sizes((100, 1_000, 10_000), rounds=10)


async def measure(kinds: Sequence[str], sizes: Sizes, folder: Path) -> tuple[Costs, dict[str, str]]:
    """Measure appends to stores of all kinds, each an empty one; return the costs, and the stores' versions."""
    async with AsyncExitStack() as stack:
        stores: dict[str, Store] = {}
        for kind in kinds:
            url = stack.enter_context(empty_store(kind, folder))
            stores[kind] = await stack.enter_async_context(open_store(url))
        versions = {kind: (await store.info()).version for kind, store in stores.items()}
        talks = {length: Talk() for length in sizes.lengths[1:]}
        for length, talk in talks.items():
            say(f"appends: a history of {length:,} on {', '.join(kinds)} ...")
            await talk.reach(length, list(stores.values()))
        costs: Costs = {kind: {length: [] for length in sizes.lengths} for kind in kinds}
        for number in range(sizes.rounds):
            # A short history would soon be a longer one: each round has a new one.
            talks[sizes.lengths[0]] = short = Talk()
            await short.reach(sizes.lengths[0], list(stores.values()))
            blocks = {length: talk.block() for length, talk in talks.items()}
            for kind in _turned(kinds, number):
                for length, block in _turned(list(blocks.items()), number):
                    costs[kind][length].append(await _cost(stores[kind], block))
        return costs, versions


def medians(costs: Costs) -> dict[str, dict[int, float]]:
    """Return the median cost of a message, in ms, by kind of store and length."""
    return {kind: {length: median(blocks) for length, blocks in found.items()} for kind, found in costs.items()}


def growth(costs: Mapping[int, list[float]]) -> float:
    """Return how many times as dear a message is in the longest history as in the shortest.

    The median of what it is in each round, where both were measured one beside the other.
    """
    return median(long / short for short, long in zip(costs[min(costs)], costs[max(costs)], strict=True))


_users = count(1)


class Talk:
    """A session and what is said in it, the same on all stores."""

    def __init__(self) -> None:
        self._user = f"user-{next(_users)}"
        self._conversation, _ = envelope_of(self._user, 1)
        self._said = 0
        self._version = 0
        self._recent: deque[InputId] = deque(maxlen=RECENT_INPUTS)

    async def reach(self, length: int, stores: Sequence[Store]) -> None:
        """Let it have so many messages in all of these stores."""
        with ExitStack() as unsynced:
            for store in stores:
                unsynced.enter_context(_unsynced(store))
            while self._said < length:
                commit = self._commit(min(IN_ONE, length - self._said))
                assert all(one == [None] for one in await asyncio.gather(*(s.log.append([commit]) for s in stores)))
            await asyncio.gather(*(store.heads.save([self._head()]) for store in stores))

    def block(self) -> Block:
        """Say BLOCK messages more, one after the other; return the commits with the heads that they leave."""
        return [(self._commit(1), self._head()) for _ in range(BLOCK)]

    def _commit(self, messages: int) -> Commit:
        """Return the commit of so many messages more."""
        events = [self._say() for _ in range(messages)]
        self._version += 1
        return Commit(
            conversation_id=self._conversation,
            version=self._version,
            epoch=1,
            at=events[-1].at,
            inputs=tuple(event.cause for event in events),
            events=tuple(events),
        )

    def _say(self) -> MessageAppended:
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
        return MessageAppended(
            session_id=session_id_for(self._conversation, 1),
            sequence=self._said,
            at=said.sent_at,
            cause=said.input_id(),
            platform=said.address.platform,
            message=message,
        )

    def _head(self) -> SessionState:
        """Return the session as the last message left it."""
        last = message_of(self._user, self._said)
        return SessionState(
            conversation_id=self._conversation,
            generation=1,
            version=self._version,
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


async def _cost(store: Store, block: Block) -> float:
    """Append a block's messages, one after the other; return what one costs, in ms."""
    begun = perf_counter()
    for commit, head in block:
        assert await store.log.append([commit]) == [None]
        assert await store.heads.save([head]) == [None]
    return 1000 * (perf_counter() - begun) / len(block)


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
