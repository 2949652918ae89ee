"""What has to be looked up of many things without being held in memory: a database of SQLite's own, in a temporary
file that is gone with it."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from agentbus.contracts.errors import BackupFull
from agentbus.storage.cancelling import finished

T = TypeVar("T")

_CACHE: Final = "PRAGMA cache_size = -8192"
"""8 MiB; what is more is in the file."""


class Spool:
    """Texts by their keys. What was put first for a key stays. To be used by one task; each call works in a thread."""

    def __init__(self) -> None:
        # No name: a private file, removed when it is closed, and however this process ends.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._database.execute(_CACHE)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(
            "CREATE TABLE things"
            " (key TEXT PRIMARY KEY, value TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._database.close()

    async def put(self, things: Sequence[tuple[str, str]]) -> None:
        """Keep texts by their keys, unless something is kept for one already."""
        await self._call(lambda: self._write("INSERT OR IGNORE INTO things (key, value) VALUES (?, ?)", things))

    async def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Return what is kept for keys, of those for which there is something; they count as seen."""
        return await self._call(lambda: self._look(keys))

    async def unseen(self, *, limit: int, after: str = "") -> list[tuple[str, str]]:
        """Return up to `limit` of what nobody has asked for, after a key, in order of the keys."""
        query = "SELECT key, value FROM things WHERE seen = 0 AND key > ? ORDER BY key LIMIT ?"
        return await self._call(lambda: self._database.execute(query, (after, limit)).fetchall())

    async def between(self, after: str, last: str | None, *, limit: int) -> list[tuple[str, str]]:
        """Return up to `limit` of what is kept for the keys after one, up to another one or to the end, in order."""
        until = "" if last is None else "AND key <= ?"
        query = f"SELECT key, value FROM things WHERE key > ? {until} ORDER BY key LIMIT ?"  # noqa: S608 - our own words
        given = (after, limit) if last is None else (after, last, limit)
        return await self._call(lambda: self._database.execute(query, given).fetchall())

    def now(self, key: str) -> str | None:
        """Return what is kept for a key, or None. Blocks."""
        found = self._database.execute("SELECT value FROM things WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else None

    def _look(self, keys: Iterable[str]) -> dict[str, str]:
        found = {key: value for key in keys if (value := self.now(key)) is not None}
        self._write("UPDATE things SET seen = 1 WHERE key = ?", [(key,) for key in found])
        return found

    def _write(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(statement, rows)
        self._database.execute("COMMIT")

    async def _call(self, work: Callable[[], T]) -> T:
        def worked() -> T:
            try:
                return work()
            except sqlite3.Error as error:
                raise BackupFull(f"temporary files can't be written here: {error}") from error

        # To its end: the database must not be closed meanwhile.
        return await finished(asyncio.to_thread(worked))
