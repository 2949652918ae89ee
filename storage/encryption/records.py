"""The records, encrypted: those that hold what people wrote."""

from collections.abc import Collection, Sequence
from datetime import datetime

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.damage import readable
from agentbus.storage.encryption.coder import Coder, page_of, read
from agentbus.storage.port import Records, Store


class EncryptedRecords(Records):
    """The section of the records."""

    def __init__(self, store: Store, coder: Coder) -> None:
        self._store = store
        self._coder = coder

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        (kept,) = await self._coder.encrypt_records([record])
        return await self._store.records.put(kept, replace=replace)

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        record = await self._store.records.get(kind, key)
        return None if record is None else read((await self._coder.decrypt_records([record]))[0])

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        page = await self._store.records.page(kind, group, limit=limit, cursor=cursor)
        return Page(items=tuple(await self._readable(page.items)), cursor=page.cursor)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        page = await self._store.records.scan(kind, limit=limit, cursor=cursor)
        found = await self._coder.decrypt_records(page.items)
        return await page_of(page, found, lambda limit: self._store.records.scan(kind, limit=limit, cursor=cursor))

    async def delete(self, kind: RecordKind, key: str) -> bool:
        return await self._store.records.delete(kind, key)

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        return await self._store.records.delete_group(kind, group)

    async def put_many(self, records: Sequence[Record]) -> None:
        await self._store.records.put_many(await self._coder.encrypt_records(records))

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        return await self._readable(await self._store.records.due(kind, before, groups=groups, limit=limit))

    async def add_many(self, records: Sequence[Record]) -> None:
        await self._store.records.add_many(await self._coder.encrypt_records(records))

    async def put_off(self, records: Sequence[Record]) -> None:
        await self._store.records.put_off(await self._coder.encrypt_records(records))

    async def drop(self, records: Sequence[Record]) -> None:
        await self._store.records.drop(records)

    async def _readable(self, records: Sequence[Record]) -> list[Record]:
        return readable(await self._coder.decrypt_records(records), read)
