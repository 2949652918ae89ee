"""The records in MongoDB: the collection `records`."""

from collections.abc import Collection, Sequence
from datetime import datetime

from bson import MaxKey
from pymongo import DeleteOne, UpdateOne
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

    async def drop(self, records: Sequence[Record]) -> None:
        await self._database.write_all("records", [DeleteOne(_not_newer(record)) for record in records])


def _not_newer(record: Record) -> Document:
    # One without a revision, of an earlier release, is not above any.
    return {"_id": record_id(record.kind, record.key), "revision": {"$not": {"$gt": record.revision}}}


def _of_group(kind: RecordKind, group: str) -> Document:
    return {"_id.k": kind, "group": group}
