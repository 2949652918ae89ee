"""People with linked conversations, who change things in all of them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import LinkIdentity, SetData
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.events import ContextMerged
from agentbus.contracts.ids import ConversationId, InputId, conversation_of
from agentbus.contracts.session import SessionState
from tests.reactive.system.begun import Begun, begun, states_of, write_begun
from tests.reactive.system.stage import Stage

LINKED: Final = 5
"""Linked conversations of each identity."""
PLATFORMS: Final = (Platform.TELEGRAM, Platform.SLACK, Platform.DISCORD, Platform.WHATSAPP, Platform.WEB)

_ALL_KEYS: Final = 6


@dataclass(frozen=True, slots=True)
class Person:
    """An identity and its linked conversations."""

    identity: str
    members: tuple[Begun, ...]


@dataclass(slots=True)
class Change:
    """A change that was published."""

    number: int
    identity: str
    member: ConversationId
    at: float
    """When, by the monotonic clock."""
    seen: dict[ConversationId, float] = field(default_factory=dict)
    """By linked conversation: when it was announced that it has the change too."""


async def people(stage: Stage, count: int) -> list[Person]:
    """Write so many identities with their conversations to the store."""
    at = datetime.now(UTC)
    made = [_person(number, at) for number in range(count)]
    await write_begun(stage.store, [member for person in made for member in person.members])
    return made


def _person(number: int, at: datetime) -> Person:
    identity = f"person-{number}"
    link = LinkIdentity(identity=identity)
    addresses = (Address(platform=platform, chat=identity, user=identity) for platform in PLATFORMS)
    return Person(identity, tuple(begun(address, at, link) for address in addresses))


class Changes:
    """Changes of random fields of random members at a steady rate."""

    def __init__(self, stage: Stage, everybody: Sequence[Person]) -> None:
        self._stage = stage
        self._everybody = everybody
        self.made: dict[int, Change] = {}

    async def publish(self, *, rate: float, seconds: float, plain: bool = False) -> None:
        """Publish `rate` changes a second. `plain`: each sets one key to its number, removes and nests nothing."""
        begun_at = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, begun_at + number / rate - time.monotonic()))
            person = self._stage.random.choice(self._everybody)
            member = self._stage.random.choice(person.members)
            command = _plain(member, number) if plain else self._any(member, number)
            self.made[number] = Change(number, person.identity, member.conversation, time.monotonic())
            under_way.add(asyncio.create_task(self._stage.commands.give([Input(InputId(f"change-{number}"), command)])))
            for task in [task for task in under_way if task.done()]:
                under_way.remove(task)
                task.result()
        await asyncio.gather(*under_way)

    def _any(self, member: Begun, number: int) -> SetData:
        random = self._stage.random
        keys = random.sample([f"key{key}" for key in range(_ALL_KEYS)], k=random.randint(1, 2))
        if random.random() < 0.2:
            return SetData(address=member.address, remove=tuple(keys))
        return SetData(address=member.address, values={key: self._value(number) for key in keys})

    def _value(self, number: int) -> Any:
        random = self._stage.random
        if random.random() < 0.5:
            return number
        return dict.fromkeys(random.sample(["left", "right", "middle"], k=random.randint(1, 3)), number)

    def note(self, events: Iterable[EventEnvelope], times: Iterable[float]) -> None:
        """Note by recorded events which plain changes arrived where."""
        for event, at in zip(events, times, strict=True):
            if isinstance(event.data, ContextMerged):
                for entry in event.data.applied:
                    if isinstance(entry.value, int):
                        self.made[entry.value].seen.setdefault(conversation_of(event.data.session_id), at)


def _plain(member: Begun, number: int) -> SetData:
    return SetData(address=member.address, values={"latest": number})


def merges_in(events: Iterable[EventEnvelope]) -> dict[str, int]:
    """Return how many merges were announced, by identity; a repeated announcement counts once."""
    found: dict[str, set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event.data, ContextMerged):
            found[event.data.identity or ""].add(event.id)
    return {identity: len(ids) for identity, ids in found.items()}


async def differing(stage: Stage, everybody: Collection[Person]) -> list[str]:
    """Return the identities whose conversations do not all have the same data and stamps."""
    states = await states_of(stage.store, [one.conversation for person in everybody for one in person.members])
    return [
        person.identity
        for person in everybody
        if any(
            _shared(states[one.conversation]) != _shared(states[person.members[0].conversation])
            for one in person.members
        )
    ]


async def all_alike(stage: Stage, everybody: Collection[Person]) -> bool:
    """Whether there is none of those."""
    return not await differing(stage, everybody)


def _shared(state: SessionState) -> tuple[object, ...]:
    return state.data, state.stamps
