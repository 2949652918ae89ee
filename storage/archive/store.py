"""The archive's files: written, read back, listed, read, deleted."""

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from agentbus.contracts.errors import ArchiveDamaged, ArchiveNotFound, ArchiveUnavailable, StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.archive.entries import (
    NOTES,
    SESSIONS,
    ArchiveEntry,
    file_name,
    is_session,
    note_path,
    read_file_name,
    session_folder,
)
from agentbus.storage.archive.format import Contents, Reader, closing, lines_of
from agentbus.storage.folder import TEMPORARY, Folder, Kind, moment_of

if TYPE_CHECKING:  # Encryption and writing are imported when a file is: most who can archive sessions never do.
    from agentbus.storage.archive.sealed import EncryptingFile
    from agentbus.storage.archive.writing import Writing
    from agentbus.storage.encryption import DataKeys

_KIND: Final = Kind("archive", ArchiveNotFound, ArchiveUnavailable, full=ArchiveUnavailable)
_BUFFER: Final = 1 << 20
"""Bytes of lines that are handed to the compressing thread at once."""
_LINES: Final = 100
"""Lines that are read at once."""


def open_archive(url: str, options: Mapping[str, Any] | None = None, keys: "DataKeys | None" = None) -> "ArchiveStore":
    """Return the archive at an fsspec URL: `file:///folder`, `memory://name`, `s3://bucket/folder`, ...

    `options` go to the file system (fsspec's storage options: keys, endpoints). With `keys`, those of the store, what
    is written is encrypted. Raises ConfigurationError for a URL
    whose kind is not known, or whose driver is not installed.
    """
    return ArchiveStore(Folder(url, options or {}, _KIND), keys)


class ArchiveStore:
    """Sessions as gzip files of JSON lines, each named by its session, its last event and its digest.

    Any number of processes may use the same folder. Every call may raise ArchiveUnavailable: the same call may be
    made again. Memory stays flat: a session is written and read in pieces.
    """

    def __init__(self, folder: Folder, keys: "DataKeys | None" = None) -> None:
        self._folder = folder
        self._keys = keys

    @property
    def place(self) -> str:
        """The archive's URL, without credentials."""
        return self._folder.shown

    async def write(self, head: SessionState, commits: AsyncIterator[Commit]) -> ArchiveRef:
        """Write a session, read it back, and return where it is.

        `commits` are those of its conversation from the session's first to its last, with all their events. Raises
        TransitionForbidden if they don't hold all of its events, ArchiveDamaged if something else came back.
        """
        session = head.session_id
        parent = session_folder(session)
        from agentbus.storage.archive.writing import Writing  # noqa: PLC0415 - see above

        writing = await self._folder.call(partial(Writing, self._folder, parent, await self._encrypting(session)))
        try:
            async with closing(lines_of(head, commits)) as lines:
                digest = await self._write_lines(writing, lines)
            name = file_name(head.sequence, digest)
            await self._folder.call(partial(writing.finish, name))
        except BaseException:
            await self._folder.call(writing.abandon)
            raise
        try:
            entry = await self.find(session, digest)
            contents = await self.verify(entry)
        except (ArchiveDamaged, ArchiveNotFound) as error:
            await self._folder.remove(f"{parent}/{name}")
            raise ArchiveDamaged(f"{self._folder.url(f'{parent}/{name}')} does not read back as written") from error
        return entry.ref(contents.messages)

    async def _write_lines(self, writing: "Writing", lines: AsyncIterator[bytes]) -> str:
        digest = hashlib.sha256()
        waiting: list[bytes] = []
        size = 0
        async for line in lines:
            digest.update(line)
            waiting.append(line)
            size += len(line)
            if size >= _BUFFER:
                await self._folder.call(partial(writing.write, b"".join(waiting)))
                waiting, size = [], 0
        await self._folder.call(partial(writing.write, b"".join(waiting)))
        return digest.hexdigest()

    async def entries(self) -> AsyncIterator[ArchiveEntry]:
        """Yield every session's file, by session id; one that was archived again after a restore has several."""
        for shard, _ in await self._folder.names(SESSIONS):
            async for session in self._sessions(shard):
                for entry in await self.entries_of(session):
                    yield entry

    async def sessions(self) -> AsyncIterator[SessionId]:
        """Yield every session of which there is anything, be it the left-over of a crash."""
        for shard, _ in await self._folder.names(SESSIONS):
            async for session in self._sessions(shard):
                yield session

    async def _sessions(self, shard: str) -> AsyncIterator[SessionId]:
        for name, _ in await self._folder.names(f"{SESSIONS}/{shard}"):
            if is_session(name) and name.startswith(shard):
                yield SessionId(name)

    async def entries_of(self, session: SessionId) -> list[ArchiveEntry]:
        """Return a session's files, the latest state first."""
        parent = session_folder(session)
        found: list[ArchiveEntry] = []
        for name, details in await self._folder.names(parent):
            if told := read_file_name(name):
                sequence, digest = told
                url, size = self._folder.url(f"{parent}/{name}"), int(details.get("size") or 0)
                at = moment_of(details)
                found.append(
                    ArchiveEntry(session_id=session, sequence=sequence, digest=digest, url=url, size=size, at=at)
                )
        return sorted(found, key=lambda entry: (-entry.sequence, -entry.at.timestamp(), entry.digest))

    async def find(self, session: SessionId, digest: str | None = None) -> ArchiveEntry:
        """Return a session's file: that of a digest, or the latest. Raises ArchiveNotFound."""
        for entry in await self.entries_of(session):
            if digest in {None, entry.digest}:
                return entry
        which = f" with digest {digest[:12]}..." if digest else ""
        raise ArchiveNotFound(
            f"session {session}{which} is not in the archive {self.place}; see: agentbus archive list"
        )

    async def head(self, entry: ArchiveEntry) -> SessionState:
        """Return the head in a file, without checking the rest. Raises ArchiveNotFound, ArchiveDamaged."""
        async with closing(self._items(entry, Reader(entry.session_id, entry.url))) as items:
            async for item in items:
                if isinstance(item, SessionState):
                    return item
        raise ArchiveDamaged(f"{entry.url} is damaged: it holds no head")

    async def verify(self, entry: ArchiveEntry) -> Contents:
        """Read a file to its end and return what it holds. Raises ArchiveNotFound, ArchiveDamaged."""
        reader = Reader(entry.session_id, entry.url)
        async with closing(self._items(entry, reader)) as items:
            async for _ in items:
                pass
        return _checked(entry, reader)

    async def is_encrypted(self, entry: ArchiveEntry) -> bool:
        """Whether a file is encrypted. Raises ArchiveNotFound."""
        from agentbus.storage.archive.sealed import key_of_file  # noqa: PLC0415 - see above

        def look() -> bool:
            with self._folder.open(_path(entry), "rb") as raw:
                return key_of_file(raw) is not None

        return await self._folder.call(look)

    async def commits(self, entry: ArchiveEntry) -> AsyncIterator[Commit]:
        """Yield the commits in a file, with the session's own events. Raises ArchiveDamaged, at the end at the latest.

        For what must not begin before the file was seen to be whole: `verify` it first.
        """
        reader = Reader(entry.session_id, entry.url)
        async with closing(self._items(entry, reader)) as items:
            async for item in items:
                if isinstance(item, Commit):
                    yield item
        _checked(entry, reader)

    async def _items(self, entry: ArchiveEntry, reader: Reader) -> AsyncIterator[SessionState | Commit]:
        raw = await self._folder.call(partial(self._folder.open, _path(entry), "rb"))
        try:
            file = gzip.GzipFile(mode="rb", fileobj=await self._decrypting(raw, entry))
            while lines := await self._folder.call(lambda: _some(file, entry.url)):
                for line in lines:
                    item = reader.feed(line)
                    if item:
                        yield item
        finally:
            await self._folder.call(raw.close)

    async def _encrypting(self, session: SessionId) -> "Callable[[Any], EncryptingFile] | None":
        """Return what encrypts a session's file, with a key of its own, if there are keys."""
        if self._keys is None:
            return None
        from agentbus.storage.archive.sealed import EncryptingFile  # noqa: PLC0415 - see above
        from agentbus.storage.encryption import of_archived  # noqa: PLC0415 - see above

        subject = of_archived(session)
        key = (await self._keys.to_encrypt([subject]))[subject]
        if isinstance(key, StoreDamaged):
            raise key
        return lambda raw: EncryptingFile(raw, key, session)

    async def _decrypting(self, raw: Any, entry: ArchiveEntry) -> Any:
        """Return a file that is read in the clear."""
        from agentbus.storage.archive.sealed import DecryptingFile, key_of_file  # noqa: PLC0415 - see above
        from agentbus.storage.encryption import SETTING, Destroyed  # noqa: PLC0415 - see above

        name = await self._folder.call(partial(key_of_file, raw))
        if name is None:
            return raw
        if self._keys is None:
            raise ArchiveDamaged(f"{entry.url} is encrypted: give the master keys by {SETTING}")
        key = (await self._keys.to_decrypt([name]))[name]
        if isinstance(key, StoreDamaged):
            raise ArchiveDamaged(f"{entry.url} is encrypted: {key}") from key
        if isinstance(key, Destroyed):
            raise ArchiveNotFound(f"{entry.url} was erased: its key was destroyed")
        return DecryptingFile(raw, key, entry.session_id)

    async def delete_file(self, entry: ArchiveEntry) -> bool:
        """Delete one file of a session; return whether it was there."""
        return await self._folder.remove(_path(entry))

    async def delete(self, session: SessionId) -> bool:
        """Delete all that there is of a session, left-overs of a crash too; return whether there was anything."""
        return await self._folder.remove(session_folder(session))

    async def delete_left_overs(self, session: SessionId) -> None:
        """Delete what was being written of a session: for when nobody can be writing it."""
        parent = session_folder(session)
        for name, _ in await self._folder.names(parent):
            if name.startswith(TEMPORARY):
                await self._folder.remove(f"{parent}/{name}")

    # Notes: small files beside the sessions

    async def put_note(self, name: str, data: bytes) -> None:
        """Keep a small file, in place of the one of that name. Raises ValueError for a name that is none."""
        await self._folder.write(note_path(name), data)

    async def note(self, name: str) -> bytes | None:
        """Return a small file, or None. Raises ValueError for a name that is none."""
        try:
            return await self._folder.read(note_path(name))
        except ArchiveNotFound:
            return None

    async def notes(self) -> list[str]:
        """Return the names of the small files."""
        return [name.removesuffix(".json") for name, _ in await self._folder.names(NOTES) if name.endswith(".json")]


def _path(entry: ArchiveEntry) -> str:
    return f"{session_folder(entry.session_id)}/{file_name(entry.sequence, entry.digest)}"


def _some(file: gzip.GzipFile, place: str) -> list[bytes]:
    try:
        return list(islice(file, _LINES))
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ArchiveDamaged(f"{place} is damaged: {error}") from None


def _checked(entry: ArchiveEntry, reader: Reader) -> Contents:
    contents = reader.contents()
    if contents.digest != entry.digest or contents.head.sequence != entry.sequence:
        raise ArchiveDamaged(f"{entry.url} is damaged: its digest is {contents.digest}")
    return contents
