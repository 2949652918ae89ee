"""The records in memory."""

from collections.abc import Collection, Sequence
from datetime import datetime

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.listing import earliest_due_records, listed
from agentbus.storage.paging import all_page, check_limit, name_after, position_of, records_page
from agentbus.storage.port import Records


class MemoryRecords(Records):
    """The section of the records."""

    def __init__(self) -> None:
        self._records: dict[tuple[RecordKind, str], Record] = {}

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        identity = (record.kind, record.key)
        if not replace and identity in self._records:
            return False
        self._records[identity] = record
        return True

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        return self._records.get((kind, key))

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        after = position_of("records", cursor)
        records = self._of_group(kind, group)
        return records_page(listed(records, lambda record: (record.created_at, record.key), after, limit + 1), limit)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        after = name_after("kind", cursor)
        keys = sorted(key for of_kind, key in self._records if of_kind is kind and key > after)[: limit + 1]
        return all_page("kind", [self._records[kind, key] for key in keys], limit, lambda record: record.key)

    async def delete(self, kind: RecordKind, key: str) -> bool:
        return self._records.pop((kind, key), None) is not None

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        found = self._of_group(kind, group)
        for record in found:
            del self._records[kind, record.key]
        return len(found)

    async def put_many(self, records: Sequence[Record]) -> None:
        for record in records:
            if not self._is_newer_kept(record):
                self._records[record.kind, record.key] = record

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        check_limit(limit)
        of_kind = (record for record in self._records.values() if record.kind is kind)
        return earliest_due_records(of_kind, before, groups, limit)

    async def drop(self, records: Sequence[Record]) -> None:
        for record in records:
            if not self._is_newer_kept(record):
                self._records.pop((record.kind, record.key), None)

    def _is_newer_kept(self, record: Record) -> bool:
        kept = self._records.get((record.kind, record.key))
        return kept is not None and kept.revision > record.revision

    def _of_group(self, kind: RecordKind, group: str) -> list[Record]:
        return [record for record in self._records.values() if record.kind is kind and record.group == group]
