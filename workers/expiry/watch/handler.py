"""What an expiry worker does with events: makes deadlines, counts, logs steps. It never decides by an event alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import (
    AnyEvent,
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
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.expiry.rules import RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.notify.notices import ExpiryNotice, default_notification_callback
from agentbus.workers.reactive.handler import BatchHandler

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


class ExpiryHandler(BatchHandler):
    """Looks at the sessions to which something happened that may bring a deadline nearer.

    A message does so only for rules that count them, and not before there can be enough: otherwise it moves deadlines
    away, which is found out when they come due. Data and metadata do so for conditions of somebody's own alone. Where a
    rule ends no session, whatever happens after its last step does.
    """

    def __init__(self, book: RuleBook, deadlines: Deadlines, figures: StatisticsRecorder) -> None:
        self._book = book
        self._deadlines = deadlines
        self._figures = figures

    async def handle_all(self, events: Sequence[EventEnvelope]) -> None:
        news = _News()
        for event in events:
            self._sort(news, event.data)
        news.returning -= news.looking
        await side_by_side(
            (
                self._deadlines.look_at(news.looking, stepped={one.earlier or one.session_id for one in news.steps}),
                self._deadlines.look_at_returned(news.returning),
                self._figures.steps(news.steps),
            )
        )
        for step in news.steps:
            await default_notification_callback(ExpiryNotice.of(step))

    def _sort(self, news: "_News", event: AnyEvent) -> None:
        """Note what an event is to be looked at for."""
        match event:
            case MessageAppended():
                least = self._book.least_messages
                self._look(news, event.session_id, sure=least is not None and event.sequence >= least)
            case DataSet() | MetadataSet() | ContextMerged() | ConflictResolved():
                self._look(news, event.session_id, sure=self._book.custom)
            case MessageEdited() | MessageDeleted() | ReactionChanged():
                self._look(news, event.session_id, sure=False)
            case ExpiryStepTaken():
                news.looking.add(event.earlier or event.session_id)
                news.steps.append(event)
            case SessionDeleted():
                news.looking.add(event.deleted)
            case SessionRestored():
                news.looking.add(event.restored)
            case _:
                news.looking.add(event.session_id)

    def _look(self, news: "_News", session: SessionId, *, sure: bool) -> None:
        """Have a session in which something happened looked at, if a deadline may come nearer by it."""
        if sure:
            news.looking.add(session)
        elif self._book.returning:
            news.returning.add(session)


@dataclass(slots=True)
class _News:
    """What events that came together are about."""

    looking: set[SessionId] = field(default_factory=set)
    returning: set[SessionId] = field(default_factory=set)
    steps: list[ExpiryStepTaken] = field(default_factory=list)
