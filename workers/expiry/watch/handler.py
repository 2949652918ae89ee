"""What an expiry worker does with events: it makes deadlines, and counts. It never decides by an event alone."""

from typing import Final

from contracts.envelope import EventEnvelope
from contracts.events import (
    ConflictResolved,
    ContextMerged,
    DataSet,
    ExpiryStepTaken,
    MessageAppended,
    MetadataSet,
    ProfileChanged,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    SessionUnblocked,
    StateChanged,
)
from contracts.ids import SessionId
from workers.endings import side_by_side
from workers.expiry.figures import Figures
from workers.expiry.rules import RuleBook
from workers.expiry.watch.deadlines import Deadlines
from workers.reactive.handling import Handler
from workers.reactive.together import Together

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
    away, which is found out when they come due. Data and metadata do so for conditions of somebody's own alone.
    """

    def __init__(self, book: RuleBook, deadlines: Deadlines, figures: Figures) -> None:
        self._book = book
        self._figures = figures
        self._looking = Together[SessionId](deadlines.look_at, most=_TOGETHER)

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._looking.close()

    async def handle(self, event: EventEnvelope) -> None:
        data = event.data
        match data:
            case MessageAppended():
                if self._book.least_messages is None or data.sequence < self._book.least_messages:
                    return
                await self._looking.do(data.session_id)
            case DataSet() | MetadataSet() | ContextMerged() | ConflictResolved():
                if self._book.custom:
                    await self._looking.do(data.session_id)
            case ExpiryStepTaken():
                session = data.earlier or data.session_id
                await side_by_side((self._figures.step(data), self._looking.do(session)))
            case SessionDeleted():
                await self._looking.do(data.deleted)
            case SessionRestored():
                await self._looking.do(data.restored)
            case _:
                await self._looking.do(data.session_id)
