"""Writing a backup: lines into files, files into groups with a list of what is in them, groups onto pages."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zlib import crc32

from agentbus.contracts.backup import Counts, Entry, FileRef, Group, Layer, Manifest, SessionMark
from agentbus.contracts.clock import Clock
from agentbus.storage.backup.begun import Begun, give_up, note, still_ours
from agentbus.storage.backup.lines import KEYS
from agentbus.storage.backup.place import FORMAT, VERSION, BackupPlace

if TYPE_CHECKING:
    from agentbus.storage.encryption import DataKey

FILE_BYTES: Final = 4 << 20
"""Bytes of lines in a file, about: what is held in memory, and what one change costs of an incremental backup at most.
"""
_CUT: Final = 256
"""A file ends before one thing of so many, too, by its key: so that one more thing at the beginning does not move the
borders of all files after it, and a full backup of what has hardly changed finds them there already."""
_GROUP_FILES: Final = 16
_GROUP_THINGS: Final = 8_192
"""When a group is closed; the backup is gone on with from there."""
_PAGE_GROUPS: Final = 64


class BackupWriter:
    """Writes one backup. Nothing is one until `finish` has returned."""

    def __init__(
        self,
        place: BackupPlace,
        begun: Begun,
        clock: Clock,
        *,
        key: "DataKey | None" = None,
        known: Callable[[str], FileRef | None] = lambda _digest: None,
    ) -> None:
        self.begun = begun
        self._place = place
        self._clock = clock
        self._key = key
        self._known = known
        self._lines: list[bytes] = []
        self._bytes = 0
        self._files: list[FileRef] = []
        self._entries: list[bytes] = []
        """Lines: as models, those of a group took as much memory as all else."""
        self._began = (0, 0, 0)

    async def add(self, key: str, stamp: str, lines: Sequence[bytes]) -> None:
        """Add a small thing as a whole."""
        await self.begin(key)
        for line in lines:
            await self.line(line)
        self.end(key, stamp)

    async def begin(self, key: str) -> None:
        """Begin a thing. What was begun and not ended is passed over by whoever reads."""
        if self._lines and crc32(key.encode()) % _CUT == 0:
            await self._close_file()
        self._began = len(self._files), len(self._lines), 0

    async def line(self, line: bytes) -> None:
        """Add a line to the thing that was begun."""
        self._lines.append(line)
        self._bytes += len(line) + 1
        file, first, count = self._began
        self._began = file, first, count + 1
        if self._bytes >= FILE_BYTES:
            await self._close_file()

    def end(self, key: str, stamp: str, sessions: tuple[SessionMark, ...] = (), *, again: bool = False) -> Entry:
        """End a thing: now it is there."""
        file, line, lines = self._began
        entry = Entry(key=key, stamp=stamp, file=file, line=line, lines=lines, sessions=sessions, again=again)
        self._entries.append(_line_of(entry))
        return entry

    def gone(self, key: str) -> None:
        """Say that a thing of the backups before is not there any more."""
        self._entries.append(_line_of(Entry(key=key, gone=True)))

    async def note(self, part: str, cursor: str | None, counts: Counts) -> None:
        """Say that all before a cursor was added: from there another run goes on, if this is worth noting yet."""
        if len(self._files) >= _GROUP_FILES or len(self._entries) >= _GROUP_THINGS:
            await self._close_group(part)
            await self._save(part, cursor, counts)

    async def roll(self, part: str) -> None:
        """Let go of what is complete, without noting it: a run that goes on begins the part anew."""
        if len(self._files) >= _GROUP_FILES or len(self._entries) >= _GROUP_THINGS:
            await self._close_group(part)
            await self._turn_page()

    async def end_part(self, part: str, following: str, counts: Counts) -> None:
        """Say that a part is over, and which one follows."""
        await self._close_group(part)
        await self._save(following, None, counts)

    async def finish(self, counts: Counts) -> Manifest:
        """Let the backup be a finished one. Raises BackupRefused if another run works on it."""
        await self._close_page()
        begun = self.begun
        own = Layer(backup=begun.backup_id, pages=begun.pages)
        before = begun.guarded if begun.base else ()
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            backup_id=begun.backup_id,
            created_at=begun.created_at,
            finished_at=self._now(),
            source=begun.source,
            epoch=begun.epoch,
            file_format=begun.file_format,
            encrypted=begun.encrypted,
            description=begun.description,
            tags=begun.tags,
            base=begun.base,
            layers=(own, *before),
            counts=counts,
            written=begun.written,
            size=begun.size,
        )
        await still_ours(self._place, begun)
        await self._place.finish(manifest)
        await give_up(self._place, begun.backup_id)
        return manifest

    async def _save(self, part: str, cursor: str | None, counts: Counts) -> None:
        await self._turn_page()
        changed = self.begun.model_copy(update={"part": part, "cursor": cursor, "counts": counts})
        self.begun = await note(self._place, changed, self._now())

    async def _turn_page(self) -> None:
        if len(self.begun.groups) >= _PAGE_GROUPS:
            await self._close_page()

    async def _close_file(self) -> None:
        if not self._lines:
            return
        self._files.append(await self._write(self._lines))
        self._lines, self._bytes = [], 0

    async def _close_group(self, part: str) -> None:
        await self._close_file()
        if self._entries:
            index = await self._write(self._entries)
            group = Group(part=part, index=index, files=tuple(self._files), things=len(self._entries))
            self._change(groups=(*self.begun.groups, group))
        self._files, self._entries = [], []

    async def _close_page(self) -> None:
        if self.begun.groups:
            lines = [group.model_dump_json().encode() for group in self.begun.groups]
            # Never encrypted: what a backup needs can be told without a key.
            ref = await self._place.write(self.begun.backup_id, lines, known=self._known)
            self._count(ref)
            self._change(groups=(), pages=(*self.begun.pages, ref))

    async def _write(self, lines: list[bytes]) -> FileRef:
        # The keys are wrapped already, and they are what is needed to read all else.
        begun, key = self.begun, None if self.begun.part == KEYS else self._key
        ref = await self._place.write(begun.backup_id, lines, begun.file_format, key=key, known=self._known)
        self._count(ref)
        return ref

    def _count(self, ref: FileRef) -> None:
        new = ref.size if ref.home == self.begun.backup_id else 0
        self._change(written=self.begun.written + new, size=self.begun.size + ref.size)

    def _change(self, **changes: object) -> None:
        self.begun = self.begun.model_copy(update=changes)

    def _now(self) -> datetime:
        return self._clock.now()


def _line_of(entry: Entry) -> bytes:
    return entry.model_dump_json(exclude_defaults=True).encode()
