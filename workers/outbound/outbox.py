"""The outbox: which conversations have replies to send, as records; how far a reply is; and which wait for a decision.

Each record is made from the conversation as it is, and stands for all of its replies: the revision is its version, so
that what is put away as done is not what was asked for meanwhile.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from pydantic import Field

from agentbus.contracts.base import Announced, Id, Timestamp
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import MAX_PIECES, OutgoingReply, PlatformIds, ReplyId
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import read_as, tell, unless_damaged
from agentbus.storage.port import Loaded, Store
from agentbus.workers.delivery.trace_contexts import trace_of
from agentbus.workers.domain.evolve import replay
from agentbus.workers.domain.replies import waiting_replies

UNKNOWN_GROUP: Final = "unknown"
"""The group of the replies that wait for somebody to decide."""

_CAUSES: Final = "traces"
_MOST_CAUSES: Final = 1000
_AT_ONCE: Final = 200
"""Conversations that are loaded together."""

MOST_COUNTED: Final = 1000
"""Replies in doubt that are counted: each is read for it, and for somebody to look it is enough."""


class Progress(Announced):
    """How far a reply is: written before each message is sent, and after."""

    pieces: int = Field(ge=1, description="Messages that it was split into.")
    message_ids: PlatformIds = Field(default=(), description="Of those that the platform has.")
    begun_at: Timestamp | None = Field(default=None, description="When the next one was sent, if it may have been.")
    tries: int = Field(default=0, ge=0, description="How often that was tried, or asked about.")
    again: int = Field(default=0, ge=0, description="How often somebody had decided to send it again by then.")
    shown: Id | None = Field(default=None, description="The message that shows its beginning: it is edited.")
    change: int | None = Field(default=None, description="Of a reply that was sent: which change of it this is about.")
    doubled: bool = Field(default=False, description="One was sent again although it may have been sent before.")


class Outbox:
    """Reads conversations, and keeps what is known about their replies."""

    def __init__(self, store: Store, topology: Topology, clock: Clock) -> None:
        self._store = store
        self._topology = topology
        self._clock = clock
        self._causes: dict[ReplyId, str] = {}

    async def state_of(self, conversation: ConversationId) -> SessionState:
        """Return a conversation as its log tells it. Raises StoreDamaged."""
        loaded = await self._store.log.load([conversation])
        return _state(conversation, loaded[conversation])

    async def states_of(self, conversations: Collection[ConversationId]) -> Mapping[ConversationId, SessionState]:
        """Return many conversations as their logs tell them; one that is damaged is told, and left out."""
        found: dict[ConversationId, SessionState] = {}
        for chunk in chunks(list(dict.fromkeys(conversations)), _AT_ONCE):
            loaded = await self._store.log.load(chunk)
            for one in chunk:
                if damage := loaded[one].damage:
                    tell(damage)
                else:
                    found[one] = _state(one, loaded[one])
        return found

    async def look_at(self, conversations: Collection[ConversationId]) -> None:
        """Have the replies of those conversations sent that have some to send."""
        loaded = await self._store.log.load(conversations)
        states = (_state(one, loaded[one]) for one in conversations if not loaded[one].damage)
        await self.put(state for state in states if waiting_replies(state))

    async def put(self, states: Iterable[SessionState], *, at: datetime | None = None) -> None:
        """Have conversations looked at, now or at a moment."""
        records = [self._record(state, at or self._clock.now()) for state in states]
        if records:
            await self._store.records.put_many(records)

    def caused(self, reply: ReplyId, cause: str | None) -> None:
        """Remember for a while in which trace context a reply was asked for; records tell it to other instances."""
        if cause is None:
            return
        self._causes.pop(reply, None)
        self._causes[reply] = cause
        while len(self._causes) > _MOST_CAUSES:
            del self._causes[next(iter(self._causes))]

    def cause_of(self, reply: ReplyId) -> str | None:
        """Return in which trace context a reply was asked for, as far as that is known."""
        return self._causes.get(reply)

    def heard_of(self, record: Record) -> None:
        """Remember which trace contexts another instance's record tells of."""
        found = record.data.get(_CAUSES)
        for reply, cause in found.items() if isinstance(found, dict) else ():
            if reply not in self._causes and isinstance(cause, str) and trace_of(cause):
                self.caused(ReplyId(str(reply)), cause)

    async def done(self, state: SessionState) -> None:
        """Note that a conversation has nothing to send, unless something was asked for after this state of it."""
        await self._store.records.drop([self._record(state, self._clock.now())])

    async def progress(self, reply: ReplyId) -> Progress | None:
        """Return how far a reply is; None if nothing of it was sent yet."""
        record = await self._store.records.get(RecordKind.SENDING, reply)
        if record is None:
            return None
        # What can't be read may say that all of it was sent: a split that nobody makes lets somebody decide.
        return unless_damaged(record, _progress) or Progress(pieces=MAX_PIECES + 1, begun_at=record.created_at)

    async def note(self, reply: OutgoingReply, conversation: ConversationId, progress: Progress) -> None:
        """Keep how far a reply is."""
        record = Record(
            kind=RecordKind.SENDING,
            key=reply.reply_id,
            group=conversation,
            created_at=self._clock.now(),
            data=progress.model_dump(mode="json"),
        )
        await self._store.records.put(record)

    async def forget(self, reply: ReplyId) -> None:
        """Forget how far a reply is, and that somebody has to decide about it."""
        await self._store.records.delete(RecordKind.SENDING, reply)
        await self._store.records.delete(RecordKind.OUTBOX, reply)

    async def ask_somebody(self, reply: OutgoingReply, reason: str) -> None:
        """List a reply among those that wait for somebody to decide."""
        record = Record(
            kind=RecordKind.OUTBOX,
            key=reply.reply_id,
            group=UNKNOWN_GROUP,
            created_at=self._clock.now(),
            data={"reason": reason},
        )
        await self._store.records.put(record)

    async def in_doubt(self) -> int:
        """Return how many replies wait for somebody to decide; `MOST_COUNTED` for more."""
        return len((await self._store.records.page(RecordKind.OUTBOX, UNKNOWN_GROUP, limit=MOST_COUNTED)).items)

    def _record(self, state: SessionState, due_at: datetime) -> Record:
        conversation = state.conversation_id
        replies = (reply.reply_id for reply in waiting_replies(state))
        causes = {reply: self._causes[reply] for reply in replies if reply in self._causes}
        return Record(
            kind=RecordKind.OUTBOX,
            key=conversation,
            group=str(self._topology.partition_of(conversation)),
            created_at=self._clock.now(),
            data={_CAUSES: causes} if causes else {},
            revision=state.version,
            due_at=due_at,
        )


def _state(conversation: ConversationId, loaded: Loaded) -> SessionState:
    return replay(loaded.head or SessionState.empty(conversation), loaded.commits)


def _progress(record: Record) -> Progress:
    return read_as("how far a reply is", Progress.model_validate, record.data)
