"""Where the bytes of a history are: a file, one of several in a folder, or a member of a zip; never more than fits.

Nothing is ever unpacked. What a link or a name with `..` in it points to is not read, nor what macOS and others put
beside the files, nor a member that is compressed as no text or JSON is.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Final

from agentbus.workers.importers.port import HistoryUnreadable

MAX_JSON_BYTES: Final = 512 * 1024 * 1024
"""The largest file of JSON, which is read as a whole."""

MAX_MEMBER_JSON_BYTES: Final = 128 * 1024 * 1024
"""The same in a zip, which is smaller than what comes out of it."""

MAX_MEMBER_BYTES: Final = 4 * 1024 * 1024 * 1024
"""The largest text in a zip, which is read line by line."""

MAX_FILES: Final = 100_000
"""Files that are looked at in a folder."""

_SMALL: Final = 16 * 1024 * 1024
_MOST_FOLD: Final = 200
"""How many times its compressed size a member that is not small may have: chats come to 3 to 20 times."""


@dataclass(frozen=True, slots=True)
class Place:
    """One file: on its own, or a member of the zip at `path`."""

    path: Path
    member: str | None = None

    @property
    def named(self) -> PurePath:
        """Its name with the folders around it, as far as they are known: for what names tell."""
        return self.path.absolute() if self.member is None else PurePosixPath(self.member)

    @property
    def within(self) -> str:
        """What comes before a line's number in an error: nothing for a file on its own."""
        return f"{self.member}, " if self.member else ""

    @contextmanager
    def open(self) -> Generator[IO[bytes], None, None]:
        """Open it. Raises HistoryUnreadable for what is no file, for a damaged zip, and a member that is too large."""
        if self.member is None:
            check_regular(self.path)
            with self.path.open("rb") as file:
                yield file
            return
        with open_zip(self.path) as archive:
            info = archive.getinfo(self.member)
            check_size(self.path, info, MAX_MEMBER_BYTES)
            with archive.open(info) as member:
                yield member

    def read(self) -> bytes:
        """Return all of it: raises HistoryUnreadable if that is more than is read of JSON, and as `open` does."""
        limit = MAX_JSON_BYTES if self.member is None else MAX_MEMBER_JSON_BYTES
        with self.open() as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise _too_large(self.path, self.member, limit)
        return content


def check_regular(path: Path) -> None:
    """Raise HistoryUnreadable for a pipe or device: what is read is read twice, and has an end. Raises OSError too."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise HistoryUnreadable.of(path, "neither a file nor a folder: write it to a file first")


def check_size(path: Path, info: zipfile.ZipInfo, limit: int) -> None:
    """Raise HistoryUnreadable for a member of more than `limit` bytes, or of far more than it is compressed to."""
    if info.file_size > limit:
        raise _too_large(path, info.filename, limit)
    if info.file_size > _SMALL and info.file_size > _MOST_FOLD * info.compress_size:
        raise HistoryUnreadable.of(
            path, f"{info.file_size} bytes out of {info.compress_size}: no chat, but a zip bomb", info.filename
        )


def _too_large(path: Path, member: str | None, limit: int) -> HistoryUnreadable:
    return HistoryUnreadable.of(path, f"more than {limit} bytes: export a part of it, such as single chats", member)


@contextmanager
def open_zip(path: Path) -> Generator[zipfile.ZipFile, None, None]:
    """Open a zip; whatever is wrong with it, then or later, becomes HistoryUnreadable."""
    with _sound(path), zipfile.ZipFile(path) as archive:
        if any(info.flag_bits & 1 for info in archive.infolist()):
            raise HistoryUnreadable.of(path, "the zip has a password: unpack it first")
        yield archive


def read_member(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    """Return all of a member of the zip at `path`. Raises HistoryUnreadable if it is too large, or damaged."""
    check_size(path, archive.getinfo(name), MAX_MEMBER_JSON_BYTES)
    with _sound(path):
        return archive.read(name)


@contextmanager
def _sound(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise HistoryUnreadable.of(path, f"not a zip, or a damaged one: {error}") from error


def members_of(archive: zipfile.ZipFile) -> list[str]:
    """Return the names of the files in a zip that may be read, in their order by name."""
    return sorted(info.filename for info in archive.infolist() if not info.is_dir() and _is_ordinary(info))


def _is_ordinary(info: zipfile.ZipInfo) -> bool:
    link = stat.S_ISLNK(info.external_attr >> 16)
    return not link and not info.filename.startswith("/") and _is_wanted(PurePosixPath(info.filename).parts)


def files_in(folder: Path) -> list[str]:
    """Return the names, with `/` from the folder's top, of the files in it that may be read, in their order by name."""
    found = []
    for name in _walked(folder):
        found.append(name)
        if len(found) > MAX_FILES:
            raise HistoryUnreadable.of(folder, f"more than {MAX_FILES} files in it: name a folder with one export")
    return sorted(found)


def _walked(folder: Path) -> Iterator[str]:
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _is_wanted((name,))]
        for name in files:
            path = Path(top) / name
            if _is_wanted((name,)) and not path.is_symlink() and path.is_file():
                yield path.relative_to(folder).as_posix()


def _is_wanted(parts: Iterable[str]) -> bool:
    return not any(part in ("..", "__MACOSX") or part.startswith(".") for part in parts)
