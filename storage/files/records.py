"""The records in files, and links to them in folders of their groups."""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import newest_by_kind
from agentbus.storage.files.base import FileSection, Folder
from agentbus.storage.files.disk import locked
from agentbus.storage.files.layout import JSON, Names, file_name, make_folders, names_in
from agentbus.storage.files.reading import Remembered, page_named, pretty, read, read_if_sound
from agentbus.storage.listing import earliest_due_records, listed
from agentbus.storage.paging import Position, check_limit, name_after, position_of, records_page
from agentbus.storage.port import Records


@end_well(finished)
class FileRecords(FileSection, Records):
    """The section of the records. A link in a group counts if the record is there and says that it is of the group."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._known = {kind: Remembered(Record) for kind in RecordKind}
        self._names = Names()

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        return await self._folder.call(partial(self._put_record, record, replace))

    def _put_record(self, record: Record, replace: bool) -> bool:
        path = self._record(record.kind, record.key)
        make_folders(path.parent)
        with locked([path.parent]):
            if not replace and path.exists():
                return False
            kept = read_if_sound(path, Record)
            self._write_records([(record, kept)])
        return True

    def _write_records(self, records: Sequence[tuple[Record, Record | None]]) -> None:
        """Write records of one kind, each with the one that it replaces, under the lock of the kind."""
        changed: set[Path] = set()
        with self._folder.disk.temporaries() as files:
            written = [files.write(pretty(record)) for record, _ in records]
            for record, kept in records:
                if kept is None or kept.group != record.group:
                    changed |= self._link(record)
            self._folder.disk.sync(changed.union(written))
            for file, (record, _) in zip(written, records, strict=True):
                file.rename(self._record(record.kind, record.key))
        self._folder.disk.sync({self._record(record.kind, record.key).parent for record, _ in records})
        for record, kept in records:
            if kept is not None and kept.group != record.group:
                self._unlink(kept)

    def _link(self, record: Record) -> set[Path]:
        """Put a record into its group; return the folders changed."""
        path, group = self._record(record.kind, record.key), self._group_of(record.kind, record.group)
        make_folders(group.parent, group)
        self._folder.disk.point(group / path.name, os.path.relpath(path, group))
        return {group, group.parent, group.parent.parent, path.parent.parent}

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        return await self._folder.call(partial(read, self._record(kind, key), Record))

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        after = position_of("records", cursor)
        return await self._folder.call(partial(self._list_records, kind, group, after, limit))

    def _list_records(self, kind: RecordKind, group: str, after: Position | None, limit: int) -> Page[Record]:
        records = self._in_group(kind, group)
        return records_page(listed(records, lambda record: (record.created_at, record.key), after, limit + 1), limit)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        return await self._folder.call(partial(self._scan, kind, name_after("kind", cursor), check_limit(limit)))

    def _scan(self, kind: RecordKind, after: str, limit: int) -> Page[Record]:
        # In the order of the files' names: keys stand in another.
        folder = self._folder.layout.records / kind
        names = self._names.after(folder, after, limit + 1)
        return page_named("kind", names, limit, lambda name: read(folder / (name + JSON), Record))

    async def delete(self, kind: RecordKind, key: str) -> bool:
        return await self._folder.call(partial(self._delete_record, kind, key))

    def _delete_record(self, kind: RecordKind, key: str) -> bool:
        path = self._record(kind, key)
        if not path.exists():
            return False
        with locked([path.parent]):
            if not path.exists():
                return False
            if kept := read_if_sound(path, Record):
                self._delete([kept])
            else:
                path.unlink()
                self._folder.disk.sync([path.parent])
            return True

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        return await self._folder.call(partial(self._delete_group, kind, group))

    def _delete_group(self, kind: RecordKind, group: str) -> int:
        if not self._group_of(kind, group).exists():
            return 0
        with locked([self._folder.layout.records / kind]):
            return self._delete(self._in_group(kind, group))

    async def put_many(self, records: Sequence[Record]) -> None:
        for kind, of_kind in newest_by_kind(records).items():
            await self._folder.call(partial(self._put_records, kind, of_kind))

    def _put_records(self, kind: RecordKind, records: Sequence[Record]) -> None:
        folder = self._folder.layout.records / kind
        make_folders(folder)
        with locked([folder]):
            changed = [(record, kept) for record, kept in self._with_kept(records) if not _is_newer(kept, record)]
            if changed:
                self._write_records(changed)

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        check_limit(limit)
        return await self._folder.call(lambda: earliest_due_records(self._all_of(kind), before, groups, limit))

    def _all_of(self, kind: RecordKind) -> list[Record]:
        folder = self._folder.layout.records / kind
        names = (name for name in names_in(folder) if name.endswith(JSON))
        return self._known[kind].read_all(f"{folder}/{name}" for name in names)

    async def drop(self, records: Sequence[Record]) -> None:
        for kind, of_kind in newest_by_kind(records).items():
            await self._folder.call(partial(self._drop_records, kind, of_kind))

    def _drop_records(self, kind: RecordKind, records: Sequence[Record]) -> None:
        folder = self._folder.layout.records / kind
        if folder.exists():
            with locked([folder]):
                found = [kept for record, kept in self._with_kept(records) if not _is_newer(kept, record)]
                self._delete([kept for kept in found if kept])

    def _with_kept(self, records: Sequence[Record]) -> list[tuple[Record, Record | None]]:
        return [(record, read_if_sound(self._record(record.kind, record.key), Record)) for record in records]

    def _delete(self, records: Sequence[Record]) -> int:
        """Delete records of one kind under its lock; return how many."""
        for record in records:
            self._record(record.kind, record.key).unlink()
        if records:
            self._folder.disk.sync([self._folder.layout.records / records[0].kind])
        for record in records:
            self._unlink(record)
        return len(records)

    def _unlink(self, record: Record) -> None:
        """Take a record out of its group, and the group away with the last one."""
        group = self._group_of(record.kind, record.group)
        (group / self._record(record.kind, record.key).name).unlink(missing_ok=True)
        with suppress(OSError):  # It holds others.
            group.rmdir()

    def _in_group(self, kind: RecordKind, group: str) -> list[Record]:
        folder = self._group_of(kind, group)
        found = (read_if_sound(folder / name, Record) for name in names_in(folder) if name.endswith(JSON))
        return [record for record in found if record and record.group == group]

    def _record(self, kind: RecordKind, key: str) -> Path:
        return self._folder.layout.records / kind / (file_name(key) + JSON)

    def _group_of(self, kind: RecordKind, group: str) -> Path:
        return self._folder.layout.groups / kind / file_name(group)


def _is_newer(kept: Record | None, record: Record) -> bool:
    return kept is not None and kept.revision > record.revision
