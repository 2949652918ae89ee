"""The load: a seeded stream of chat messages, interleaved, in bursts and repeated, with a record of every attempt."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final, Protocol

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.errors import BusError
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.topology import Topology
from agentbus.testing import Published

_SENT_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_REMEMBERED: Final = 60
"""From how many of the latest messages one is chosen to be published again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the stream looks like."""

    rate: float = 120.0
    """Messages a second, if the broker takes them."""
    users_per_partition: int = 3
    burst: float = 0.3
    """The share of windows in which one user writes everything."""
    repeats: float = 0.1
    """The share of messages that are published again within the next few windows."""
    hot: float = 0.0
    """The share of messages that belong to one conversation."""


CALM: Final = Shape()


@dataclass(slots=True)
class Attempt:
    """One attempt to publish."""

    conversation: ConversationId | None
    input_id: InputId
    at: float
    confirmed: bool = False


class Publisher(Protocol):
    """Where the load goes: a client, or whatever takes its messages."""

    async def publish_many(self, messages: Sequence[InboundMessage], /) -> object:
        """Publish messages in their order; return once all are confirmed. Raises BusError: again, then."""


class Load:
    """Publishes until it is told to stop; what is not confirmed is published again, in its order.

    `sent_as` tells under which id an input arrives.
    """

    def __init__(
        self,
        client: Publisher,
        topology: Topology,
        shape: Shape,
        random: Random,
        *,
        sent_as: Callable[[InboundMessage], InputId] = InboundMessage.input_id,
    ) -> None:
        self._client = client
        self._sent_as = sent_as
        self._topology = topology
        self._shape = shape
        self._random = random
        self._users = _users(topology, shape.users_per_partition)
        self._numbers = iter(range(1, 1_000_000_000))
        self._latest: list[InboundMessage] = []
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.attempts: list[Attempt] = []
        self.first_at: dict[tuple[ConversationId, InputId], float] = {}
        self.messages: dict[tuple[ConversationId, InputId], InboundMessage] = {}

    @property
    def published(self) -> list[Published]:
        """Every attempt, for the checker."""
        return [Published(one.conversation, one.input_id, one.confirmed) for one in self.attempts]

    @property
    def users(self) -> Sequence[str]:
        """Everybody who writes."""
        return self._users

    @property
    def paused(self) -> asyncio.Lock:
        """While this is held, nothing is published but by whoever holds it."""
        return self._turn

    def start(self) -> None:
        """Begin to publish."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop after the window that is being published, however long that takes. Raises what ended the load."""
        if self._task is not None:
            async with self._turn:
                self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    async def cancel(self) -> None:
        """End it in the middle of whatever it does. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def say(self, text: str, *, partition: Partition | None = None) -> InboundMessage:
        """Publish one message out of turn, by a user whose conversation is in `partition`."""
        users = [user for user in self._users if partition in {None, self._partition(user)}]
        message = self._message(self._random.choice(users), text)
        async with self._turn:
            await self.publish([message])
        return message

    async def publish(self, messages: Sequence[InboundMessage]) -> None:
        """Publish messages until all are confirmed. Whoever calls this holds `paused`."""
        while True:
            attempts = [self._begin(message) for message in messages]
            try:
                await self._client.publish_many(messages)
            except BusError:
                continue
            for attempt in attempts:
                attempt.confirmed = True
            return

    def latest_of(self, partition: Partition, count: int) -> list[InboundMessage]:
        """Return the last `count` different messages that were published to a partition, oldest first."""
        mine = [key for key in self.messages if self._topology.partition_of(key[0]) == partition]
        return [self.messages[key] for key in mine[-count:]]

    def note_raw(self, input_id: str) -> None:
        """Record that something unreadable was published, and confirmed, under this id."""
        self.attempts.append(Attempt(None, InputId(input_id), time.monotonic(), confirmed=True))

    def _begin(self, message: InboundMessage) -> Attempt:
        now = time.monotonic()
        attempt = Attempt(conversation_id_for(message.address, Scope.PER_CHAT_USER), self._sent_as(message), now)
        assert attempt.conversation
        self.attempts.append(attempt)
        self.first_at.setdefault((attempt.conversation, attempt.input_id), now)
        self.messages[attempt.conversation, attempt.input_id] = message
        return attempt

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            window = self._window()
            async with self._turn:
                await self.publish(window)
            due = max(due + len(window) / self._shape.rate, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _window(self) -> list[InboundMessage]:
        size = self._random.randint(1, 15)
        single = self._random.choice(self._users) if self._random.random() < self._shape.burst else None
        window = [self._message(single or self._user()) for _ in range(size)]
        self._latest = (self._latest + window)[-_REMEMBERED:]
        again = sum(self._random.random() < self._shape.repeats for _ in window)
        for message in self._random.sample(self._latest, min(again, len(self._latest))):
            window.insert(self._random.randint(0, len(window)), message)
        return window

    def _user(self) -> str:
        return self._users[0] if self._random.random() < self._shape.hot else self._random.choice(self._users)

    def _message(self, user: str, text: str | None = None) -> InboundMessage:
        number = next(self._numbers)
        return InboundMessage(
            address=_address(user),
            message_id=str(number),
            sent_at=_SENT_AT,
            content=TextContent(text=text or f"message {number}"),
        )

    def _partition(self, user: str) -> Partition:
        return self._topology.partition_of(conversation_id_for(_address(user), Scope.PER_CHAT_USER))


def _address(user: str) -> Address:
    return Address(platform=Platform.CUSTOM, chat="lobby", user=user)


def _users(topology: Topology, per_partition: int) -> list[str]:
    """Return as many users for every partition."""
    found: dict[Partition, list[str]] = {partition: [] for partition in topology.all_partitions()}
    for number in range(1_000_000):
        user = f"user{number}"
        partition = topology.partition_of(conversation_id_for(_address(user), Scope.PER_CHAT_USER))
        if len(found[partition]) < per_partition:
            found[partition].append(user)
        if all(len(users) == per_partition for users in found.values()):
            break
    return [user for users in found.values() for user in users]
