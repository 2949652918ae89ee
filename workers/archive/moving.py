"""Moving sessions to the archive: short ones together, whatever their owners and the store do for many at once.

Each of them takes the three steps of `storing` with its log to itself from the first to the last, so that its commits
are read once. One that is long, that somebody else has begun to move, whose log is being rewritten, or that fails,
takes them by itself.
"""

from asyncio import Semaphore
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.errors import ArchiveUnavailable, BusError, LockTimeout, Refused, StoreUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.archive.entries import read_file_name
from agentbus.storage.archive.format import own_part
from agentbus.storage.port import Store
from agentbus.workers.archive.index import archived_session, put_indexes
from agentbus.workers.archive.rewriting import PAGE, Rewriting, rewriting, rewriting_those_free
from agentbus.workers.archive.storing import archive_by_itself, archive_command, can_be_archived, take_back
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.stripping import foreign_targets, stripped

Outcome = ArchiveRef | Exception
"""Where a session is, or why it could not be moved there."""

_SESSIONS: Final = 50
"""Sessions that are moved together, at most, of as few commits as are read at once."""
_FILES: Final = 8
"""Files that are written at a time."""
_OUTAGES: Final = (ArchiveUnavailable, BusError, StoreUnavailable)
"""What no session can be moved while it lasts."""


async def archive_session(store: Store, archive: ArchiveStore, commands: Inputs, head: SessionState) -> ArchiveRef:
    """Move an ended session to the archive, or go on where somebody else stopped; return where it is. Idempotent.

    One whose status a call made archived is moved as any other. Raises TransitionForbidden for a live or deleted
    session, what the owner refused, ArchiveUnavailable, ArchiveDamaged if the file does not read back, ReplyTimeout,
    BusError, LockTimeout.
    """
    if _is_short(head):
        async with rewriting(store, head.conversation_id) as log:
            moves = _Moves(store, archive, commands, {head.conversation_id: log})
            outcome = (await moves.make([head])).get(head.session_id)
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is not None:
            return outcome
    return await archive_by_itself(store, archive, commands, head)


async def archive_sessions(
    store: Store, archive: ArchiveStore, commands: Inputs, heads: Iterable[SessionState]
) -> dict[SessionId, Outcome]:
    """Move many sessions, each as `archive_session` does; return what became of each, or what that raises for it."""
    outcomes: dict[SessionId, Outcome] = {}
    for some in _together(heads):
        outcomes |= await _archive_some(store, archive, commands, some)
    return outcomes


async def _archive_some(
    store: Store, archive: ArchiveStore, commands: Inputs, heads: Sequence[SessionState]
) -> dict[SessionId, Outcome]:
    outcomes: dict[SessionId, Outcome] = {}
    if len(heads) > 1:
        try:
            async with rewriting_those_free(store, [head.conversation_id for head in heads]) as logs:
                outcomes = await _Moves(store, archive, commands, logs).make(heads)
        except _OUTAGES as error:
            raise_if_cancelled()
            return {head.session_id: error for head in heads}
        except Exception:  # What one of them failed with is told of that one, below.
            raise_if_cancelled()
    for head in heads:
        if head.session_id not in outcomes:
            try:
                outcomes[head.session_id] = await archive_session(store, archive, commands, head)
            except Exception as error:
                raise_if_cancelled()
                outcomes[head.session_id] = error
    return outcomes


class _Moves:
    """The moves of short sessions whose logs nobody else rewrites meanwhile."""

    def __init__(
        self, store: Store, archive: ArchiveStore, commands: Inputs, logs: Mapping[ConversationId, Rewriting]
    ) -> None:
        self._store = store
        self._archive = archive
        self._commands = commands
        self._logs = logs
        self._files = Semaphore(_FILES)

    async def make(self, heads: Collection[SessionState]) -> dict[SessionId, Outcome]:
        """Move sessions of different conversations; return what became of those that can be moved together.

        Raises what a call for all of them failed with: each of them may have been moved, in part or whole.
        """
        found = await self._store.heads.get_many([one.session_id for one in heads if one.conversation_id in self._logs])
        ended = [head for head in found.values() if can_be_archived(head) and _is_short(head)]
        commits = await self._store.log.read_many({head.conversation_id: _span(head) for head in ended})
        moves = [_Move(head, commits[head.conversation_id]) for head in ended]
        await side_by_side(self._say_so(move) for move in moves)
        said = {move.session: move for move in moves if move.ref is not None}
        for session, head in (await self._store.heads.get_many(said)).items():
            said[session].see(head)
        moved = [move for move in moves if move.is_there]
        await self._strip(moved)
        await side_by_side(self._tidy(move) for move in moved if move.before)
        return {move.session: outcome for move in moves if (outcome := move.outcome) is not None}

    async def _say_so(self, move: "_Move") -> None:
        """Write a session's file, and let its owner say so: the first two steps."""
        try:
            async with self._files:
                move.before = await self._archive.names_of(move.session)
                ref = await self._archive.write(move.head, move.iterated())
            try:
                await self._logs[move.head.conversation_id].hold()
                await self._commands.ask(archive_command(move.head, ref))
            except (Refused, LockTimeout):  # The log may say something else by now than the file, which must not stay.
                await take_back(self._store, self._archive, move.session, ref)
                raise
        except Exception as error:
            raise_if_cancelled()
            move.failure = error
        else:
            move.ref = ref

    async def _strip(self, moves: Sequence["_Move"]) -> None:
        """Take the sessions' events out of their logs, as `strip_session` does: the third step."""
        await put_indexes(self._store, [archived_session(move.head, move.ref) for move in moves if move.ref])
        for move in moves:
            await self._logs[move.head.conversation_id].hold()
        if changed := [commit for move in moves for commit in move.stripped()]:
            await self._store.log.replace(changed)

    async def _tidy(self, move: "_Move") -> None:
        """Remove what the session was when it was archived before, and what crashes left."""
        async with self._files:
            await self._archive.delete_names(move.session, [name for name in move.before if not move.wrote(name)])


@dataclass(slots=True)
class _Move:
    """A session on its way."""

    head: SessionState
    commits: Sequence[Commit]
    """All in which its events are."""
    before: Sequence[str] = ()
    """What the archive had of it before."""
    ref: ArchiveRef | None = None
    """Where it is, once its owner has said so."""
    is_there: bool = False
    """Whether its head says that this file is the one."""
    failure: Exception | None = None

    @property
    def session(self) -> SessionId:
        return self.head.session_id

    @property
    def outcome(self) -> Outcome | None:
        """What became of it; None if it has to be looked at by itself: somebody else has archived or restored it."""
        return self.failure or (self.ref if self.is_there else None)

    def see(self, head: SessionState) -> None:
        """Look at its head as it is after the second step."""
        archive = head.archive if head.status is SessionStatus.ARCHIVED else None
        self.is_there = archive is not None and self.ref is not None and archive.digest == self.ref.digest

    async def iterated(self) -> AsyncIterator[Commit]:
        """Yield its commits."""
        for commit in self.commits:
            yield commit

    def stripped(self) -> Iterator[Commit]:
        """Yield, without the session's events, the commits that lack something then."""
        own = [own_part(commit, self.session) for commit in self.commits]
        elsewhere = foreign_targets(own)
        for commit in self.commits:
            left = stripped(commit, self.session, self.head.sequence, elsewhere)
            if left != commit:
                yield left

    def wrote(self, name: str) -> bool:
        """Whether a file of the archive is the one that was written."""
        return self.ref is not None and read_file_name(name) == (self.ref.sequence, self.ref.digest)


def _together(heads: Iterable[SessionState]) -> Iterator[list[SessionState]]:
    """Yield sessions that are moved together: of different conversations, with as many commits as are read at once."""
    waiting = list(heads)
    while waiting:
        some: dict[ConversationId, SessionState] = {}
        left: list[SessionState] = []
        commits = 0
        for head in waiting:
            commits += (length := _length(head))
            if some and (commits > PAGE or len(some) == _SESSIONS or head.conversation_id in some):
                commits -= length
                left.append(head)
            else:
                some[head.conversation_id] = head
        yield list(some.values())
        waiting = left


def _is_short(head: SessionState) -> bool:
    return _length(head) <= PAGE


def _length(head: SessionState) -> int:
    first, last = _span(head)
    return last - first + 1


def _span(head: SessionState) -> tuple[int, int]:
    """Return the versions of the first and the last commit in which a session's events are."""
    return max(1, head.first_version), head.version
