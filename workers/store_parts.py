"""What a store holds, part by part: each can be counted, with a digest, and copied to another store.

What is no part of it, and why, is in NOT_CARRIED: a test holds both to all that the port, and a database, can keep.
"""

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from agentbus.contracts.errors import DuplicateInput, StoreDamaged, StoreError, StoreRejected, VersionConflict
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.chunks import chunks
from agentbus.storage.digest import Digest, LogDigest, of_parked
from agentbus.storage.port import Epoch, LastToken, Store
from agentbus.workers.concurrency import side_by_side

NOT_CARRIED: Final[Mapping[str, str]] = {
    "members": "who lives: nobody does in a store that is moved, and nobody does yet in the new one",
    "trials": "whether an input killed its worker: counted from nothing again, it is parked a few tries later",
    "leases": "who holds a lock until when: nobody does; the last token is carried, so that later ones are higher",
    "migration": "how far a migration is: of this store alone",
}
"""What stays behind, each with the reason."""

_READ: Final = 4
"""Conversations that are read side by side."""
_WRITTEN: Final = 64
"""Commits that are appended together, of as many conversations: what is kept of a page is this many times _COMMITS."""
_COMMITS: Final = 16
_BYTES: Final = 16 * 1024 * 1024
"""How many bytes of commits, about, are read at most before some of them are appended."""
_HEADS: Final = 100
_NAMES: Final = 500
_RECORDS: Final = 50
"""Fewer than of others: one may have 4 MiB."""
_EPOCHS: Final = 10_000
"""There are no more partitions."""

Thing = TypeVar("Thing")
Asking = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Makes a call, and again if it may help."""


@dataclass(slots=True)
class Figures:
    """What was found in a store so far."""

    conversations: int = 0
    commits: int = 0
    events: int = 0
    messages: int = 0
    """Those in the logs: what was archived or erased has left them."""
    sessions: Counter[str] = field(default_factory=Counter)
    """By their status, deleted ones too."""
    parked: Counter[str] = field(default_factory=Counter)
    """By their status."""
    records: Counter[str] = field(default_factory=Counter)
    """By their kind."""
    epochs: int = 0
    locks: int = 0
    """Names that were ever locked: each keeps its last token."""
    histories: Digest = field(default_factory=Digest)
    rest: Digest = field(default_factory=Digest)

    @property
    def digest(self) -> str:
        """Of all sessions and their histories: the logs, and the heads as they are kept."""
        return str(self.histories)

    @property
    def rest_digest(self) -> str:
        """Of what is kept beside them: parked inputs, records, epochs, the locks' last tokens."""
        return str(self.rest)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "conversations": self.conversations,
            "sessions": self.sessions.total(),
            "sessions_by_status": dict(sorted(self.sessions.items())),
            "messages": self.messages,
            "events": self.events,
            "commits": self.commits,
            "parked": self.parked.total(),
            "parked_by_status": dict(sorted(self.parked.items())),
            "records": self.records.total(),
            "records_by_kind": dict(sorted(self.records.items())),
            "epochs": self.epochs,
            "locks": self.locks,
            "digest": self.digest,
            "rest_digest": self.rest_digest,
        }


class Step(NamedTuple):
    """A page of a part that was copied."""

    copied: int
    cursor: str | None
    """Where the next page begins; None if this was the last."""


class Part(ABC):
    """A part of what stores hold, gone through in pages; nothing is kept of a page that is over."""

    name: str
    """What it is called, in what is shown and in the record of a migration."""

    section: str
    """The section of the store that it is in."""

    @abstractmethod
    async def count(self, figures: Figures, store: Store, cursor: str | None) -> str | None:
        """Add a page to `figures`; return where the next one begins. Raises StoreDamaged for what can't be read."""

    @abstractmethod
    async def copy(self, source: Store, target: Store, cursor: str | None) -> Step:
        """Copy a page. What was copied before may be copied again, as often as one likes.

        Raises StoreDamaged for what can't be read, StoreRejected for what the target can't hold.
        """


class _Logs(Part):
    name = "commits"
    section = "log"

    async def count(self, figures: Figures, store: Store, cursor: str | None) -> str | None:
        page = await _conversations(store, cursor)
        for chunk in chunks(page, _READ):
            await side_by_side(_count_log(figures, store, one) for one in chunk)
        return _after(page)

    async def copy(self, source: Store, target: Store, cursor: str | None) -> Step:
        page = await _conversations(source, cursor)
        logs = [LogReader(source, one) for one in page]
        copied = 0
        while logs:
            for chunk in chunks([log for log in logs if log.needs_more], _READ):
                if sum(log.size for log in logs) < _BYTES:
                    await side_by_side(log.read_on() for log in chunk)
            following = [one for log in logs if (one := log.pop())]
            await _append(target, following)
            copied += len(following)
            logs = [log for log in logs if log.pending or log.needs_more]
        return Step(copied, _after(page))


class _Heads(Part):
    name = "sessions"
    section = "heads"

    async def count(self, figures: Figures, store: Store, cursor: str | None) -> str | None:
        page = await store.heads.scan(limit=_HEADS, cursor=cursor)
        for head in page.items:
            figures.sessions[head.status.value] += 1
            figures.histories.add("head", head.model_dump(mode="json"))
        return page.cursor

    async def copy(self, source: Store, target: Store, cursor: str | None) -> Step:
        page = await source.heads.scan(limit=_HEADS, cursor=cursor)
        for head, refused in zip(page.items, await target.heads.save(page.items), strict=True):
            if refused:
                raise StoreRejected(f"the target can't hold the head of session {head.session_id}: {refused}")
        return Step(len(page.items), page.cursor)


class Beside(Part, Generic[Thing]):
    """A part of what stores hold beside the sessions: small things, each of which can be read and put by itself."""

    @abstractmethod
    async def page(
        self, store: Store, cursor: str | None, limit: int | None = None
    ) -> tuple[Sequence[Any], str | None]:
        """Return the next things, or their names where things are large, and where the page after it begins.

        Raises StoreDamaged for one that can't be read, mostly with the `cursor` behind it in the details.
        """

    async def load(self, store: Store, item: Any) -> Thing | None:  # noqa: ARG002 - for large things
        """Return the thing that an item of a page stands for; None if it is gone."""
        found: Thing = item
        return found

    @abstractmethod
    async def put(self, target: Store, things: Sequence[Thing]) -> None:
        """Put things into a store: again, as often as one likes. What is newer there stays."""

    @abstractmethod
    def add(self, figures: Figures, thing: Thing) -> None:
        """Count a thing."""

    async def each(self, store: Store, asking: Asking) -> AsyncGenerator[Sequence[Thing] | StoreDamaged, None]:
        """Yield all things, a page or a large thing at a time, and the damage in the place of what can't be read.

        Each call to the store is made by `asking`, which may wait out what passes.
        Raises StoreDamaged where the store does not tell how to get past it.
        """
        cursor: str | None = None
        one_by_one = 0
        while True:
            try:
                items, after = await asking(partial(self.page, store, cursor, 1 if one_by_one else None))
            except StoreDamaged as damage:
                if "cursor" not in damage.details:
                    raise
                if not one_by_one:  # First those before it.
                    one_by_one = _NAMES
                    continue
                one_by_one = 0
                yield damage
                cursor = damage.details["cursor"]
            else:
                for some in chunks(items, self.at_once):
                    for found in await self._loaded(store, some, asking):
                        yield found
                cursor, one_by_one = after, max(0, one_by_one - 1)
            if cursor is None:
                return

    async def _loaded(self, store: Store, items: Sequence[Any], asking: Asking) -> list[Sequence[Thing] | StoreDamaged]:
        things: list[Thing] = []
        damaged: list[StoreDamaged] = []
        for item in items:
            try:
                thing = await asking(partial(self.load, store, item))
            except StoreDamaged as damage:
                damage.details["key"] = item
                damaged.append(damage)
            else:
                things += [] if thing is None else [thing]
        return [*damaged, things]

    at_once: int = _RECORDS
    """How many of a page are held at a time."""

    async def count(self, figures: Figures, store: Store, cursor: str | None) -> str | None:
        items, after = await self.page(store, cursor)
        for item in items:
            if (thing := await self.load(store, item)) is not None:
                self.add(figures, thing)
        return after

    async def copy(self, source: Store, target: Store, cursor: str | None) -> Step:
        items, after = await self.page(source, cursor)
        for some in chunks(items, self.at_once):
            found = [await self.load(source, item) for item in some]
            await self.put(target, [thing for thing in found if thing is not None])
        return Step(len(items), after)


class ParkedPart(Beside[ParkedInput]):
    """The parked inputs."""

    name = "parked inputs"
    section = "parked"
    at_once = 1

    async def page(
        self, store: Store, cursor: str | None, limit: int | None = None
    ) -> tuple[Sequence[Any], str | None]:
        page = await store.parked.ids(limit=limit or _NAMES, cursor=cursor)
        return page.items, page.cursor

    async def load(self, store: Store, item: Any) -> ParkedInput | None:
        return await store.parked.get(item)

    async def put(self, target: Store, things: Sequence[ParkedInput]) -> None:
        for parked in things:
            await _put_parked(target, parked)

    def add(self, figures: Figures, thing: ParkedInput) -> None:
        figures.parked[thing.status.value] += 1
        figures.rest.add("parked", *of_parked(thing))


class RecordsPart(Beside[Record]):
    """The records of a kind."""

    section = "records"

    def __init__(self, kind: RecordKind) -> None:
        self.kind = kind
        self.name = f"records: {kind}"

    async def page(
        self, store: Store, cursor: str | None, limit: int | None = None
    ) -> tuple[Sequence[Any], str | None]:
        page = await store.records.scan(self.kind, limit=limit or _RECORDS, cursor=cursor)
        return page.items, page.cursor

    async def put(self, target: Store, things: Sequence[Record]) -> None:
        await target.records.put_many(things)

    def add(self, figures: Figures, thing: Record) -> None:
        figures.records[self.kind.value] += 1
        figures.rest.add("record", thing.model_dump(mode="json"))


class EpochsPart(Beside[Epoch]):
    """The last epochs of the partitions."""

    name = "epochs"
    section = "members"
    at_once = _EPOCHS

    async def page(
        self,
        store: Store,
        cursor: str | None,  # noqa: ARG002 - one page
        limit: int | None = None,  # noqa: ARG002 - as above
    ) -> tuple[Sequence[Any], str | None]:
        return await store.members.epochs(), None

    async def put(self, target: Store, things: Sequence[Epoch]) -> None:
        kept = {(one.group, one.partition): one.epoch for one in await target.members.epochs()}
        for one in things:
            if kept.get((one.group, one.partition), 0) < one.epoch:
                await target.members.take_epoch(one.group, one.partition, above=one.epoch - 1)

    def add(self, figures: Figures, thing: Epoch) -> None:
        figures.epochs += 1
        figures.rest.add("epoch", *thing)


class TokensPart(Beside[LastToken]):
    """The last tokens of the locks."""

    name = "tokens"
    section = "locks"
    at_once = _NAMES

    async def page(
        self, store: Store, cursor: str | None, limit: int | None = None
    ) -> tuple[Sequence[Any], str | None]:
        page = await store.locks.tokens(limit=limit or _NAMES, cursor=cursor)
        return page.items, page.cursor

    async def put(self, target: Store, things: Sequence[LastToken]) -> None:
        for last in things:
            await target.locks.advance(*last)

    def add(self, figures: Figures, thing: LastToken) -> None:
        figures.locks += 1
        figures.rest.add("token", *thing)


PARTS: Final[Sequence[Part]] = (
    _Logs(),
    _Heads(),
    ParkedPart(),
    *(RecordsPart(kind) for kind in RecordKind if kind not in NOT_CARRIED),
    EpochsPart(),
    TokensPart(),
)
"""All that a store holds, in the order in which it is copied: what happened before what is told of it."""


async def figures_of(store: Store) -> AsyncGenerator[Figures, None]:
    """Read all that a store holds; yield the figures as they grow, and in the end as they are.

    Raises StoreDamaged for what can't be read, StoreUnavailable, StoreRejected.
    """
    figures = Figures()
    for part in PARTS:
        cursor = await part.count(figures, store, None)
        while cursor is not None:
            yield figures
            cursor = await part.count(figures, store, cursor)
    yield figures


async def found_in(store: Store) -> list[str]:
    """Return the names of those parts of which a store holds anything."""
    found: list[str] = []
    for part in PARTS:
        figures = Figures()
        await part.count(figures, store, None)
        if figures.as_dict() != Figures().as_dict():
            found.append(part.name)
    return found


async def _conversations(store: Store, cursor: str | None) -> list[ConversationId]:
    after = ConversationId(cursor) if cursor else None
    return await store.log.conversations(after=after, limit=_WRITTEN)


def _after(page: Sequence[ConversationId]) -> str | None:
    return page[-1] if len(page) == _WRITTEN else None


class LogReader:
    """Reads a conversation's commits, oldest first, a few at once."""

    def __init__(self, store: Store, conversation: ConversationId, *, last: int | None = None) -> None:
        self._store = store
        self._conversation = conversation
        self._first: int | None = 1
        self._last = last
        self.pending: deque[Commit] = deque()
        """Those that were read, and not taken yet."""
        self._size: int | None = 0

    @property
    def needs_more(self) -> bool:
        """Whether there is something to be read before the next commit can be taken."""
        return not self.pending and self._first is not None

    @property
    def size(self) -> int:
        """About how many bytes is kept of what was read at once; nothing once all of it was taken."""
        if not self.pending:
            return 0
        if self._size is None:
            self._size = sum(len(commit.model_dump_json()) for commit in self.pending)
        return self._size

    async def read_on(self) -> None:
        """Read the next commits."""
        if self._first is not None:
            page = await self._store.log.read(self._conversation, first=self._first, last=self._last, limit=_COMMITS)
            self.pending.extend(page)
            self._size = None
            self._first = page[-1].version + 1 if len(page) == _COMMITS else None

    def pop(self) -> Commit | None:
        """Take the next commit of those that were read."""
        return self.pending.popleft() if self.pending else None

    async def following(self) -> Commit | None:
        """Return the next commit; None if that was the last."""
        if self.needs_more:
            await self.read_on()
        return self.pop()


async def _count_log(figures: Figures, store: Store, conversation: ConversationId) -> None:
    taken, log = LogDigest(), LogReader(store, conversation)
    while commit := await log.following():
        taken.add(commit)
        figures.commits += 1
        figures.events += len(commit.events)
        figures.messages += sum(isinstance(event, MessageAppended) for event in commit.events)
    figures.conversations += 1
    figures.histories.add_log(taken)


async def _append(target: Store, commits: Sequence[Commit]) -> None:
    """Append commits, if there are any; those that are there stay, or come in the place of others of their versions."""
    if not commits:
        return
    for commit, refused in zip(commits, await target.log.append(commits), strict=True):
        if isinstance(refused, VersionConflict | DuplicateInput):
            await _put_in_place(target, commit, refused)
        elif refused:
            raise StoreRejected(f"the target can't hold {_named(commit)}: {refused}")


async def _put_in_place(target: Store, commit: Commit, refused: StoreError) -> None:
    version = commit.version
    kept = await target.log.read(commit.conversation_id, first=version, last=version, limit=1)
    if not kept:
        raise StoreRejected(f"{_named(commit)} was refused by the target, which has another one: {refused}")
    if kept != [commit]:
        await target.log.replace([commit])


async def _put_parked(target: Store, parked: ParkedInput) -> None:
    kept = await target.parked.get(parked.parked_id)
    if parked == kept:
        return
    if kept is not None:  # Put once more, its attempts would count one more.
        await target.parked.delete(parked.parked_id)
    await target.parked.put(parked)
    if parked.status is not ParkedStatus.PARKED:
        await target.parked.set_status(parked.parked_id, parked.status)


def _named(commit: Commit) -> str:
    return f"commit {commit.version} of conversation {commit.conversation_id}"
