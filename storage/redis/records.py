"""The records in Redis."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import newest_by_kind
from agentbus.storage.paging import check_limit, name_after, position_of, records_page, scanned
from agentbus.storage.port import Records
from agentbus.storage.redis.base import BATCH, RedisDatabase, RedisSection, batches, together, too_large
from agentbus.storage.redis.codec import record_id, record_row, to_record
from agentbus.storage.redis.documents import Documents, Found, Listing
from agentbus.storage.redis.layout import US, after_cursor, list_of, name_at, up_to, version_text

_KEYS: Final = ("records", "records:rows", "records:index")


@end_well(finished)
class RedisRecords(RedisSection, Records):
    """The section of the records."""

    def __init__(self, database: RedisDatabase) -> None:
        super().__init__(database)
        self._all = Documents(database, "records:index", "records:rows", ("records",))

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        return bool(await self._put([record], "always" if replace else "absent"))

    async def put_many(self, records: Sequence[Record]) -> None:
        await self._put([record for of_kind in newest_by_kind(records).values() for record in of_kind], "unless_newer")

    async def _put(self, records: Sequence[Record], when: str) -> int:
        """Put records, and return how many were kept."""
        given: list[tuple[str, tuple[str, str, str]]] = []
        for record in records:
            identity, body = record_id(record.kind, record.key), record.model_dump_json()
            if refused := too_large(self._database.target, "record", len(body.encode())):
                raise refused
            given.append((identity, (identity, body, record_row(record))))
        shards = self._database.layout.by_shard(given)
        return sum(await together(self._put_in(shard, of_shard, when) for shard, of_shard in shards.items()))

    async def _put_in(self, shard: int, given: Sequence[tuple[str, str, str]], when: str) -> int:
        kept = 0
        for batch in batches(given, lambda one: len(one[1])):
            arguments = [part for one in batch for part in one]
            kept += sum(await self._database.run("put", self._keys(shard), when, *arguments))
        return kept

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        identity = record_id(kind, key)
        place = self._database.layout.key(self._database.layout.shard_of(identity), "records")
        body = await self._database.ask("HGET", place, identity)
        return None if body is None else to_record(kind, key, body)

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        after = after_cursor(position_of("records", cursor))
        listing = Listing(lists=[list_of("group", kind, group)], after=after, id_prefix=kind + US)
        return records_page(await self._all.first(listing, _reading(kind), limit + 1), limit)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        listing = Listing(lists=[list_of("kind", kind)], after=name_after("kind", cursor), id_prefix=kind + US)
        found = await self._all.every(listing, limit + 1)
        return scanned("kind", found, limit, lambda one: one[0], _reading(kind))

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        check_limit(limit)
        if groups is not None and not groups:
            return []
        wanted: dict[str, Any] = {} if groups is None else {"among": {"group": list(groups)}}
        listing = Listing(lists=[list_of("due", kind)], wanted=wanted, before=up_to(before), id_prefix=kind + US)
        return await self._all.first(listing, _reading(kind), limit)

    async def delete(self, kind: RecordKind, key: str) -> bool:
        return bool(await self._drop([(record_id(kind, key), "")], "always"))

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        listing = Listing(lists=[list_of("group", kind, group)])
        count, after = 0, ""
        while positions := await self._all.positions(listing, after, BATCH):
            after = positions[-1]
            chosen = [(record_id(kind, name_at(one)), listing.lists[0] + one) for one in positions]
            count += await self._drop(chosen, "place")
        return count

    async def drop(self, records: Sequence[Record]) -> None:
        given = [(record_id(record.kind, record.key), version_text(record.revision)) for record in records]
        await self._drop(given, "unless_newer")

    async def _drop(self, given: Sequence[tuple[str, str]], when: str) -> int:
        """Delete records by their ids, each if what is given with it allows; return how many there were."""
        shards = self._database.layout.by_shard((identity, (identity, needs)) for identity, needs in given)
        return sum(await together(self._drop_in(shard, of_shard, when) for shard, of_shard in shards.items()))

    async def _drop_in(self, shard: int, given: Sequence[tuple[str, str]], when: str) -> int:
        count = 0
        for batch in batches(given, lambda _: 0):
            arguments = [part for one in batch for part in one]
            count += int(await self._database.run("drop", self._keys(shard), when, *arguments))
        return count

    def _keys(self, shard: int) -> list[str]:
        return self._database.layout.keys(shard, *_KEYS)


def _reading(kind: RecordKind) -> Any:
    def read(found: Found) -> Record:
        position, [body] = found
        return to_record(kind, name_at(position), body)

    return read
