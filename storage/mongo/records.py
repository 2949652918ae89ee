"""The records in MongoDB: the collection `records`."""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import datetime
from typing import Final

from bson import MaxKey
from pymongo import DeleteMany, InsertOne, UpdateMany, UpdateOne
from pymongo.errors import DuplicateKeyError

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.mongo.base import MongoSection, later, unless_newer
from agentbus.storage.mongo.codec import record_document, record_id, to_record
from agentbus.storage.mongo.driver import Document
from agentbus.storage.paging import check_limit, name_after, position_of, records_page, scanned
from agentbus.storage.port import Records

_PUT_OFF: Final = ("due_at", "data", "revision")
"""What `put_off` changes."""
_ENOUGH_ALIKE: Final = 4
"""Records that one statement puts off at less cost than one statement each: with two it is the same."""


@end_well(finished)
class MongoRecords(MongoSection, Records):
    """The section of the records."""

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        document = record_document(record)
        with self._database.errors():
            if replace:
                await self._replace_record(document)
                return True
            try:
                await self._database.collection("records").insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    async def _replace_record(self, document: Document) -> None:
        where = {"_id": document["_id"]}
        try:
            await self._database.collection("records").replace_one(where, document, upsert=True)
        except DuplicateKeyError:  # Another process put the same for the first time: now there is one.
            await self._database.collection("records").replace_one(where, document, upsert=True)

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        with self._database.errors():
            document = await self._database.collection("records").find_one({"_id": record_id(kind, key)})
        return None if document is None else to_record(document)

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        check_limit(limit)
        query = _of_group(kind, group)
        if after := position_of("records", cursor):
            query |= later("created_at", "_id.n", after)
        order = [("created_at", -1), ("_id.n", 1)]
        return records_page(await self._database.first("records", query, order, to_record, limit + 1), limit)

    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        following = {"$gt": record_id(kind, name_after("kind", cursor)), "$lt": {"k": kind, "n": MaxKey()}}
        with self._database.errors():
            records = self._database.collection("records").find({"_id": following}).sort([("_id", 1)])
            found = await records.limit(check_limit(limit) + 1).to_list(None)
        return scanned("kind", found, limit, lambda document: str(document["_id"]["n"]), to_record)

    async def delete(self, kind: RecordKind, key: str) -> bool:
        with self._database.errors():
            deleted = await self._database.collection("records").delete_one({"_id": record_id(kind, key)})
        return bool(deleted.deleted_count)

    async def delete_group(self, kind: RecordKind, group: str) -> int:
        with self._database.errors():
            return (await self._database.collection("records").delete_many(_of_group(kind, group))).deleted_count

    async def put_many(self, records: Sequence[Record]) -> None:
        # Refused means that another process just put one where there was none: there is one the second time.
        refused = await self._put_all(records)
        await self._put_all(refused)

    async def _put_all(self, records: Sequence[Record]) -> list[Record]:
        """Put records, unless there are newer ones, and return those that were refused."""
        writes = [
            UpdateOne(
                {"_id": record_id(record.kind, record.key)},
                unless_newer(record_document(record), by="revision", value=record.revision),
                upsert=True,
            )
            for record in records
        ]
        return [records[place] for place in await self._database.write_all("records", writes)]

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        query: Document = {"_id.k": kind, "due_at": {"$lte": before}}
        if groups is not None:
            query["group"] = {"$in": list(groups)}
        order = [("due_at", 1), ("_id.n", 1)]
        return await self._database.first("records", query, order, to_record, check_limit(limit))

    async def add_many(self, records: Sequence[Record]) -> None:
        # What is refused is there already. The server inserts in a third of the time that it takes to look and insert.
        await self._database.write_all("records", [InsertOne(record_document(record)) for record in records])

    async def put_off(self, records: Sequence[Record]) -> None:
        # One statement for all that are put off alike takes the server half the time of one for each; for one or two
        # of them to plan it takes longer than that.
        writes: list[UpdateMany] = []
        few: list[Record] = []
        for some in _alike(records, lambda record: (record.revision, record.due_at, repr(record.data))):
            if len(some) < _ENOUGH_ALIKE:
                few += some
                continue
            document = record_document(some[0])
            changed = {name: document[name] for name in _PUT_OFF if name in document}
            gone = {name: "" for name in _PUT_OFF if name not in document}
            writes.append(UpdateMany(_not_newer(*some), {"$set": changed} | ({"$unset": gone} if gone else {})))
        await self._database.write_all("records", writes)
        if few:
            await self.put_many(few)

    async def drop(self, records: Sequence[Record]) -> None:
        alike = _alike(records, lambda record: record.revision)
        await self._database.write_all("records", [DeleteMany(_not_newer(*some)) for some in alike])


def _alike(records: Iterable[Record], by: Callable[[Record], Hashable]) -> Iterable[list[Record]]:
    """Return records in groups of those that are alike."""
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(by(record), []).append(record)
    return groups.values()


def _not_newer(*records: Record) -> Document:
    """Return what finds records of one revision, but those of which a higher one is kept."""
    ids = [record_id(record.kind, record.key) for record in records]
    # One without a revision, of an earlier release, is not above any.
    return {"_id": ids[0] if len(ids) == 1 else {"$in": ids}, "revision": {"$not": {"$gt": records[0].revision}}}


def _of_group(kind: RecordKind, group: str) -> Document:
    return {"_id.k": kind, "group": group}
