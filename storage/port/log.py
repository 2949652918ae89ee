"""The log of the store port: what was committed, and what is loaded of it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from agentbus.contracts.errors import StoreDamaged, StoreError
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, MessageKey
from agentbus.contracts.session import SessionState

_STAMP: Final = 16


def stamp_of(version: int, head: bytes) -> str:
    """Return the `Loaded.stamp` of a conversation: of its last commit's version, and its latest head as JSON."""
    return f"{version}.{blake2b(head, digest_size=_STAMP).hexdigest()}"


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

    @property
    def version(self) -> int:
        """The last commit that it tells of; 0 without any."""
        if self.commits:
            return self.commits[-1].version
        return self.head.version if self.head else 0

    @property
    def stamp(self) -> str:
        """What tells whether it has changed: another one, and it has."""
        return stamp_of(self.version, self.head.model_dump_json().encode() if self.head else b"")


class Log(ABC):
    """The commits of each conversation, by version. What was appended has happened."""

    @abstractmethod
    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        """Append commits of different conversations; return for each, in order, None or why it was not appended.

        Each commit is appended whole or not at all, whatever happens to the others: VersionConflict if the
        conversation has a commit of this version already, DuplicateInput if one of its inputs was committed before
        (at any time, in any commit of the conversation); VersionConflict where both hold; StoreRejected if the store
        can't hold it, being too large for one. The caller gives contiguous versions: one more than the
        commit that it loaded last. After StoreUnavailable any of them may have been appended: load to find out.
        """

    async def commit(
        self,
        commits: Sequence[Commit],
        heads: Sequence[SessionState],  # noqa: ARG002 - for stores that can do both at once
    ) -> tuple[list[StoreError | None], list[StoreError | None] | None]:
        """Append commits as `append` does, and save the heads that they leave, if the store can do both in one.

        Returns what `append` returns, and what `Heads.save` does: None if the heads were not saved and have to be.
        A store that does both in one does all of it, or, if it refuses a commit, saves no head.
        """
        return await self.append(commits), None

    @abstractmethod
    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        """Return what is kept of each conversation; an unknown one gives an empty `Loaded`.

        One that is damaged does not fail the others: its own `Loaded` says so. A damaged head alone does no harm as
        long as the whole log is there, which is then loaded from its beginning.
        """

    async def stamps(self, conversations: Collection[ConversationId]) -> Mapping[ConversationId, str]:  # noqa: ARG002
        """Return the `Loaded.stamp` of conversations, of those for which that is known without reading what they are.

        A store for which it never is leaves this as it is. A stamp that is not quite that one (of what another release
        wrote, of a head that is behind its log, of one that is damaged) costs no more than a load; one that is that of
        another state is wrong.
        """
        return {}

    @abstractmethod
    async def conversations(self, *, after: ConversationId | None = None, limit: int) -> list[ConversationId]:
        """Return up to `limit` conversations of which there is a commit or a head, damaged or not, in order of id.

        Those alone whose ids come after `after`. Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    @abstractmethod
    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        """Return the first `limit` commits with `first <= version <= last`, oldest first, or newest first if asked.

        Fewer than `limit`: there were no more.
        StoreDamaged tells in its details the `version` of the first that can't be read. Raises ValueError for a limit
        outside 1..MAX_PAGE.
        """

    async def read_many(self, spans: Mapping[ConversationId, tuple[int, int]]) -> dict[ConversationId, list[Commit]]:
        """Return the commits of many conversations, of each those from a first to a last version, oldest first.

        All at once: the caller sees to it that they are few. Raises StoreDamaged for the first that can't be read,
        ValueError for a span of more than MAX_PAGE versions or of none.
        """
        return {
            conversation: await self.read(conversation, first=first, last=last, limit=last - first + 1)
            for conversation, (first, last) in spans.items()
        }

    @abstractmethod
    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        """Return, for those of `inputs` that were committed, the commit that holds them."""

    @abstractmethod
    async def commits_amending(self, conversation: ConversationId, targets: Collection[MessageKey]) -> list[Commit]:
        """Return the commits that edit, delete or react to one of `targets`, oldest first."""

    @abstractmethod
    async def replace(self, commits: Sequence[Commit]) -> None:
        """Put commits, of different versions, in the place of those kept under their conversations and versions.

        For taking out of a log what was archived or erased, and for putting back what is restored. A version that
        is not kept is left out: nothing is added to a log. Inputs may differ: repeats are found by the new ones.
        Without commits, the store lets go of the bytes of all that was deleted or replaced before, or raises.
        Not atomic as a whole: after StoreUnavailable make the same call again. Raises StoreRejected for an input that
        another commit of the conversation holds, and for a commit that the store can't hold; the others may have been
        replaced then.
        """
