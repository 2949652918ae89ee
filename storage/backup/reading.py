"""Reading a backup: part by part, thing by thing, every byte checked before it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from agentbus.contracts.backup import Entry, FileRef, Group, Layer, Manifest, SessionMark
from agentbus.contracts.errors import BackupDamaged, BackupNotFound
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.backup.lines import EPOCHS, KEYS, PARKED, RECORDS, SESSIONS, TOKENS, Thing, thing_in
from agentbus.storage.backup.place import BackupPlace, path_of, read_line
from agentbus.storage.backup.spool import Spool
from agentbus.storage.port import Epoch, LastToken

if TYPE_CHECKING:
    from agentbus.storage.encryption import DataKeys

_AT_ONCE: Final = 32
"""Commits, and records, that are decrypted together."""

Kind = TypeVar("Kind", SessionState, Commit, Record, ParkedInput, Epoch, LastToken)


@dataclass(frozen=True, slots=True)
class KeptConversation:
    """A conversation as of the backup. Its commits come once, and before the next conversation is asked for."""

    conversation_id: ConversationId
    sessions: Sequence[SessionMark]
    heads: Sequence[SessionState]
    """Of its sessions, the latest last: as they were kept, which may be a commit or two behind the log."""
    commits: AsyncIterator[Commit] = field(repr=False)
    """Its whole log, oldest first. Raises BackupDamaged."""

    def digests(self) -> dict[SessionId, str]:
        """Return the digest of each session's events, as `SessionDigests` takes it of a store."""
        return {session_id_for(self.conversation_id, one.generation): one.digest for one in self.sessions}


_Told = tuple[str, bytes]
"""The key of something, and the line of its entry."""

_KEY: Final = b'{"key":"'


class LayersReader:
    """Reads what is where in some layers. Everything may raise BackupUnavailable, BackupDamaged naming the file,
    BackupRefused and KeyMissing if a key is missing."""

    def __init__(self, place: BackupPlace, layers: Sequence[Layer], keys: "DataKeys | None" = None) -> None:
        self._place = place
        self._layers = layers
        self._keys = keys or place.keys

    async def entries(self, part: str = SESSIONS) -> AsyncGenerator[Entry, None]:
        """Yield what is told of each thing of a part, without reading it."""
        async with aclosing(self.told(part)) as some:
            async for told in some:
                for _, line in told:
                    yield Entry.model_validate_json(line)

    async def told(self, part: str = SESSIONS) -> AsyncGenerator[list[tuple[str, str]], None]:
        """Yield the same for many things at a time: the key, and the entry as JSON."""
        async with aclosing(self._current(part)) as current:
            async for _, entries in current:
                yield [(key, line.decode()) for key, line in entries]

    async def files(self) -> AsyncGenerator[FileRef, None]:
        """Yield all files that are needed; one that is needed twice comes as often."""
        for layer in self._layers:
            for page in layer.pages:
                yield page
                for group in await self._place.groups_of(page):
                    for ref in group.all:
                        yield ref

    async def _find(self, conversation_id: ConversationId) -> tuple[Group, Entry] | None:
        for layer in self._layers:
            async with aclosing(self._entries(layer, SESSIONS)) as groups:
                async for group, entries in groups:
                    for key, line in entries:
                        if key == conversation_id:
                            entry = read_line(Entry, line, path_of(group.index))
                            return None if entry.gone else (group, entry)
        return None

    async def _current(self, part: str) -> AsyncGenerator[tuple[Group, list[_Told]], None]:
        """Yield the entries of a part: of those for one thing that of the latest layer, unless it is gone."""
        async with Spool() as later:
            for number, layer in enumerate(self._layers, start=1):
                async with aclosing(self._entries(layer, part)) as groups:
                    async for group, entries in groups:
                        known = await later.get([key for key, _ in entries]) if number > 1 else {}
                        where = path_of(group.index)
                        there = [one for one in entries if one[0] not in known and not _is_gone(one[1], where)]
                        if number < len(self._layers):
                            await later.put([(key, "") for key, _ in entries if key not in known])
                        if there:
                            yield group, there

    async def _entries(self, layer: Layer, part: str) -> AsyncGenerator[tuple[Group, list[_Told]], None]:
        for page in layer.pages:
            for group in await self._place.groups_of(page):
                if group.part == part:
                    where = path_of(group.index)
                    lines = await self._place.read(group.index, self._keys)
                    if len(lines) != group.things:
                        raise BackupDamaged(f"{where} has {len(lines)} entries in place of {group.things}", file=where)
                    yield group, [(_key_of(line, where), line) for line in lines]


class BackupReader(LayersReader):
    """Reads one backup. Memory stays flat: a file's lines are held at a time.

    What the store kept encrypted is decrypted with `keys`, and reads as erased if its key was destroyed; `raw` gives it
    as it was kept.
    """

    def __init__(
        self, place: BackupPlace, manifest: Manifest, *, keys: "DataKeys | None" = None, raw: bool = False
    ) -> None:
        super().__init__(place, manifest.layers, keys)
        self.manifest = manifest
        self._raw = raw

    async def conversations(self) -> AsyncGenerator[KeptConversation, None]:
        """Yield all conversations, in no order that means anything."""
        async with aclosing(self._found(SESSIONS)) as found:
            async for entry, lines in found:
                yield await self._conversation(entry, lines)

    async def conversation(self, conversation_id: ConversationId) -> KeptConversation:
        """Return one conversation. Raises BackupNotFound."""
        found = await self._find(conversation_id)
        if found is None:
            backup = self.manifest.backup_id
            raise BackupNotFound(f"conversation {conversation_id!r:.60} is not in backup {backup}")
        group, entry = found
        return await self._conversation(entry, _Lines(self._place, group, self._keys).of(entry))

    async def records(self) -> AsyncGenerator[Record, None]:
        """Yield all records: checkpoints, templates, ... not the data keys."""
        async with aclosing(self._things(RECORDS, Record)) as things:
            waiting: list[Record] = []
            async for record in things:
                waiting.append(record)
                if len(waiting) == _AT_ONCE:
                    for one in await self._plain_records(waiting):
                        yield one
                    waiting = []
            for one in await self._plain_records(waiting):
                yield one

    async def parked(self) -> AsyncGenerator[ParkedInput, None]:
        """Yield all parked inputs, with their whole bodies. Encrypted ones come as they were kept."""
        async with aclosing(self._things(PARKED, ParkedInput)) as things:
            async for one in things:
                yield one

    async def epochs(self) -> AsyncGenerator[Epoch, None]:
        """Yield the last epoch of each partition of each group."""
        async with aclosing(self._things(EPOCHS, Epoch)) as things:
            async for one in things:
                yield one

    async def tokens(self) -> AsyncGenerator[LastToken, None]:
        """Yield the last token of each name that was ever locked."""
        async with aclosing(self._things(TOKENS, LastToken)) as things:
            async for one in things:
                yield one

    async def data_keys(self) -> AsyncGenerator[Record, None]:
        """Yield the data keys that were kept in the store itself, as they were kept: wrapped by a master key."""
        async with aclosing(self._things(KEYS, Record)) as things:
            async for one in things:
                yield one

    # What is where

    async def _things(self, part: str, kind: type[Kind]) -> AsyncGenerator[Kind, None]:
        async with aclosing(self._found(part)) as found:
            async for _, lines in found:
                async with aclosing(lines):
                    async for line, where in lines:
                        yield _only(kind, thing_in(line, where), where)

    async def _found(self, part: str) -> "AsyncGenerator[tuple[Entry, AsyncGenerator[_Found, None]], None]":
        """Yield the entries of a part with their lines."""
        async with aclosing(self._current(part)) as current:
            async for group, entries in current:
                lines = _Lines(self._place, group, self._keys)
                for _, told in entries:
                    entry = read_line(Entry, told, path_of(group.index))
                    of_it = lines.of(entry)
                    yield entry, of_it
                    await of_it.aclose()

    # What it says

    async def _conversation(self, entry: Entry, lines: "AsyncGenerator[_Found, None]") -> KeptConversation:
        heads: list[SessionState] = []
        first: Commit | None = None
        async for line, where in lines:
            thing = thing_in(line, where)
            if isinstance(thing, Commit):
                first = _of(entry, thing, where)
                break
            heads.append(_of(entry, _only(SessionState, thing, where), where))
        plain = await self._plain_heads(heads)
        commits = self._commits(entry, first, lines)
        return KeptConversation(ConversationId(entry.key), entry.sessions, plain, commits)

    async def _commits(
        self, entry: Entry, first: Commit | None, lines: "AsyncGenerator[_Found, None]"
    ) -> AsyncGenerator[Commit, None]:
        waiting = [first] if first else []
        async with aclosing(lines):
            async for line, where in lines:
                if len(waiting) == _AT_ONCE:
                    for one in await self._plain_commits(waiting):
                        yield one
                    waiting = []
                waiting.append(_of(entry, _only(Commit, thing_in(line, where), where), where))
            for one in await self._plain_commits(waiting):
                yield one

    async def _plain_commits(self, commits: list[Commit]) -> Sequence[Commit]:
        if self._raw or not any(event.sealed for commit in commits for event in commit.events):
            return commits
        from agentbus.storage.encryption.coder import Coder, read  # noqa: PLC0415 - most backups are not encrypted

        return [read(one) for one in await Coder(self._keys).decrypt_commits(commits)]

    async def _plain_heads(self, heads: list[SessionState]) -> Sequence[SessionState]:
        if self._raw or not any(head.sealed for head in heads):
            return heads
        from agentbus.storage.encryption.coder import Coder, read  # noqa: PLC0415 - as above

        return [read(one) for one in await Coder(self._keys).decrypt_heads(heads)]

    async def _plain_records(self, records: list[Record]) -> Sequence[Record]:
        if self._raw or not any(record.sealed for record in records):
            return records
        from agentbus.storage.encryption.coder import Coder, read  # noqa: PLC0415 - as above

        return [read(one) for one in await Coder(self._keys).decrypt_records(records)]


_Found = tuple[bytes, str]
"""A line, and where it is."""


class _Lines:
    """Finds the lines of a group's entries; the last file that was read is remembered."""

    def __init__(self, place: BackupPlace, group: Group, keys: "DataKeys | None") -> None:
        self.group = group
        self._place = place
        self._keys = keys
        self._read: tuple[int, list[bytes]] = (-1, [])

    async def of(self, entry: Entry) -> AsyncGenerator[_Found, None]:
        """Yield the lines of an entry. Raises BackupDamaged."""
        file, line, left = entry.file, entry.line, entry.lines
        while left:
            lines = await self._lines(file)
            where = path_of(self.group.files[file])
            some = lines[line : line + left]
            for one in some:
                yield one, where
            left -= len(some)
            file, line = file + 1, 0

    async def _lines(self, file: int) -> list[bytes]:
        if file >= len(self.group.files):
            where = path_of(self.group.index)
            raise BackupDamaged(f"{where} tells of lines that are in none of its files", file=where)
        if self._read[0] != file:
            self._read = (-1, [])  # Not both at a time.
            self._read = file, await self._place.read(self.group.files[file], self._keys)
        return self._read[1]


def _key_of(line: bytes, where: str) -> str:
    """Return an entry's key: there are many, so it is cut out where that can be done."""
    end = line.find(b'"', len(_KEY))
    key = line[len(_KEY) : end]
    if line.startswith(_KEY) and end > 0 and b"\\" not in key:
        return key.decode("utf-8", "replace")
    return read_line(Entry, line, where).key


def _is_gone(line: bytes, where: str) -> bool:
    return b'"gone"' in line and read_line(Entry, line, where).gone


def _only(kind: type[Kind], thing: Thing, where: str) -> Kind:
    if not isinstance(thing, kind):
        raise BackupDamaged(f"{where} holds a {type(thing).__name__} in the place of a {kind.__name__}", file=where)
    return thing


_Own = TypeVar("_Own", SessionState, Commit)


def _of(entry: Entry, thing: _Own, where: str) -> _Own:
    if thing.conversation_id != entry.key:
        raise BackupDamaged(f"{where} holds something of another conversation than {entry.key}", file=where)
    return thing
