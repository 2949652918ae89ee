"""A conversation of a backup that can be read more than once: a short one in memory, a long one in a private file."""

import asyncio
import errno
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Final, TypeVar

from agentbus.contracts.backup import SessionMark
from agentbus.contracts.errors import BackupFull, BackupUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionState
from agentbus.storage.backup.reading import KeptConversation
from agentbus.storage.cancelling import finished

_MOST_EVENTS: Final = 400
"""Of a conversation that is held in memory."""
_LINES: Final = 64
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


@dataclass(slots=True)
class Held:
    """A conversation of a backup."""

    conversation_id: ConversationId
    sessions: Sequence[SessionMark]
    heads: Sequence[SessionState]
    """The latest last."""
    last: Commit | None = None
    count: int = 0
    """How many commits it has."""
    _some: list[Commit] = field(default_factory=list)
    """The first commits, or all."""
    _file: IO[bytes] | None = None
    """The rest, a line each."""

    @property
    def version(self) -> int:
        """The version of its last commit."""
        return self.last.version if self.last else 0

    @property
    def has_gaps(self) -> bool:
        """Whether it is a part of a conversation alone, as an exported session is."""
        return self.count != self.version

    async def commits(self) -> AsyncGenerator[Commit, None]:
        """Yield its commits, oldest first; as often as one likes, once at a time."""
        for commit in self._some:
            yield commit
        if self._file is None:
            return
        at = 0
        while True:
            lines, at = await _call(partial(self._lines, at))
            for line in lines:
                yield Commit.model_validate_json(line)
            if not lines:
                return

    async def fill(self, commits: AsyncIterator[Commit]) -> None:
        """Take up its commits. Raises BackupFull if there is no room for the file."""
        events, waiting = 0, list[bytes]()
        async for commit in commits:
            self.last = commit
            self.count += 1
            events += 1 + len(commit.events)
            if events <= _MOST_EVENTS:
                self._some.append(commit)
                continue
            waiting.append(commit.model_dump_json().encode() + b"\n")
            if len(waiting) == _LINES:
                await self._write(waiting)
                waiting = []
        if waiting:
            await self._write(waiting)

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file:
            with suppress(OSError):  # What it still wanted to write nobody wants to read.
                self._file.close()
            self._file = None

    async def _write(self, lines: list[bytes]) -> None:
        if self._file is None:
            self._file = await _call(tempfile.TemporaryFile)
        await _call(partial(self._file.writelines, lines))

    def _lines(self, begin: int) -> tuple[list[bytes], int]:
        if self._file is None:
            return [], begin
        self._file.flush()
        self._file.seek(begin)
        lines = [line for _ in range(_LINES) if (line := self._file.readline())]
        at = self._file.tell()
        self._file.seek(0, 2)
        return lines, at


@asynccontextmanager
async def held(kept: KeptConversation) -> AsyncGenerator[Held, None]:
    """Hold a conversation while the body runs. Raises BackupDamaged, BackupUnavailable."""
    found = Held(kept.conversation_id, kept.sessions, kept.heads)
    try:
        await found.fill(kept.commits)
        yield found
    finally:
        found.close()


async def _call(work: Callable[[], T]) -> T:
    """Do what blocks in a thread, to its end: the file must not be closed meanwhile."""
    try:
        return await finished(asyncio.to_thread(work))
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise BackupFull(f"there is no room for temporary files: {error.strerror}") from error
        raise BackupUnavailable(f"a long conversation can't be held in a temporary file: {error.strerror}") from error
