"""One session in one file: the lines of an archive's file, in any of the formats that backups have.

JSON and what is compressed are written and read a line at a time. A pickle is held in memory, and so it is limited.
"""

import asyncio
import errno
import gzip
import json
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast
from uuid import uuid4

from agentbus.contracts.backup import BackupFormat
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import BackupDamaged, BackupFull, BackupNotFound, BackupRefused, BackupUnavailable
from agentbus.storage.backup.encoding import SUFFIXES, zstandard
from agentbus.storage.backup.pickled import pickled, values_in, with_signature, without_signature
from agentbus.storage.cancelling import finished

MOST_PICKLED: Final = 256 << 20
"""Bytes of a session's lines that a pickle may have."""
_LONGEST_LINE: Final = 64 << 20
"""Bytes; what is longer is none of ours: a store takes no commit that is so large."""
_LINES: Final = 64
_LEVEL: Final = 3
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


T = TypeVar("T")


async def write_exported(
    path: Path, lines: AsyncIterator[bytes], form: BackupFormat, signing: bytes | None = None
) -> None:
    """Write lines, with their ends, to a file, whole or not at all.

    Raises BackupUnavailable, BackupFull; BackupRefused for a pickle without the key to sign it, or a too large one.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        if form.is_pickle:
            await _write_pickle(temporary, lines, form, signing)
        else:
            file = await _call(path, lambda: _writer(temporary, form))
            try:
                async with aclosing(_batches(lines)) as batches:
                    async for some in batches:
                        await _call(path, partial(file.write, b"".join(some)))
            finally:
                await _call(path, file.close)
        await _call(path, partial(os.replace, temporary, path))
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


async def read_exported(path: Path, signing: bytes | None = None) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a file, whichever format it has: that is seen by how it begins.

    Raises BackupNotFound, BackupDamaged for what is no such file, BackupRefused for a pickle that is not read.
    """
    lines = await _call(path, partial(_reader, path, signing))
    try:
        while some := await _call(path, lambda: list(islice(lines, _LINES))):
            for line in some:
                yield line
    finally:
        await _call(path, lines.close)


def _writer(path: Path, form: BackupFormat) -> IO[bytes]:
    raw = path.open("xb")
    match form:
        case BackupFormat.JSON_GZ:
            return cast("IO[bytes]", _Both(gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0), raw))
        case BackupFormat.JSON_ZST:
            return cast("IO[bytes]", _Both(zstandard().ZstdCompressor(level=_LEVEL).stream_writer(raw), raw))
        case _:
            return raw


class _Both:
    """A file that compresses, and the one below it."""

    def __init__(self, file: Any, raw: IO[bytes]) -> None:
        self._file = file
        self._raw = raw
        self.write = file.write

    def close(self) -> None:
        with closing(self._raw):
            self._file.close()


async def _write_pickle(path: Path, lines: AsyncIterator[bytes], form: BackupFormat, signing: bytes | None) -> None:
    values: list[Any] = []
    size = 0
    async with aclosing(_batches(lines)) as batches:
        async for some in batches:
            size += sum(map(len, some))
            if size > MOST_PICKLED:
                raise BackupRefused(f"the session has more than {MOST_PICKLED >> 20} MB: export it as json or json_gz")
            values += [json_in(line) for line in some]

    def write() -> None:
        data = pickled(values)
        signed = with_signature(
            gzip.compress(data, _LEVEL, mtime=0) if form is BackupFormat.PICKLE_GZ else data, signing
        )
        with path.open("xb") as file:
            file.write(signed)

    await _call(path, write)


async def _batches(lines: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes], None]:
    some: list[bytes] = []
    async for line in lines:
        some.append(line)
        if len(some) == _LINES:
            yield some
            some = []
    if some:
        yield some


def _reader(path: Path, signing: bytes | None) -> "_Lines":
    return _Lines(path, signing)


class _Lines(Iterator[bytes]):
    """The lines of a file. Reading blocks."""

    def __init__(self, path: Path, signing: bytes | None) -> None:
        self._path = path
        self._raw = path.open("rb")
        try:
            self._values = self._opened(signing)
        except BaseException:
            self._raw.close()
            raise

    def close(self) -> None:
        self._raw.close()

    def __next__(self) -> bytes:
        try:
            return next(self._values)
        except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            raise BackupDamaged(f"{self._path} is damaged: {error}", file=str(self._path)) from None

    def _opened(self, signing: bytes | None) -> Iterator[bytes]:
        beginning = self._raw.read(8)
        self._raw.seek(0)
        if beginning.startswith(b"\x1f\x8b"):
            return self._each(gzip.GzipFile(mode="rb", fileobj=self._raw))
        if beginning.startswith(b"\x28\xb5\x2f\xfd"):
            return self._zstd()
        if beginning.startswith(b"agentbus"):
            return self._pickled(signing)
        return self._each(self._raw)

    def _each(self, file: Any) -> Iterator[bytes]:
        while line := file.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise BackupDamaged(f"{self._path} holds a line that is longer than any of ours", file=str(self._path))
            yield line

    def _zstd(self) -> Iterator[bytes]:
        import io  # noqa: PLC0415 - for this format alone

        package = zstandard()
        stream = package.ZstdDecompressor().stream_reader(self._raw, read_across_frames=True)
        try:
            yield from self._each(io.BufferedReader(stream))
        except package.ZstdError as error:
            raise BackupDamaged(f"{self._path} is damaged: {error}", file=str(self._path)) from None

    def _pickled(self, signing: bytes | None) -> Iterator[bytes]:
        where = str(self._path)
        data = self._raw.read(4 * MOST_PICKLED + 1)
        if len(data) > 4 * MOST_PICKLED:
            raise BackupRefused(f"{where} is larger than a pickle may be")
        payload: bytes | memoryview = without_signature(data, signing, where)
        if bytes(payload[:2]) == b"\x1f\x8b":
            unzip = zlib.decompressobj(wbits=31)
            payload = unzip.decompress(payload, 4 * MOST_PICKLED + 1)
            if len(payload) > 4 * MOST_PICKLED or not unzip.eof:
                raise BackupRefused(f"{where} is larger than a pickle may be, or cut off")
        for value in values_in(payload, where):
            yield json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def is_exported(path: Path) -> bool:
    """Whether a file is an exported session, by how it begins. Blocks."""
    try:
        with path.open("rb") as file:
            beginning = file.read(32)
        if beginning.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                beginning = file.read(32)
    except (OSError, EOFError, zlib.error):
        return False
    return beginning.startswith((b'{"format":"agentbus.', b"agentbus signed", b"\x28\xb5\x2f\xfd"))


def suffix_of(form: BackupFormat) -> str:
    """Return what the name of a file of this format ends with."""
    return SUFFIXES[form]


async def _call(path: Path, work: Callable[[], T]) -> T:
    """Do what blocks in a thread, to its end. Raises BackupUnavailable, BackupFull, BackupNotFound."""
    try:
        return await finished(asyncio.to_thread(work))
    except FileNotFoundError as error:
        raise BackupNotFound(f"there is no file {path}, or no such folder") from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise BackupFull(f"there is no room for {path}") from error
        raise BackupUnavailable(f"{path}: {error.strerror}") from error
