"""The records in memory."""

from contracts.history import Page
from contracts.records import Record, RecordKind
from storage.memory.base import MemoryBase
from storage.memory.listing import listed
from storage.paging import check_limit, position_of, records_page


class MemoryRecords(MemoryBase):
    """The section of the records."""

    async def put_record(self, record: Record, *, replace: bool = True) -> bool:
        identity = (record.kind, record.key)
        if not replace and identity in self._records:
            return False
        self._records[identity] = record
        return True

    async def record(self, kind: RecordKind, key: str) -> Record | None:
        return self._records.get((kind, key))

    async def list_records(
        self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Record]:
        check_limit(limit)
        after = position_of("records", cursor)
        found = listed(self._of_group(kind, group), lambda record: (record.created_at, record.key), after)
        return records_page(found[: limit + 1], limit)

    async def delete_record(self, kind: RecordKind, key: str) -> bool:
        return self._records.pop((kind, key), None) is not None

    async def delete_records(self, kind: RecordKind, group: str) -> int:
        found = self._of_group(kind, group)
        for record in found:
            del self._records[kind, record.key]
        return len(found)

    def _of_group(self, kind: RecordKind, group: str) -> list[Record]:
        return [record for record in self._records.values() if record.kind is kind and record.group == group]
