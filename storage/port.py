"""The store port: a log of commits per conversation, a head per session, and what is kept beside them."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from contracts.errors import StoreDamaged, StoreError
from contracts.events import Commit
from contracts.history import Page, SessionFilter
from contracts.ids import ConversationId, InputId, MessageKey, Partition, SessionId
from contracts.members import Member, WorkerId
from contracts.parked import ParkedId, ParkedInput, ParkedStatus
from contracts.records import Lock, Record, RecordKind, SessionStatistics
from contracts.session import SessionState
from storage.cancelling import finished

MAX_PAGE = 1000
"""The most items a page may ask for."""

LISTED_BODY = 64 * 1024
"""Bytes that a list shows at most of a parked input's body."""


class Loaded:
    """What is kept of a conversation: its latest session's head, and the commits after it, oldest first.

    Of one whose damage leaves it unknown what it is, neither can be had: asking for them raises `damage`.
    """

    __slots__ = ("_commits", "_head", "damage")

    def __init__(
        self,
        head: SessionState | None = None,
        commits: tuple[Commit, ...] = (),
        *,
        damage: StoreDamaged | None = None,
    ) -> None:
        self._head = head
        self._commits = commits
        self.damage = damage

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Loaded):
            return NotImplemented
        mine, others = (self._head, self._commits, str(self.damage)), (other._head, other._commits, str(other.damage))
        return mine == others

    __hash__ = None  # type: ignore[assignment]  # as of everything that is compared by what it holds

    def __repr__(self) -> str:
        return f"Loaded(head={self._head!r}, commits={self._commits!r}, damage={self.damage!r})"

    @property
    def head(self) -> SessionState | None:
        """The head; None if there is none, or if it is damaged and `commits` is the whole log, which tells as much."""
        if self.damage:
            raise self.damage
        return self._head

    @property
    def commits(self) -> tuple[Commit, ...]:
        """The commits after the head."""
        if self.damage:
            raise self.damage
        return self._commits


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says of itself."""

    kind: str
    version: str
    server_time: datetime
    name: str = ""
    """Of the database; empty for a store without one."""


class Store(ABC):
    """Keeps conversations. Opened by `storage.factory.open_store(url)`; used as an async context manager.

    Every call may raise StoreUnavailable (transient: the same call may be made again) or StoreRejected. What asks for
    one thing that can't be read raises StoreDamaged; lists, and what looks through many, pass over what is damaged and
    say so in the log, once. A call that is cancelled ends soon and leaves nothing behind; it may have been done, as
    after StoreUnavailable.
    Whatever a call reports as done survives a crash of the process, and of the server as far as the server promises.
    Any number of processes may use the same store.
    """

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await finished(self.close())  # Nobody else will: the body is not entered.
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def start(self) -> None:
        """Connect, and make what the store needs (tables, indexes). Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Idempotent."""

    @abstractmethod
    async def info(self) -> StoreInfo:
        """Ask the server who it is and what time it has."""

    # The log

    @abstractmethod
    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        """Append commits of different conversations; return for each, in order, None or why it was not appended.

        Each commit is appended whole or not at all, whatever happens to the others: VersionConflict if the
        conversation has a commit of this version already, DuplicateInput if one of its inputs was committed before
        (at any time, in any commit of the conversation); VersionConflict where both hold; StoreRejected if the store
        can't hold it, being too large for one. The caller gives contiguous versions: one more than the
        commit that it loaded last. After StoreUnavailable any of them may have been appended: load to find out.
        """

    @abstractmethod
    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        """Return what is kept of each conversation; an unknown one gives an empty `Loaded`.

        One that is damaged does not fail the others: its own `Loaded` says so. A damaged head alone does no harm as
        long as the whole log is there, which is then loaded from its beginning.
        """

    @abstractmethod
    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        """Return up to `limit` conversations of which there is a commit or a head, damaged or not, in order of id.

        Those alone whose ids come after `after`. Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def read_log(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        """Return up to `limit` commits with `first <= version <= last`, oldest first, or newest first if asked.

        StoreDamaged tells in its details the `version` of the first that can't be read. Raises ValueError for a limit
        outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        """Return, for those of `inputs` that were committed, the commit that holds them."""

    @abstractmethod
    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        """Return the commits that edit, delete or react to one of `targets`, oldest first."""

    @abstractmethod
    async def replace_commits(self, commits: Sequence[Commit]) -> None:
        """Put commits, of different versions, in the place of those kept under their conversations and versions.

        For taking out of a log what was archived or erased, and for putting back what is restored. A version that
        is not kept is left out: nothing is added to a log. Inputs may differ: repeats are found by the new ones.
        Without commits, the store lets go of the bytes of all that was deleted or replaced before, or raises.
        Not atomic as a whole: after StoreUnavailable make the same call again. Raises StoreRejected for an input that
        another commit of the conversation holds, and for a commit that the store can't hold; the others may have been
        replaced then.
        """

    # The heads

    @abstractmethod
    async def save_heads(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        """Write heads. One that is older (by version) than the one kept for its session changes nothing.

        Returns for each, in order, None, or the StoreRejected of a head that the store can't hold, now or ever: the
        others are written all the same, and the log has what the head would say.
        """

    @abstractmethod
    async def head(self, session: SessionId) -> SessionState | None:
        """Return a session's head as it was last written, or None if there is no such session."""

    @abstractmethod
    async def heads(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        """Return the heads of those of `sessions` that there are; damaged ones are passed over."""

    @abstractmethod
    async def list_sessions(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionState]:
        """Return the heads that `where` selects, latest activity first (then by session id).

        Deleted ones are left out unless `where` asks for that status. Pages stay right while others write.
        Raises ValueError for a limit outside 1..MAX_PAGE or a cursor that this store did not give out.
        """

    @abstractmethod
    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        """Return up to `limit` heads whose `due_at` is at or before `before`, the earliest first (then by session id).

        Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        """Return figures about the sessions that `where` selects, added up by the server from their heads alone.

        Deleted ones never count, even if `where` asks for that status. A session without activity lasted 0 seconds.
        """

    # Parked inputs

    @abstractmethod
    async def park(self, parked: ParkedInput) -> None:
        """Record a parked input; its body may be as large as RabbitMQ lets through (128 MiB by default).

        The same one again adds 1 to its attempts and is waiting (`parked`) once more. All but its body, which is the
        same, is then the latest.
        """

    async def park_many(self, parked: Sequence[ParkedInput]) -> None:
        """Record parked inputs in their order, as `park` does each. If it raises, some of them may be recorded."""
        for one in parked:
            await self.park(one)

    @abstractmethod
    async def parked(self, parked_id: ParkedId) -> ParkedInput | None:
        """Return a parked input with its whole body, or None."""

    @abstractmethod
    async def list_parked(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        """Return parked inputs, the latest first (then by id): all, or those of a status, of a conversation.

        A body is cut to its first LISTED_BODY bytes, so that large ones don't slow down the list: `parked` has all
        of it. Raises ValueError as `list_sessions` does.
        """

    @abstractmethod
    async def set_parked_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        """Say what became of a parked input; return whether there is one."""

    @abstractmethod
    async def delete_parked(self, parked_id: ParkedId) -> bool:
        """Delete a parked input with its body, for erasure; return whether there was one."""

    # Workers

    @abstractmethod
    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        """Record that `member` lives, by the store's clock, and return the group's live members, itself among them.

        Live are those whose last heartbeat is at most `ttl` seconds old by the store's clock; sorted by worker id.
        Members much older than that (100 times) may be forgotten.
        """

    @abstractmethod
    async def members(self, group: str, *, ttl: float) -> list[Member]:
        """Return the group's live members, as `heartbeat` does."""

    @abstractmethod
    async def leave(self, group: str, worker: WorkerId) -> None:
        """Forget a member at once. Idempotent."""

    @abstractmethod
    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        """Return the partition's next epoch: the lowest above `above`, 0, and all given out before."""

    @abstractmethod
    async def begin_trial(self, key: str) -> int:
        """Note that an input is tried which may have killed its worker before; return how many attempts by now.

        A key made by `storage.trials.attempt_at` counts once: who gets no answer asks again. Any other is an attempt
        each time.
        """

    @abstractmethod
    async def end_trial(self, key: str) -> None:
        """Say that the input did not kill its worker: its count is forgotten. Idempotent."""

    # Records

    @abstractmethod
    async def put_record(self, record: Record, *, replace: bool = True) -> bool:
        """Keep a record, in place of one of its kind and key unless `replace` is false; return whether it was kept."""

    @abstractmethod
    async def record(self, kind: RecordKind, key: str) -> Record | None:
        """Return a record, or None."""

    @abstractmethod
    async def list_records(
        self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Record]:
        """Return a group's records of a kind, the latest first (then by key). Raises ValueError as `list_sessions`."""

    @abstractmethod
    async def delete_record(self, kind: RecordKind, key: str) -> bool:
        """Delete a record; return whether there was one."""

    @abstractmethod
    async def delete_records(self, kind: RecordKind, group: str) -> int:
        """Delete a group's records of a kind; return how many there were."""

    @abstractmethod
    async def put_records(self, records: Sequence[Record]) -> None:
        """Keep many records of different keys. One of a lower revision than the one kept under its key changes nothing.

        (`put_record` does not look at revisions.)
        """

    @abstractmethod
    async def due_records(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        """Return up to `limit` records of a kind with `due_at` at or before `before`, earliest first (then by key).

        `groups`: of these groups alone. Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def drop_records(self, records: Sequence[Record]) -> None:
        """Delete records, each unless a higher revision is kept under its key by now. Unknown ones are passed over."""

    # Locks

    @abstractmethod
    async def acquire_lock(self, name: str, *, ttl: float) -> Lock | None:
        """Take a lock for `ttl` seconds by the store's clock; None while somebody holds it and its lease runs.

        The token is higher than all given out for this name before, to anyone, also if they were released. After
        StoreUnavailable the lock may have been taken, until that lease ends; if the call is cancelled, it is not.
        Raises ValueError for a ttl that is not above 0 or a name that is no id.
        """

    @abstractmethod
    async def renew_lock(self, name: str, token: int, *, ttl: float) -> Lock | None:
        """Let the lease of a lock end `ttl` seconds from now instead; None if the lock is no longer this token's.

        A lease that ended is renewed as well, as long as nobody took the lock since. One that was released is not.
        Raises ValueError for a ttl that is not above 0.
        """

    @abstractmethod
    async def release_lock(self, name: str, token: int) -> bool:
        """Give a lock back, even while being cancelled; return if it was still this token's, as in `renew_lock`."""
