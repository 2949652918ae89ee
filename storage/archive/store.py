"""The archive's files: written, read back, listed, read, deleted."""

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
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
    from agentbus.storage.archive.writing import Writing
    from agentbus.storage.encryption import DataKey, DataKeys

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
        async with closing(lines_of(head, commits)) as lines, closing(_joined(lines)) as pieces:
            piece: bytes | None = await anext(pieces)
            following = await anext(pieces, None)
            key = await self._key_for(session)
            if piece and following is None:  # as of most: no step waits for a thread
                return await self._folder.call(partial(self._write_at_once, head, piece, key))
            writing = await self._folder.call(partial(self._begin, session, key))
            try:
                digest = hashlib.sha256()
                while piece is not None:
                    digest.update(piece)
                    await self._folder.call(partial(writing.write, piece))
                    piece, following = following, await anext(pieces, None)
                name = file_name(head.sequence, digest.hexdigest())
                await self._folder.call(partial(writing.finish, name))
            except BaseException:
                await self._folder.call(writing.abandon)
                raise
        return await self._folder.call(partial(self._read_back, head, name, digest.hexdigest(), key))

    def _begin(self, session: SessionId, key: "DataKey | None") -> "Writing":
        """Begin a session's file. Blocks."""
        from agentbus.storage.archive.sealed import EncryptingFile  # noqa: PLC0415 - see above
        from agentbus.storage.archive.writing import Writing  # noqa: PLC0415 - see above

        encrypting = (lambda raw: EncryptingFile(raw, key, session)) if key else None
        return Writing(self._folder, session_folder(session), encrypting)

    def _write_at_once(self, head: SessionState, lines: bytes, key: "DataKey | None") -> ArchiveRef:
        """Write a session's lines, read them back, and return where they are. Blocks."""
        digest = hashlib.sha256(lines).hexdigest()
        name = file_name(head.sequence, digest)
        writing = self._begin(head.session_id, key)
        try:
            writing.write(lines)
            writing.finish(name)
        except BaseException:
            writing.abandon()
            raise
        return self._read_back(head, name, digest, key)

    def _read_back(self, head: SessionState, name: str, digest: str, key: "DataKey | None") -> ArchiveRef:
        """Read to its end what was just written; remove it if it is something else. Blocks."""
        session, path = head.session_id, f"{session_folder(head.session_id)}/{name}"
        url = self._folder.url(path)
        reader = Reader(session, url)
        try:
            with self._folder.open(path, "rb") as raw:
                file = gzip.GzipFile(mode="rb", fileobj=_in_the_clear(raw, key, session, url))
                while lines := _some(file, url):
                    for line in lines:
                        reader.feed(line)
            details = self._folder.details(path)
            at, size = moment_of(details), int(details.get("size") or 0)
            entry = ArchiveEntry(session_id=session, sequence=head.sequence, digest=digest, url=url, size=size, at=at)
            return entry.ref(_checked(entry, reader).messages)
        except (ArchiveDamaged, FileNotFoundError) as error:
            self._folder.try_to_discard(path)
            raise ArchiveDamaged(f"{url} does not read back as written") from error

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

    async def _key_for(self, session: SessionId) -> "DataKey | None":
        """Return the key that a session's file is encrypted with, its own, if there are keys."""
        if self._keys is None:
            return None
        from agentbus.storage.encryption import of_archived  # noqa: PLC0415 - see above

        subject = of_archived(session)
        key = (await self._keys.to_encrypt([subject]))[subject]
        if isinstance(key, StoreDamaged):
            raise key
        return key

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
        names = await self.names_of(session)
        await self.delete_names(session, [name for name in names if name.startswith(TEMPORARY)])

    async def names_of(self, session: SessionId) -> list[str]:
        """Return the names of what there is of a session: files, and what is being written or was left by a crash."""
        return await self._folder.call(partial(self._folder.names_in, session_folder(session)))

    async def delete_names(self, session: SessionId, names: Collection[str]) -> None:
        """Delete some of what there is of a session, by the names that `names_of` returned. Idempotent."""
        parent = session_folder(session)

        def delete() -> None:
            for name in names:
                with suppress(FileNotFoundError):  # Somebody else was faster.
                    self._folder.discard(f"{parent}/{name}")

        if names:
            await self._folder.call(delete)

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


async def _joined(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines in pieces of so many bytes as are handed to a thread at once."""
    waiting: list[bytes] = []
    size = 0
    async for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _BUFFER:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _in_the_clear(raw: Any, key: "DataKey | None", session: SessionId, url: str) -> Any:
    """Return a file that is read in the clear: it was written with this key, or without one."""
    if key is None:
        return raw
    from agentbus.storage.archive.sealed import DecryptingFile, key_of_file  # noqa: PLC0415 - see above

    if (name := key_of_file(raw)) != key.name:
        raise ArchiveDamaged(f"{url} is damaged: it names the key {name}")
    return DecryptingFile(raw, key, session)


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
