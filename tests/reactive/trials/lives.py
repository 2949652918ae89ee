"""What became of sessions, by log and archive together."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from agentbus.contracts.address import Platform
from agentbus.contracts.errors import ArchiveDamaged, ArchiveNotFound
from agentbus.contracts.events import (
    Amendment,
    AnyEvent,
    DataSet,
    ExpiryStepTaken,
    MessageAppended,
    SessionArchived,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from tests.reactive.system.begun import logs_of, states_of


@dataclass(frozen=True, slots=True)
class Life:
    """A session from its beginning to its end."""

    session: SessionId
    head: SessionState
    events: tuple[AnyEvent, ...]
    """Its own, each once, in their order: those in the archive and those in the log."""
    left: frozenset[int]
    """The sequences of those in the log, but for what is about an earlier session: that stays (decision 30)."""
    steps: tuple[ExpiryStepTaken, ...]
    """What rules did to it, as its conversation tells; after its end in the sessions that followed."""
    archives: int
    """How often its conversation says that it was archived."""
    files: int
    """Its files in the archive."""
    damaged: str | None
    """What is wrong with the archive's copy, if it should have one."""

    @property
    def platform(self) -> Platform | None:
        """The platform that it is on."""
        return self.head.address.platform if self.head.address else None

    @property
    def began_at(self) -> float:
        """When it began, in seconds since 1970."""
        return next(one.at.timestamp() for one in self.events if isinstance(one, SessionStarted))

    @property
    def active_at(self) -> float:
        """When something last happened in it."""
        return max(
            one.at.timestamp() for one in self.events if isinstance(one, SessionStarted | MessageAppended | DataSet)
        )

    @property
    def warned_at(self) -> float | None:
        """When its end was announced for the last time, since then nothing happened."""
        warnings = [one.at.timestamp() for one in self.steps if one.step < 0]
        at = max(warnings, default=None)
        return at if at is not None and at >= self.active_at else None

    @property
    def ended_at(self) -> float | None:
        """When it expired first."""
        return next((one.at.timestamp() for one in self.events if _expires(one)), None)

    @property
    def messages(self) -> int:
        """The different messages in it."""
        return len({one.message.key for one in self.events if isinstance(one, MessageAppended)})

    def wrong(self) -> list[str]:
        """Say what should not be."""
        wrong: list[str] = []
        if (expired := sum(map(_expires, self.events))) != 1:
            wrong.append(f"expired {expired} times")
        if [one.sequence for one in self.events] != list(range(1, len(self.events) + 1)):
            wrong.append(f"has the events {[one.sequence for one in self.events]}")
        steps = Counter(one.step for one in self.steps if one.step >= 0)
        wrong += [f"step {step} was taken {count} times" for step, count in steps.items() if count > 1]
        if self.head.status is SessionStatus.ARCHIVED or self.archives or self.files:
            wrong += self._wrongly_archived()
        return [f"session {self.session} {words}" for words in wrong]

    def _wrongly_archived(self) -> list[str]:
        wrong = [f"is in the archive: {self.damaged}"] if self.damaged else []
        if (self.archives, self.files) != (1, 1):
            wrong.append(f"was archived {self.archives} times, there are {self.files} files")
        ref = self.head.archive
        if ref is None:
            wrong.append(f"is {self.head.status} and not known to be archived")
        elif copies := [sequence for sequence in self.left if sequence <= ref.sequence]:
            wrong.append(f"is archived, and its events {copies[:5]} are still in the log")
        return wrong


@dataclass(frozen=True, slots=True)
class _Archived:
    """What the archive has of a session."""

    events: tuple[AnyEvent, ...] = ()
    files: int = 0
    damaged: str | None = None


async def lives(store: Store, archive: ArchiveStore, conversations: Collection[ConversationId]) -> list[Life]:
    """Return all sessions of conversations."""
    found: list[Life] = []
    states = await states_of(store, conversations)
    for conversation, log in (await logs_of(store, conversations)).items():
        sessions = [session_id_for(conversation, number + 1) for number in range(states[conversation].generation)]
        heads = await store.heads.get_many(sessions)
        archived = {session: await _archived(archive, heads[session]) for session in sessions}
        left = [event for commit in log for event in commit.events]
        told = {event.event_id: event for one in archived.values() for event in one.events}
        told |= {event.event_id: event for event in left}
        found += [_life(heads[session], archived[session], left, told.values()) for session in sessions]
    return found


async def _archived(archive: ArchiveStore, head: SessionState) -> _Archived:
    files = len(await archive.entries_of(head.session_id))
    if head.archive is None:
        return _Archived(files=files)
    try:
        entry = await archive.find(head.session_id, head.archive.digest)
        await archive.verify(entry)
        events = [event async for commit in archive.commits(entry) for event in commit.events]
    except (ArchiveDamaged, ArchiveNotFound) as error:
        return _Archived(files=files, damaged=str(error))
    return _Archived(tuple(events), files)


def _life(head: SessionState, archived: _Archived, left: Iterable[AnyEvent], told: Collection[AnyEvent]) -> Life:
    session = head.session_id
    own = {event.sequence: event for event in told if event.session_id == session}
    return Life(
        session=session,
        head=head,
        events=tuple(event for _, event in sorted(own.items())),
        left=frozenset(
            event.sequence for event in left if event.session_id == session and not _is_about_another(event)
        ),
        steps=tuple(
            one for one in told if isinstance(one, ExpiryStepTaken) and (one.earlier or one.session_id) == session
        ),
        archives=sum(isinstance(one, SessionArchived) and one.archived == session for one in told),
        files=archived.files,
        damaged=archived.damaged,
    )


def _expires(event: AnyEvent) -> bool:
    return isinstance(event, StateChanged) and event.status is SessionStatus.EXPIRED


def _is_about_another(event: AnyEvent) -> bool:
    """Whether it tells something of another session than its own, or takes a message back."""
    match event:
        case SessionArchived(archived=named) | SessionDeleted(deleted=named) | SessionRestored(restored=named):
            return named != event.session_id
        case ExpiryStepTaken(earlier=earlier):
            return earlier is not None
        case _:
            return isinstance(event, Amendment)
