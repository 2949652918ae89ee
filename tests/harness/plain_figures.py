"""Figures of how sessions are used, counted from whole logs in the plainest way: what tracking's own are held against.

Nothing of `agentbus.workers.domain.tracking` is used: lists are read over and over in place of marks that are kept.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    MessageAppended,
    SessionClosed,
    SessionDeleted,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import SessionMessage, TextContent
from agentbus.contracts.records import RecordKind
from agentbus.storage.port import Store

MINUTE: Final = timedelta(minutes=1)

Hour = tuple[str, str]
"""A conversation, and an hour in UTC such as 2026-03-01T12."""


@dataclass(eq=False)
class Figures:
    """What logs come to."""

    hours: dict[Hour, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sessions: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """What each session used."""
    endings: dict[str, str | None] = field(default_factory=dict)
    """How each ended."""

    def as_dict(self) -> dict[str, Any]:
        """Return them without what is nothing."""
        hours = {hour: dict(+counts) for hour, counts in self.hours.items() if +counts}
        sessions = {session: dict(+counts) for session, counts in self.sessions.items() if +counts}
        return {"hours": hours, "sessions": sessions, "endings": self.endings}


def plain_figures(logs: Mapping[ConversationId, Iterable[Commit]]) -> Figures:
    """Count whole logs, from which nothing was taken out."""
    figures = Figures()
    for conversation, log in logs.items():
        events = [event for commit in log for event in commit.events]
        _count_messages(figures, conversation, events)
        _count_lives(figures, conversation, events)
    return figures


def _note(figures: Figures, conversation: str, at: datetime, session: str, *names: str, by: int = 1) -> None:
    for name in names:
        figures.hours[conversation, f"{at.astimezone(UTC):%Y-%m-%dT%H}"][name] += by
        figures.sessions[session][name] += by


def _count_lives(figures: Figures, conversation: str, events: Sequence[AnyEvent]) -> None:
    began: dict[str, datetime] = {}
    over: set[str] = set()
    for event in events:
        session, at = event.session_id, event.at
        topic = event.routing_key.split(".")[1]
        sent = event.message.sent_at if isinstance(event, MessageAppended) and event.source is None else at
        _note(figures, conversation, sent, session, f"event.{topic}")
        if isinstance(event, SessionStarted):
            began[session] = at
            figures.endings[session] = None
            _note(figures, conversation, at, session, "starts")
        if isinstance(event, StateChanged):
            _note(figures, conversation, at, session, f"state.{event.status}")
        ending = _ending(event)
        if ending and session not in over:
            over.add(session)
            figures.endings[session] = ending
            lasted = max(timedelta(), at - began[session]) // timedelta(milliseconds=1)
            _note(figures, conversation, at, session, f"end.{ending}")
            _note(figures, conversation, at, session, "lasted.ms", by=lasted)


def _ending(event: AnyEvent) -> str | None:
    match event:
        case StateChanged() if event.previous.is_live and not event.status.is_live:
            return event.status.value
        case SessionClosed():
            return event.why.value
        case SessionDeleted() if event.deleted == event.session_id:
            return "deleted"
        case _:
            return None


def _count_messages(figures: Figures, conversation: str, events: Sequence[AnyEvent]) -> None:
    """Count who said what, and who waited for whom; of waits how often and how long in all."""
    own = [event for event in events if isinstance(event, MessageAppended) and event.source is None]
    said = [(event.session_id, event.message) for event in own]
    for number, (session, message) in enumerate(said):
        earlier = said[:number]
        names = (f"message.{message.role}", f"type.{message.content.kind}")
        _note(figures, conversation, message.sent_at, session, *names)
        length = len(message.content.text) if isinstance(message.content, TextContent) else 0
        _note(figures, conversation, message.sent_at, session, f"characters.{message.role}", by=length)
        here = [one for named, one in earlier if named == session]
        if message.role == "user":
            _count_question(figures, conversation, session, message, earlier)
        elif message.role == "assistant" and (asked := _unanswered(here)):
            waited = _milliseconds(asked[0].sent_at, message.sent_at)
            first = not any(_answers(here))
            for name in ("reply", "first") if first else ("reply",):
                _note(figures, conversation, message.sent_at, session, f"{name}.ms", by=waited)
            _note(figures, conversation, asked[0].sent_at, session, "answered")


def _count_question(
    figures: Figures,
    conversation: str,
    session: str,
    message: SessionMessage,
    earlier: Sequence[tuple[str, SessionMessage]],
) -> None:
    at, here = message.sent_at, [one for named, one in earlier if named == session]
    heard = [one.sent_at for _, one in earlier if one.role == "user"]
    if not heard:
        _note(figures, conversation, at, session, "new")
    elif hours := max(timedelta(), at - max(heard)) // timedelta(hours=1):
        _note(figures, conversation, at, session, f"return.{min(hours, 24 * 90)}")
    if not _unanswered(here):
        _note(figures, conversation, at, session, "asked")
    if here and here[-1].role == "assistant":
        since = _tail(here, "assistant")[0].sent_at
        _note(figures, conversation, at, session, "back.ms", by=_milliseconds(since, at))
    if _run(message, earlier) == 5:
        _note(figures, conversation, at, session, "bursts")


def _run(message: SessionMessage, earlier: Sequence[tuple[str, SessionMessage]]) -> int:
    """Return how many messages of the person's, with nobody between, came each within a minute of the latest before."""
    run, at = 1, message.sent_at
    before = [one for _, one in earlier]
    while before and before[-1].role == "user":
        latest = max(one.sent_at for one in before if one.role == "user")
        if abs(at - latest) > MINUTE:
            break
        run, at = run + 1, before[-1].sent_at
        before.pop()
    return run


def _tail(said: Sequence[SessionMessage], role: str) -> list[SessionMessage]:
    """Return the last messages, those of one side alone."""
    tail: list[SessionMessage] = []
    for one in reversed(said):
        if one.role != role:
            break
        tail.insert(0, one)
    return tail


def _unanswered(here: Sequence[SessionMessage]) -> list[SessionMessage]:
    """Return the person's messages that nobody has answered yet."""
    return _tail(here, "user")


def _answers(here: Sequence[SessionMessage]) -> Iterable[bool]:
    """Yield for each answer whether somebody had asked."""
    for number, one in enumerate(here):
        if one.role == "assistant":
            yield bool(_unanswered(here[:number]))


def _milliseconds(start: datetime, end: datetime) -> int:
    return max(timedelta(), end - start) // timedelta(milliseconds=1)


async def kept_figures(store: Store) -> Figures:
    """Return the figures that tracking keeps, as far as the plain ones have them: no steps of waits."""
    figures = Figures()
    async for record in _records(store, RecordKind.ROLLUP):
        conversation = record.key.partition("/")[0]
        data: Any = record.data
        for hour, counts in data.items():
            at = datetime.fromtimestamp(int(hour) * 3600, UTC)
            figures.hours[conversation, f"{at:%Y-%m-%dT%H}"].update(_plain(counts))
    async for record in _records(store, RecordKind.USAGE):
        used: Any = record.data
        if used:
            figures.sessions[record.key] = Counter(_plain(used["counts"]))
            figures.endings[record.key] = used.get("ending")
    return figures


def _plain(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        name: count
        for name, count in counts.items()
        if not (name.startswith(("reply.", "first.", "back.")) and not name.endswith(".ms"))
    }


async def _records(store: Store, kind: RecordKind) -> AsyncIterator[Any]:
    cursor: str | None = None
    while True:
        page = await store.records.scan(kind, limit=200, cursor=cursor)
        for record in page.items:
            yield record
        cursor = page.cursor
        if cursor is None:
            return
