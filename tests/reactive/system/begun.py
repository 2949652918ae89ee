"""Conversations that have begun already: made by the state machine itself, written to the store in bulk."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from agentbus.contracts.address import Address, Scope, conversation_id_for
from agentbus.contracts.commands import AnyCommand
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import evolve, replay
from agentbus.workers.patience import Patience
from tests.harness.patience import PATIENCE

SCOPE: Final = Scope.PER_CHAT_USER

_AT_ONCE: Final = 500
READS: Final = 32
"""Reads of the store at a time, by whoever looks on."""

_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=PATIENCE, longest_wait=2)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Begun:
    """A conversation after its first commit."""

    address: Address
    commit: Commit
    head: SessionState

    @property
    def conversation(self) -> ConversationId:
        """Its id."""
        return self.commit.conversation_id


def a_message(address: Address, name: str, at: datetime) -> InboundMessage:
    """Return a message of a platform's user; `name` is its id and its text."""
    return InboundMessage(address=address, message_id=name, sent_at=at, content=TextContent(text=name))


def begun(address: Address, at: datetime, *commands: AnyCommand) -> Begun:
    """Return a conversation that began with a message at `at`, and in which `commands` were carried out then."""
    conversation = conversation_id_for(address, SCOPE)
    empty = state = SessionState.empty(conversation)
    happened: list[AnyEvent] = []
    first = a_message(address, "first", at)
    inputs = [Input(first.input_id(), first)]
    inputs += [Input(InputId(f"{conversation}-{number}"), command) for number, command in enumerate(commands)]
    for given in inputs:
        events = decide(state, given, at)
        for event in events:
            state = evolve(state, event)
        happened += events
    commit = Commit(
        conversation_id=conversation,
        version=1,
        at=at,
        inputs=tuple(given.id for given in inputs),
        events=tuple(happened),
    )
    return Begun(address, commit, replay(empty, [commit]))


async def write_begun(store: Store, conversations: Sequence[Begun]) -> None:
    """Write conversations to the store, as their owners would have."""
    for some in in_parts(conversations, _AT_ONCE):
        refused = [error for error in await store.log.append([one.commit for one in some]) if error]
        if refused:
            raise refused[0]
        await store.heads.save([one.head for one in some])


async def announce_begun(bus: Bus, conversations: Sequence[Begun]) -> None:
    """Announce what happened in conversations, as their owners would have."""
    for some in in_parts(conversations, _AT_ONCE):
        envelopes = [EventEnvelope.of(event) for one in some for event in one.commit.events]
        messages = [(one.data.routing_key, Message(body=one.to_bytes(), message_id=one.id)) for one in envelopes]
        for error in await bus.publish_many(bus.topology.events, messages, mandatory=False):
            if error:
                raise error


async def states_of(store: Store, conversations: Collection[ConversationId]) -> dict[ConversationId, SessionState]:
    """Return the latest state of conversations, by head and log."""
    states: dict[ConversationId, SessionState] = {}
    for some in in_parts(list(conversations), _AT_ONCE):
        for conversation, kept in (await store.log.load(some)).items():
            states[conversation] = replay(kept.head or SessionState.empty(conversation), kept.commits)
    return states


async def patiently(call: Callable[[], Awaitable[Item]]) -> Item:
    """Read something of the store; again if it does not answer in its time, as workers do on a busy machine."""
    return await _PATIENCE.call(call)


async def logs_of(store: Store, conversations: Collection[ConversationId]) -> dict[ConversationId, list[Commit]]:
    """Return the whole logs of conversations."""

    async def log(conversation: ConversationId) -> list[Commit]:
        return [commit async for commit in iter_log(store, conversation)]

    logs: dict[ConversationId, list[Commit]] = {}
    for some in in_parts(list(conversations), READS):
        found = await asyncio.gather(*(patiently(partial(log, one)) for one in some))
        logs.update(zip(some, found, strict=True))
    return logs


def in_parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield `items` in pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
