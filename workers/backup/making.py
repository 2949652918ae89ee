"""Making a backup of a store that is in use: page by page, resumable at any moment.

It goes along the parts of which stores consist, as a migration does. Each conversation is there as it was at one
moment: its log up to a commit, and the heads of then.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, Final

from agentbus.contracts.backup import Counts, Entry, FileRef, Manifest
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import BackupDamaged, BackupRefused, StoreDamaged, StoreUnavailable
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.backup.lines import (
    EPOCHS,
    KEYS,
    PARKED,
    RECORDS,
    SESSIONS,
    TOKENS,
    SessionDigests,
    commit_line,
    epoch_line,
    head_line,
    parked_line,
    record_line,
    token_line,
)
from agentbus.storage.backup.lines import PARTS as NAMES
from agentbus.storage.backup.place import BackupPlace
from agentbus.storage.backup.reading import LayersReader
from agentbus.storage.backup.spool import Spool
from agentbus.storage.backup.sweeping import sweep_own
from agentbus.storage.backup.writing import BackupWriter
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Epoch, LastToken, Loaded, Store
from agentbus.workers.backup.beginning import Wanted, begin
from agentbus.workers.concurrency import passing_over, side_by_side
from agentbus.workers.patience import Patience, Result
from agentbus.workers.store_parts import (
    PARTS,
    Beside,
    EpochsPart,
    LogReader,
    ParkedPart,
    RecordsPart,
    TokensPart,
)

_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=5)
_SUBJECT: Final = "backups"
"""What the data key belongs to that a backup's files are encrypted with."""
_OVER: Final = "over"
_MOMENT: Final = 0.02
"""Seconds in which the head is written of what was appended, mostly."""
_LEARNED: Final = 1_000
_STAMP: Final = 16
_PAGE: Final = 1_000
"""Conversations that are looked at together: whether they have changed."""
_LOADED: Final = 200
"""Conversations that are loaded together, of those that have."""
_READ: Final = 4
"""Conversations that are read side by side."""
_HEADS: Final = 100
_TRIES: Final = 5
"""How often a conversation is read again that changed while it was read: the last time it is taken as it is."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """How far it is: things of a part, of which so many were written anew."""

    part: str
    things: int
    written: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """A conversation, a record, ... that can't be read: it is not in the backup as it is now."""

    damage: StoreDamaged
    """Says what it is."""
    conversation_id: ConversationId | None = None


Step = BackedUp | Damaged | Manifest


async def back_up(
    store: Store, place: BackupPlace, wanted: Wanted, *, source: str, clock: Clock
) -> AsyncGenerator[Step, None]:
    """Make a backup of all that `store` holds; yield how far it is, and in the end its manifest.

    A backup of the same kind that was interrupted is gone on with. `source` says which store it is, without a
    password: the same each time. Encrypted with the data keys that the store has, if it has some. Memory is a few
    pages, whatever there is. What can't be read is told; in an incremental backup it is as in the one before.
    Raises StoreUnavailable after a minute without an answer, BackupUnavailable, BackupFull, BackupRefused, also for a
    store that holds nothing any more: what was written is gone on with next time.
    """
    async with AsyncExitStack() as stack:
        making = await _Making.begun(store, place, wanted, source=source, clock=clock, stack=stack)
        async with aclosing(making.steps()) as steps:
            async for step in steps:
                yield step


class _Making:
    """One run."""

    def __init__(self, store: Store, place: BackupPlace, writer: BackupWriter, *, again: bool) -> None:
        self._store = store
        self._place = place
        self._writer = writer
        self._again = again
        self._before = LayersReader(place, writer.begun.guarded)
        self._counts: dict[str, int] = writer.begun.counts.model_dump()

    @classmethod
    async def begun(
        cls, store: Store, place: BackupPlace, wanted: Wanted, *, source: str, clock: Clock, stack: AsyncExitStack
    ) -> "_Making":
        """Begin, or go on."""
        from agentbus.storage.encryption import EncryptedStore, keys_of  # noqa: PLC0415 - for who makes a backup

        keys = keys_of(store)
        kept = store.store if isinstance(store, EncryptedStore) else store
        epochs = await _answered(kept.members.epochs)
        epoch = max((one.epoch for one in epochs), default=0)
        begun, again = await begin(place, wanted, source=source, epoch=epoch, encrypted=bool(keys), now=clock.now())
        key: Any = None
        if keys is not None:
            key = (await keys.to_encrypt([_SUBJECT]))[_SUBJECT]
            if isinstance(key, StoreDamaged):
                raise key
        known = await stack.enter_async_context(Spool())
        writer = BackupWriter(place, begun, clock, key=key, known=partial(_known, known))
        making = cls(kept, place, writer, again=again)
        if begun.guarded and not begun.base and not begun.encrypted:
            await making._learn_files(known)
        return making

    async def _learn_files(self, known: Spool) -> None:
        """Learn which files are there already: of the backup before this one, as far as that can be read."""
        some: list[tuple[str, str]] = []
        with passing_over(BackupDamaged):
            async with aclosing(self._before.files()) as files:
                async for ref in files:
                    some.append((ref.digest, ref.model_dump_json()))
                    if len(some) >= _LEARNED:
                        await known.put(some)
                        some = []
        await known.put(some)

    async def _learn_things(self, part: str, there: Spool) -> None:
        """Learn what the backup that this one goes on from has of a part."""
        if self._incremental:
            async with aclosing(self._before.told(part)) as told:
                async for some in told:
                    await there.put(some)

    @property
    def _incremental(self) -> bool:
        return self._writer.begun.base is not None

    async def steps(self) -> AsyncGenerator[Step, None]:
        """Write what is not written yet."""
        parts = [SESSIONS, *_BESIDE]
        begun = self._writer.begun
        first = parts.index(begun.part) if begun.part in parts else len(parts) if begun.part == _OVER else 0
        for part in parts[first:]:
            cursor = begun.cursor if part == begun.part else None
            async with Spool() as there:
                await self._learn_things(part, there)
                written = self._sessions(there, cursor) if part == SESSIONS else self._beside(part, there)
                async with aclosing(written) as steps:
                    async for step in steps:
                        yield step
            following = parts[parts.index(part) + 1] if part != parts[-1] else _OVER
            await self._writer.end_part(part, following, self._counted())
        await self._refuse_emptiness()
        manifest = await self._writer.finish(self._counted())
        if self._again:
            await sweep_own(self._place, manifest.backup_id, manifest.layers)
        yield manifest

    async def _refuse_emptiness(self) -> None:
        """Refuse to take for a backup that there is nothing where there was something: good ones would go for it."""
        if self._counts["conversations"]:
            return
        source = self._writer.begun.source
        for one in await self._place.backups():
            if one.manifest and one.manifest.source == source and (held := one.manifest.counts.conversations):
                raise BackupRefused(
                    f"{source} holds no conversation any more, and backup {one.backup_id} of it has {held}: if that is "
                    "meant to be so, remove the backups that have, or take another place"
                )

    # Conversations

    async def _sessions(self, there: Spool, cursor: str | None) -> AsyncGenerator[Step, None]:
        things = written = 0
        after = cursor or ""
        while True:
            ask = partial(self._store.log.conversations, after=ConversationId(after) if after else None, limit=_PAGE)
            page = await _answered(ask)
            last = page[-1] if len(page) == _PAGE else None
            known = await self._known_of(page, there, after, last) if self._incremental else {}
            async with aclosing(self._page(page, known)) as steps:
                async for step in steps:
                    if isinstance(step, Damaged):
                        self._counts["damaged"] += 1
                        yield step
                    else:
                        written += step
            things += len(page)
            yield BackedUp(SESSIONS, things, written)
            if last is None:
                return
            await self._writer.note(SESSIONS, last, self._counted())
            after = last

    async def _known_of(
        self, page: Sequence[ConversationId], there: Spool, after: str, last: str | None
    ) -> Mapping[str, str]:
        """Return what the backup before has of a page, and say what it has beside that: it is not there any more."""
        here, known = set[str](page), dict[str, str]()
        while some := await there.between(after, last, limit=_LEARNED):
            for key, told in some:
                if key in here:
                    known[key] = told
                else:
                    self._writer.gone(key)
            after = some[-1][0]
            await self._writer.roll(SESSIONS)
        return known

    async def _page(
        self, conversations: Sequence[ConversationId], known: Mapping[str, str]
    ) -> AsyncGenerator[Damaged | int, None]:
        """Write those of some conversations that have changed; yield how many were, and of which one can't be."""
        before = {one: entry for one in conversations if (entry := _entry(known.get(one))) and not entry.again}
        stamps = await _answered(partial(self._store.log.stamps, before)) if before else {}
        differing = [one for one in conversations if not self._is_as_before(before.get(one), stamps.get(one))]
        for few in chunks(differing, _LOADED):
            async with aclosing(self._loaded(few, before)) as steps:
                async for step in steps:
                    yield step

    async def _loaded(
        self, conversations: Sequence[ConversationId], before: Mapping[ConversationId, Entry]
    ) -> AsyncGenerator[Damaged | int, None]:
        """Do so with those of which the store did not tell that they are as before."""
        loaded = await self._settled(conversations)
        changed: list[_Kept] = []
        for conversation in conversations:
            try:
                kept = _Kept(conversation, loaded.pop(conversation))
            except StoreDamaged as damage:
                yield Damaged(damage, conversation)
                continue
            if not self._is_as_before(before.get(conversation), kept.stamp):
                changed.append(kept)
        for some in chunks(changed, _READ):
            logs = [LogReader(self._store, kept.conversation, last=kept.version) for kept in some]
            firsts = await side_by_side(_first_of(log) for log in logs)
            for kept, log, unread in zip(some, logs, firsts, strict=True):
                if wrong := unread or await self._written(kept, log):
                    yield Damaged(wrong, kept.conversation)
                else:
                    yield 1

    def _is_as_before(self, before: Entry | None, stamp: str | None) -> bool:
        """Whether a conversation has not changed: then it is counted as the backup before has it."""
        if before is None or before.stamp != stamp:
            return False
        self._count_sessions(before)
        return True

    async def _written(self, kept: "_Kept", log: LogReader) -> StoreDamaged | None:
        """Write a conversation; return why it can't be read."""
        try:
            self._count_sessions(await self._write(kept, log))
        except StoreDamaged as damage:
            return damage
        return None

    async def _settled(self, conversations: Sequence[ConversationId]) -> dict[ConversationId, Loaded]:
        """Load conversations; those whose heads are behind their logs once more, as they are written a moment later."""
        loaded = await _answered(partial(self._store.log.load, conversations))
        for _ in range(_TRIES):
            behind = [one for one in conversations if not loaded[one].damage and loaded[one].commits]
            if not behind:
                break
            await asyncio.sleep(_MOMENT)
            loaded |= await _answered(partial(self._store.log.load, behind))
        return loaded

    async def _write(self, kept: "_Kept", log: LogReader) -> Entry:
        """Write a conversation; again, if it was changed while it was read. Raises StoreDamaged."""
        for attempt in range(1, _TRIES + 1):
            heads, digests = await self._write_once(kept, log)
            if attempt == _TRIES or all(_is_whole(head, digests) for head in heads.values()):
                break
            now = _Kept(kept.conversation, (await self._settled([kept.conversation]))[kept.conversation])
            if now.stamp == kept.stamp:  # What left the log had left it before.
                break
            kept, log = now, LogReader(self._store, now.conversation, last=now.version)
        again = any(_may_leave(head) and digests.events_of(session)[0] for session, head in heads.items())
        return self._writer.end(kept.conversation, kept.stamp, digests.marks(heads), again=again)

    async def _write_once(self, kept: "_Kept", log: LogReader) -> tuple[dict[SessionId, SessionState], SessionDigests]:
        digests = SessionDigests()
        heads: dict[SessionId, SessionState] = {}
        await self._writer.begin(kept.conversation)
        for some in chunks(kept.earlier, _HEADS):
            found = await _answered(partial(self._store.heads.get_many, some))
            heads |= {one: found[one] for one in some if one in found}
        if kept.head:
            heads[kept.head.session_id] = kept.head
        for head in heads.values():
            await self._writer.line(head_line(head))
        while True:
            if log.needs_more:
                await _answered(log.read_on)
            if (commit := log.pop()) is None:
                return heads, digests
            line, events = commit_line(commit)
            digests.add(commit, events)
            await self._writer.line(line)

    def _count_sessions(self, entry: Entry) -> None:
        self._counts["conversations"] += 1
        self._counts["sessions"] += len(entry.sessions)
        self._counts["messages"] += sum(one.messages for one in entry.sessions)
        self._counts["commits"] += int(entry.stamp.partition(".")[0])

    # What is beside them

    async def _beside(self, name: str, there: Spool) -> AsyncGenerator[Step, None]:
        things = written = 0
        nameless = False
        for part, of_it in _BESIDE[name].items():
            async with aclosing(part.each(self._store, _answered)) as pages:
                async for page in pages:
                    if isinstance(page, StoreDamaged):
                        nameless |= not await there.get(_keys_of(part, page))
                        self._counts["damaged"] += 1
                        yield Damaged(page)
                        continue
                    lines = [of_it(thing) for thing in page]
                    known = await there.get([key for key, _ in lines])
                    for key, line in lines:
                        stamp, before = blake2b(line, digest_size=_STAMP).hexdigest(), _entry(known.get(key))
                        if not before or before.stamp != stamp:
                            written += 1
                            await self._writer.add(key, stamp, [line])
                    things += len(page)
                    if name in self._counts:
                        self._counts[name] += len(page)
                    await self._writer.roll(name)
                    yield BackedUp(name, things, written)
        if nameless and self._incremental:
            return  # One of those that were not seen is damaged, and nobody knows which: all stay as they were.
        after = ""
        while left := await there.unseen(limit=_LEARNED, after=after):
            for key, _ in left:
                self._writer.gone(key)
                after = key

    def _counted(self) -> Counts:
        return Counts(**self._counts)


_Lines = Callable[[Any], tuple[str, bytes]]
"""Gives the key and the line of a thing."""


def _record(record: Record) -> tuple[str, bytes]:
    return f"{record.kind}/{record.key}", record_line(record)


def _parked(parked: ParkedInput) -> tuple[str, bytes]:
    return parked.parked_id, parked_line(parked)


def _epoch(epoch: Epoch) -> tuple[str, bytes]:
    return f"{epoch.group}/{epoch.partition}", epoch_line(epoch)


def _token(token: LastToken) -> tuple[str, bytes]:
    return token.name, token_line(token)


def _place_of(part: Beside[Any]) -> tuple[str, _Lines]:
    match part:
        case RecordsPart(kind=RecordKind.DATA_KEY):
            return KEYS, _record
        case RecordsPart():
            return RECORDS, _record
        case ParkedPart():
            return PARKED, _parked
        case EpochsPart():
            return EPOCHS, _epoch
        case TokensPart():
            return TOKENS, _token
        case _:
            raise TypeError(type(part).__name__)


def _keys_of(part: Beside[Any], damage: StoreDamaged) -> list[str]:
    """Return the key of what is damaged, if that is known."""
    key = damage.details.get("key")
    if key is None:
        return []
    return [f"{part.kind}/{key}" if isinstance(part, RecordsPart) else str(key)]


def _all_beside() -> Mapping[str, Mapping[Beside[Any], _Lines]]:
    """Return what is beside the conversations, by the part of a backup that it is in: the keys last."""
    found: dict[str, dict[Beside[Any], _Lines]] = {name: {} for name in NAMES if name != SESSIONS}
    for part in PARTS:
        if isinstance(part, Beside):
            name, lines = _place_of(part)
            found[name][part] = lines
    return found


_BESIDE: Final = _all_beside()


class _Kept:
    """A conversation as it is at one moment. Raises StoreDamaged for one that can't be read."""

    def __init__(self, conversation: ConversationId, loaded: Loaded) -> None:
        self.conversation = conversation
        self.head = loaded.head
        self.version = loaded.version
        self.stamp = loaded.stamp
        generation = self.head.generation if self.head else 0
        self.earlier = [session_id_for(conversation, number) for number in range(1, generation)]


async def _first_of(log: LogReader) -> StoreDamaged | None:
    """Read the first commits of a log; return why that can't be done. One that is damaged does not fail the others."""
    try:
        await _answered(log.read_on)
    except StoreDamaged as damage:
        return damage
    return None


def _is_whole(head: SessionState, digests: SessionDigests) -> bool:
    """Whether all that the head knows of is in the log."""
    events, last = digests.events_of(head.session_id)
    return events >= head.sequence and last >= head.sequence


def _may_leave(head: SessionState) -> bool:
    """Whether what the log has of a session may be changed in place, without a commit."""
    return head.erased or head.archive is not None


def _known(files: Spool, digest: str) -> FileRef | None:
    found = files.now(digest)
    return FileRef.model_validate_json(found) if found else None


def _entry(kept: str | None) -> Entry | None:
    return Entry.model_validate_json(kept) if kept else None


async def _answered(call: Callable[[], Awaitable[Result]]) -> Result:
    return await _PATIENCE.call(call)
