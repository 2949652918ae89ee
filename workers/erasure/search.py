"""Finding everything of a user: by indexed fields of the heads, then by reading every log and every archive file.

The cost: each head, commit, archive file and parked input is read once. A log line that was overlooked would stay for
good.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import ArchiveNotFound
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Loaded, Store
from agentbus.storage.reading import iter_sessions
from agentbus.workers.archive.rewriting import pages_of
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.erasure.traces import Person, Traces

Progress = Callable[[str, int], None]
"""Told what is being read or changed, and how many of it by now."""

_AT_ONCE: Final = 16
"""Conversations that are read at the same time."""
_SKEW: Final = timedelta(minutes=5)
"""By how much the clocks of workers may differ."""
_HEADS: Final = 500
EVERYTHING: Final = (SessionFilter(), SessionFilter(status=SessionStatus.DELETED))
"""Filters that select all sessions, the deleted ones included."""


@dataclass(slots=True)
class Found:
    """Everything of a user, by conversation."""

    own: dict[ConversationId, Traces] = field(default_factory=dict)
    """Theirs alone: erased whole."""
    shared: dict[ConversationId, Traces] = field(default_factory=dict)
    """Other people wrote here too: what is of the user is taken out."""
    archived: set[SessionId] = field(default_factory=set)
    """Sessions in the archive that hold something of theirs."""

    def take(self, conversation: ConversationId, traces: Traces, also: Collection[ConversationId]) -> None:
        """Take up what was found in a conversation, if anything was; if it is one of `also` in any case."""
        if traces.found and traces.is_own:
            self.own[conversation] = traces
        elif traces.found or conversation in also:
            self.shared[conversation] = traces

    @property
    def sessions(self) -> list[SessionId]:
        """Every session that holds something of theirs."""
        everywhere = (*self.own.values(), *self.shared.values())
        return sorted({session for traces in everywhere for session in traces.sessions})

    @property
    def messages(self) -> int:
        """Messages that will say nothing any more."""
        return sum(one.all_messages for one in self.own.values()) + sum(one.messages for one in self.shared.values())


async def linked_people(store: Store, users: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the ids that are linked to those of a user, theirs among them, and the identities that link them."""
    waiting, people, identities = set(users), set[str](), set[str]()
    while waiting:
        user = waiting.pop()
        people.add(user)
        for identity in {head.identity async for head in _all(store, owner=user) if head.identity} - identities:
            identities.add(identity)
            waiting |= {head.profile.owner async for head in _all(store, identity=identity) if head.profile.owner}
        waiting -= people
    return people, identities


async def find_traces(
    store: Store,
    archive: ArchiveStore | None,
    person: Person,
    clock: Clock,
    progress: Progress,
    *,
    also: Collection[ConversationId] = (),
) -> Found:
    """Read everything, and return what holds something of a person. Raises ArchiveError, StoreError.

    What is damaged in the store might hold something too: it fails with StoreDamaged.

    `also`: shared conversations that are returned whether anything was found in them or not.
    """
    found = Found()
    in_archive = await _read_archive(archive, person, found, progress) if archive else {}
    unknown = set(in_archive)
    count = 0
    async for conversations in all_conversations(store, clock):
        loaded = await store.log.load(conversations)
        read = await side_by_side(_read_conversation(store, one, loaded[one], person) for one in conversations)
        for conversation, traces in zip(conversations, read, strict=True):
            traces.merge(in_archive.get(conversation, Traces()))
            unknown.discard(conversation)
            if traces.is_own and archive:
                traces.others = await _others_in_archive(store, archive, conversation, person)
            found.take(conversation, traces, also)
        count += len(conversations)
        progress("conversations read", count)
    for conversation in unknown:  # The archive alone knows them.
        found.take(conversation, in_archive[conversation], also)
    return found


async def all_conversations(store: Store, clock: Clock) -> AsyncIterator[Sequence[ConversationId]]:
    """Yield every conversation, in pieces; some more than once.

    What is new or written to meanwhile is read once more. Damaged ones are among them: to read one of these fails.
    """
    begun = clock.now()
    after: ConversationId | None = None
    while page := await store.log.conversations(after=after, limit=_AT_ONCE):
        yield page
        after = page[-1]
    for _ in range(2):
        since, begun = begun - _SKEW, clock.now()
        moved = [head for where in EVERYTHING async for head in _recent(store, where, since)]
        for conversations in chunks(sorted({head.conversation_id for head in moved}), _AT_ONCE):
            yield conversations


async def all_sessions(store: Store, conversation: ConversationId) -> list[SessionState]:
    """Return the heads of all sessions of a conversation, the latest last."""
    latest = (await store.log.load([conversation]))[conversation].head
    return await _heads_to(store, conversation, latest)


async def _recent(store: Store, where: SessionFilter, since: datetime) -> AsyncIterator[SessionState]:
    async for head in iter_sessions(store, where):
        if head.last_activity and head.last_activity < since:
            return
        yield head


async def _read_conversation(store: Store, conversation: ConversationId, loaded: Loaded, person: Person) -> Traces:
    traces = Traces()
    for head in await _heads_to(store, conversation, loaded.head):
        traces.read_head(head, person)
    if loaded.head is None:
        await _check_sound(store, {event.session_id for commit in loaded.commits for event in commit.events})
    async for page in pages_of(store, conversation):
        for commit in page:
            traces.read_commit(commit, person)
    return traces


async def _heads_to(store: Store, conversation: ConversationId, latest: SessionState | None) -> list[SessionState]:
    if latest is None:
        return []
    found: list[SessionState] = []
    for numbers in chunks(range(1, latest.generation), _HEADS):
        sessions = [session_id_for(conversation, number) for number in numbers]
        heads = await store.heads.get_many(sessions)
        await _check_sound(store, set(sessions) - heads.keys())
        found += sorted(heads.values(), key=lambda head: head.generation)
    return [*found, latest]


async def _check_sound(store: Store, sessions: Collection[SessionId]) -> None:
    """Raise StoreDamaged if a session was passed over for its damage: nobody could say that all was found."""
    for session in sessions:
        await store.heads.get(session)


async def _read_archive(
    archive: ArchiveStore, person: Person, found: Found, progress: Progress
) -> dict[ConversationId, Traces]:
    """Return the traces in those files that hold something of the person."""
    touched: dict[ConversationId, Traces] = {}
    count = 0
    async for session in archive.sessions():
        traces = await _read_archived(archive, session, person)
        if traces.found:
            found.archived.add(session)
            touched.setdefault(conversation_of(session), Traces()).merge(traces)
        count += 1
        progress("archived sessions read", count)
    return touched


async def _read_archived(archive: ArchiveStore, session: SessionId, person: Person) -> Traces:
    traces = Traces()
    for entry in await archive.entries_of(session):
        with suppress(ArchiveNotFound):  # Of a file from an old backup the key was destroyed: it holds nothing.
            traces.read_head(await archive.head(entry), person)
            async for commit in archive.commits(entry):
                traces.read_commit(commit, person)
    return traces


async def _others_in_archive(store: Store, archive: ArchiveStore, conversation: ConversationId, person: Person) -> bool:
    """Whether other people wrote in archived sessions of a conversation: also where nothing of the user is."""
    for head in await all_sessions(store, conversation):
        if (await _read_archived(archive, head.session_id, person)).others:
            return True
    return False


async def _all(store: Store, **where: str) -> AsyncIterator[SessionState]:
    for status in (None, SessionStatus.DELETED):
        async for head in iter_sessions(store, SessionFilter(status=status, **where)):
            yield head
