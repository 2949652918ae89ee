"""What an expiry worker does with events: it makes deadlines, and counts. It never decides by an event alone."""

from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import (
    ConflictResolved,
    ContextMerged,
    DataSet,
    ExpiryStepTaken,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    ReactionChanged,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    SessionUnblocked,
    StateChanged,
)
from agentbus.contracts.ids import SessionId
from agentbus.workers.concurrency import in_turn, side_by_side
from agentbus.workers.expiry.rules import RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.reactive.coalescer import Coalescer
from agentbus.workers.reactive.handler import Handler

_OF_CONTEXT: Final = (DataSet, MetadataSet, ContextMerged, ConflictResolved)
TOPICS: Final = (
    *(
        f"session.{kind.topic}.*"
        for kind in (
            SessionStarted,
            StateChanged,
            ProfileChanged,
            SessionDeleted,
            SessionRestored,
            ExpiryStepTaken,
            SessionUnblocked,
            *_OF_CONTEXT,
            MessageEdited,
            MessageDeleted,
            ReactionChanged,
        )
    ),
    "session.message.*",
    "session.reply.*",
    "session.copied.*",
)
_TOGETHER: Final = 500


class ExpiryHandler(Handler):
    """Looks at the sessions to which something happened that may bring a deadline nearer.

    A message does so only for rules that count them, and not before there can be enough: otherwise it moves deadlines
    away, which is found out when they come due. Data and metadata do so for conditions of somebody's own alone. Where a
    rule ends no session, whatever happens after its last step does.
    """

    def __init__(self, book: RuleBook, deadlines: Deadlines, figures: StatisticsRecorder) -> None:
        self._book = book
        self._figures = figures
        self._looking = Coalescer[SessionId](deadlines.look_at, most=_TOGETHER)
        self._returning = Coalescer[SessionId](deadlines.look_at_returned, most=_TOGETHER)

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._looking.close, self._returning.close)

    async def handle(self, event: EventEnvelope) -> None:
        data = event.data
        match data:
            case MessageAppended():
                least = self._book.least_messages
                await self._look(data.session_id, sure=least is not None and data.sequence >= least)
            case DataSet() | MetadataSet() | ContextMerged() | ConflictResolved():
                await self._look(data.session_id, sure=self._book.custom)
            case MessageEdited() | MessageDeleted() | ReactionChanged():
                await self._look(data.session_id, sure=False)
            case ExpiryStepTaken():
                session = data.earlier or data.session_id
                await side_by_side((self._figures.step(data), self._looking.do(session)))
            case SessionDeleted():
                await self._looking.do(data.deleted)
            case SessionRestored():
                await self._looking.do(data.restored)
            case _:
                await self._looking.do(data.session_id)

    async def _look(self, session: SessionId, *, sure: bool) -> None:
        """Look at a session in which something happened, if a deadline may come nearer by it."""
        if sure:
            await self._looking.do(session)
        elif self._book.returning:
            await self._returning.do(session)
