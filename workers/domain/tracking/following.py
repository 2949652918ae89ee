"""Following a conversation's log: what each commit adds to the figures. Pure; the same log gives the same figures.

A message counts in the hour in which it was sent, be it years ago, as in an imported history; anything else in the
hour in which it was decided. What was copied from a linked session is counted there alone.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConversationErased,
    MessageAppended,
    ProfileChanged,
    SessionArchived,
    SessionClosed,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.ids import SessionId, generation_of
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.tracking import SessionEnding, Tracked, Usage
from agentbus.workers.domain.tracking.counters import (
    ANSWERED,
    ASKED,
    BURSTS,
    CHARACTERS,
    ENDS,
    EVENTS,
    LASTED,
    MESSAGES,
    NEW,
    RETURNS,
    STARTS,
    STATES,
    TYPES,
    Hours,
    Wait,
    day_of_hour,
    first_hour_of,
    hour_of,
    note_wait,
)

MOST_DAYS: Final = 10_000
"""Days that a conversation may have figures of, some 27 years: what says that it is of another counts as of the last.
The times of messages are what their senders say."""
BURST: Final = 5
"""Messages that make a burst."""
SOON: Final = timedelta(seconds=60)
"""A message within this time of the one before belongs to the same burst."""
LONGEST_SILENCE: Final = 24 * 90
"""Hours; longer ones count as so long."""
_HOUR: Final = timedelta(hours=1)


@dataclass(slots=True)
class Followed:
    """What following some commits came to."""

    tracked: Tracked
    parts: dict[int, list[tuple[int, Hours]]] = field(default_factory=lambda: defaultdict(list))
    """By day, then the figures of each commit under its version."""
    ledger: dict[SessionId, Usage] = field(default_factory=dict)
    """The sessions that something happened in, as the last commit leaves them."""
    erased: int = 0
    """The commit with which all before it became void; 0: none."""
    erased_sessions: int = 0
    """The sessions up to this generation are gone by it."""
    void_days: set[int] = field(default_factory=set)
    """Days that had figures which are void."""


def follow(tracked: Tracked, commits: Iterable[Commit]) -> Followed:
    """Follow commits, of versions that come after `tracked`, in their order."""
    followed = Followed(tracked)
    follow_on(followed, commits)
    return followed


def follow_on(followed: Followed, commits: Iterable[Commit]) -> None:
    """Follow the next commits too."""
    for commit in commits:
        _Following(followed, commit.version).take(commit)


class _Following:
    """Takes one commit's events into what was followed."""

    def __init__(self, followed: Followed, version: int) -> None:
        self._followed = followed
        self._version = version
        self._now = followed.tracked
        self._hours: Hours = defaultdict(Counter)

    def take(self, commit: Commit) -> None:
        for event in commit.events:
            self._check_whole(event)
            self._see(event)
        self._change(version=self._version)
        by_day: dict[int, Hours] = defaultdict(dict)
        for hour, counts in self._hours.items():
            by_day[day_of_hour(hour)][hour] = counts
        for day, hours in by_day.items():
            self._followed.parts[day].append((self._version, hours))
        self._followed.tracked = self._now

    def _check_whole(self, event: AnyEvent) -> None:
        generation = generation_of(event.session_id)
        follows = generation == self._now.generation and event.sequence == self._now.sequence + 1
        begins = generation == self._now.generation + 1 and event.sequence == 1
        whole = self._now.whole and (follows or begins)
        self._change(generation=generation, sequence=event.sequence, whole=whole)

    def _see(self, event: AnyEvent) -> None:
        match event:
            case ConversationErased():
                self._forget(event)
                return
            case SessionStarted():
                self._begin(event)
            case ProfileChanged(profile=profile) if self._now.usage:
                named = {"owner": profile.owner, "agent_id": profile.agent_id, "ai_model": profile.ai_model}
                self._use(**named, session_type=profile.session_type)
        self._count(event)

    def _count(self, event: AnyEvent) -> None:
        usage = self._now.usage
        ending = _ending(event) if usage and usage.ended_at is None else None
        counts = Counter({EVENTS + event.routing_key.split(".")[1]: 1})
        if isinstance(event, SessionStarted):
            counts[STARTS] = 1
        if isinstance(event, StateChanged):
            counts.update(STATES + one for one in _entered(event))
        if usage and ending:
            counts[ENDS + ending] = 1
            counts[LASTED] = _milliseconds(usage.started_at, event.at)
        if isinstance(event, MessageAppended) and event.source is None and not event.restored:
            self._say(event.message, counts)
            self._add(counts, event.message.sent_at)
        else:
            self._add(counts, event.at)
        if ending:
            self._use(ended_at=event.at, ending=ending)
        elif isinstance(event, SessionRestored) and event.restored == event.session_id:
            ended = None if event.status.is_live else event.at
            self._use(ended_at=ended, **({} if ended else {"ending": None}))

    def _say(self, message: SessionMessage, counts: Counter[str]) -> None:
        """Take up something said: by a person, or by the other side."""
        counts[MESSAGES + message.role] += 1
        counts[CHARACTERS + message.role] += _length(message)
        for kind in _types(message):
            counts[TYPES + kind] += 1
        if self._now.usage:
            first, last = self._now.usage.first_at or message.sent_at, self._now.usage.last_at or message.sent_at
            self._use(first_at=min(first, message.sent_at), last_at=max(last, message.sent_at))
        if message.role is Role.USER:
            self._ask(message.sent_at, counts)
        elif message.role is Role.ASSISTANT:
            self._answer(message.sent_at, counts)

    def _ask(self, at: datetime, counts: Counter[str]) -> None:
        heard, run = self._now.heard_at, 1
        if heard is None:
            counts[NEW] += 1
        else:
            run = self._now.run + 1 if abs(at - heard) <= SOON else 1
            if silence := max(0, (at - heard) // _HOUR):
                counts[f"{RETURNS}{min(silence, LONGEST_SILENCE)}"] += 1
        if run == BURST:
            counts[BURSTS] += 1
        if self._now.replied_at is not None:
            note_wait(counts, Wait.BACK, _milliseconds(self._now.replied_at, at))
        if self._now.asked_at is None:
            counts[ASKED] += 1
            self._change(asked_at=at)
        self._change(heard_at=max(heard or at, at), run=run, replied_at=None)

    def _answer(self, at: datetime, counts: Counter[str]) -> None:
        asked = self._now.asked_at
        if asked is not None:
            waited = _milliseconds(asked, at)
            note_wait(counts, Wait.REPLY, waited)
            if self._now.usage and not self._now.usage.counts.get(ANSWERED):
                note_wait(counts, Wait.FIRST, waited)
            self._add(Counter({ANSWERED: 1}), asked)
        self._change(asked_at=None, replied_at=self._now.replied_at or at, run=0)

    def _begin(self, event: SessionStarted) -> None:
        address, profile = event.address, event.profile
        usage = Usage(
            session_id=event.session_id,
            platform=address.platform if address else event.platform,
            account=address.account if address else None,
            owner=profile.owner,
            agent_id=profile.agent_id,
            ai_model=profile.ai_model,
            session_type=profile.session_type,
            started_at=event.at,
        )
        self._change(usage=usage, asked_at=None, replied_at=None)
        self._followed.ledger[usage.session_id] = usage

    def _forget(self, event: ConversationErased) -> None:
        """Begin anew: of what was before nothing stays, not even in which days it was."""
        self._followed.void_days |= {*self._now.days, *self._followed.parts}
        self._followed.parts.clear()
        self._followed.ledger.clear()
        self._followed.erased = self._version
        self._followed.erased_sessions = generation_of(event.session_id)
        self._hours.clear()
        self._now = Tracked(generation=self._followed.erased_sessions, sequence=event.sequence)

    def _add(self, counts: Counter[str], at: datetime) -> None:
        """Add figures to an hour, and to what the session used."""
        self._hours[self._kept_hour(at)].update(counts)
        if usage := self._now.usage:
            self._use(counts=dict(Counter(usage.counts) + counts))

    def _kept_hour(self, at: datetime) -> int:
        hour = hour_of(at)
        day, days = day_of_hour(hour), self._now.days
        place = bisect_left(days, day)
        if place < len(days) and days[place] == day:
            return hour
        if len(days) >= MOST_DAYS:
            return first_hour_of(days[-1])
        self._change(days=(*days[:place], day, *days[place:]))
        return hour

    def _use(self, **changes: object) -> None:
        if self._now.usage is not None:
            usage = self._now.usage.model_copy(update=changes)
            self._change(usage=usage)
            self._followed.ledger[usage.session_id] = usage

    def _change(self, **changes: object) -> None:
        self._now = self._now.model_copy(update=changes)


_OVER: Final = {
    SessionStatus.EXPIRED: SessionEnding.EXPIRED,
    SessionStatus.CLOSED: SessionEnding.CLOSED,
    SessionStatus.ARCHIVED: SessionEnding.ARCHIVED,
}


def _entered(event: StateChanged) -> Iterator[str]:
    """Yield the status that a session has come to, and the state of the installation's own, what is new of it."""
    if event.status is not event.previous or event.state is None:
        yield event.status
    if event.state is not None and event.state != event.previous_state:
        yield event.state


def _ending(event: AnyEvent) -> SessionEnding | None:
    """Return how an event ends the session that it happens in."""
    match event:
        case StateChanged(previous=previous, status=status) if previous.is_live:
            return _OVER.get(status)
        case SessionClosed(why=why):
            return SessionEnding(why.value)
        case SessionDeleted(deleted=gone) if gone == event.session_id:
            return SessionEnding.DELETED
        case SessionArchived(archived=gone) if gone == event.session_id:
            return SessionEnding.ARCHIVED
        case _:
            return None


def _types(message: SessionMessage) -> list[str]:
    content = message.content
    attached = [one.kind.value for one in content.attachments] if isinstance(content, TextContent) else []
    if isinstance(content, TextContent) and attached and not content.text:
        return attached
    return [content.kind, *attached]


def _length(message: SessionMessage) -> int:
    return len(message.content.text) if isinstance(message.content, TextContent) else 0


def _milliseconds(start: datetime, end: datetime) -> int:
    """Return the time between two clocks' readings, which may disagree: never less than none."""
    return max(0, (end - start) // timedelta(milliseconds=1))
