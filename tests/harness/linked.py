"""Linked sessions for tests of what they share: conversations, stamps, entries, and commands carried out at once."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import count

from pydantic import JsonValue

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import AnyCommand, CreateSession, LinkIdentity, MergeContext, SetData
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.ids import ConversationId, InputId, digest_of, session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp, next_stamp
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncOperation
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from tests.harness.conversations import NOW, address

ANN = "ann"
"""The identity that all are linked to."""

_numbers = count(1)


def conversation(name: str) -> ConversationId:
    return ConversationId(digest_of(("linked", name)))


def stamp(seconds: float, name: str = "slack") -> Stamp:
    """Return a stamp so many seconds after NOW, written in the conversation `name`; a platform's name is its own."""
    platform = name if name in set(Platform) else "telegram"
    return next_stamp(None, NOW + timedelta(seconds=seconds), platform, conversation(name))


def entry(field: str, value: JsonValue, at: Stamp, base: Stamp | None = None) -> Entry:
    return Entry(field=field, value=value, stamp=at, base=base)


def gone(field: str, at: Stamp, base: Stamp | None = None) -> Entry:
    return Entry(field=field, removed=True, stamp=at, base=base)


def events_of(
    state: SessionState, data: InboundMessage | AnyCommand, now: datetime = NOW, input_id: str | None = None
) -> tuple[AnyEvent, ...]:
    return decide(state, Input(InputId(input_id or f"linked-{next(_numbers)}"), data), now)


def step(
    state: SessionState, data: InboundMessage | AnyCommand, now: datetime = NOW, input_id: str | None = None
) -> SessionState:
    """Return the state that an input leaves; the same one if nothing happens."""
    given = InputId(input_id or f"linked-{next(_numbers)}")
    events = decide(state, Input(given, data), now)
    return after(state, events, given) if events else state


def after(state: SessionState, events: Iterable[AnyEvent], *inputs: InputId) -> SessionState:
    """Return the state that a commit of `events` leaves, read back as it would be from a store."""
    commit = Commit(
        conversation_id=state.conversation_id, version=state.version + 1, at=NOW, inputs=inputs, events=tuple(events)
    )
    return heads_after(state, Commit.model_validate_json(commit.model_dump_json()))[-1]


def linked(name: str = "web", data: dict[str, JsonValue] | None = None, *, at: float = 0) -> SessionState:
    """Return a live session of a linked conversation, with data that was written `at` seconds after NOW."""
    platform = Platform(name) if name in set(Platform) else Platform.TELEGRAM
    state = SessionState.empty(conversation(name))
    now = NOW + timedelta(seconds=at)
    state = step(state, CreateSession(address=address(platform=platform)), now)
    state = step(state, LinkIdentity(identity=ANN), now)
    return step(state, SetData(values=data), now) if data else state


def merge(
    *entries: Entry,
    strategy: ConflictStrategy = ConflictStrategy.LATEST_WINS,
    source: str = "slack",
    priority: tuple[Platform, ...] = (),
    operations: Iterable[SyncOperation] = tuple(SyncOperation),
) -> MergeContext:
    return MergeContext(
        identity=ANN,
        source=session_id_for(conversation(source), 1),
        strategy=strategy,
        priority=priority,
        operations=frozenset(operations),
        entries=entries,
    )


def context(state: SessionState) -> tuple[dict[str, JsonValue], dict[str, JsonValue], dict[str, Stamp]]:
    """Return what merges are about."""
    return state.data, state.metadata, state.stamps
