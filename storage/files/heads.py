"""The heads in files."""

import os
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from agentbus.contracts.errors import StoreError
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import chunks
from agentbus.storage.files.base import AT_ONCE, FileSection, Folder
from agentbus.storage.files.disk import locked
from agentbus.storage.files.layout import JSON, ConversationFolder, Names
from agentbus.storage.files.reading import Remembered, page_named, pretty, read, read_if_sound
from agentbus.storage.listing import earliest_due, listed, selected
from agentbus.storage.paging import Position, check_limit, listed_at, name_after, position_of, sessions_page
from agentbus.storage.port import Heads
from agentbus.storage.statistics import statistics_of


@end_well(finished)
class FileHeads(FileSection, Heads):
    """The section of the heads. What looks through all of them keeps them in memory, and reads those that changed."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._known = Remembered(SessionState)
        self._names = Names()

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        newest: dict[SessionId, SessionState] = {}
        for head in sorted(heads, key=lambda head: head.version):
            newest[head.session_id] = head
        await self._folder.call(partial(self._save, list(newest.values())))
        return [None] * len(heads)

    def _save(self, heads: Sequence[SessionState]) -> None:
        for chunk in chunks(heads, AT_ONCE):
            folders = [self._folder.layout.conversation(head.conversation_id) for head in chunk]
            for folder in folders:
                folder.make()
            with locked({folder.path for folder in folders}):
                self._write([head for head in chunk if not self._is_old(head)])
                # After the heads, so that it leads to one; for old ones too, as a crash may have come between.
                changed = [self._lead_to(head, folder) for head, folder in zip(chunk, folders, strict=True)]
                self._folder.disk.sync({path for paths in changed for path in paths})

    def _is_old(self, head: SessionState) -> bool:
        kept = read_if_sound(self._folder.layout.head(head.session_id), SessionState)
        return kept is not None and kept.version > head.version

    def _write(self, heads: Sequence[SessionState]) -> None:
        if not heads:
            return
        with self._folder.disk.temporaries() as files:
            written = [files.write(pretty(head)) for head in heads]
            self._folder.disk.sync(written)
            for head, file in zip(heads, written, strict=True):
                file.rename(self._folder.layout.head(head.session_id))
        self._folder.disk.sync([self._folder.layout.heads])

    def _lead_to(self, head: SessionState, folder: ConversationFolder) -> Sequence[Path]:
        """Let the conversation's `latest` lead to this session, if none is later; return the folders changed."""
        if head.generation <= _generation(folder.latest):
            return ()
        self._folder.disk.point(folder.latest, os.path.relpath(self._folder.layout.head(head.session_id), folder.path))
        return folder.entries()

    async def get(self, session: SessionId) -> SessionState | None:
        return await self._folder.call(partial(read, self._folder.layout.head(session), SessionState))

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        def read_all() -> dict[SessionId, SessionState]:
            found = (read_if_sound(self._folder.layout.head(session), SessionState) for session in sessions)
            return {head.session_id: head for head in found if head}

        return await self._folder.call(read_all)

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        after = position_of("sessions", cursor)
        return await self._folder.call(partial(self._list, where, after, limit))

    def _list(self, where: SessionFilter, after: Position | None, limit: int) -> Page[SessionState]:
        heads = selected(self._all(), where)
        return sessions_page(listed(heads, lambda head: (listed_at(head), head.session_id), after, limit + 1), limit)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        check_limit(limit)
        return await self._folder.call(lambda: earliest_due(self._all(), before, limit))

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        return await self._folder.call(partial(self._scan, name_after("heads", cursor), check_limit(limit)))

    def _scan(self, after: str, limit: int) -> Page[SessionState]:
        folder = self._folder.layout.heads
        names = self._names.after(folder, after, limit + 1)
        return page_named("heads", names, limit, lambda name: read(folder / (name + JSON), SessionState))

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        return await self._folder.call(lambda: statistics_of(selected(self._all(), where)))

    def _all(self) -> list[SessionState]:
        folder = self._folder.layout.heads
        return self._known.read_all(f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(JSON))


def _generation(link: Path) -> int:
    """Return the generation of the session that `latest` leads to; 0 if there is none, or it leads nowhere."""
    try:
        return int(os.readlink(link).removesuffix(JSON).rpartition(".")[2])
    except (FileNotFoundError, ValueError):
        return 0
