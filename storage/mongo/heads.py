"""The heads in MongoDB: the collection `heads`."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final, TypeVar

from bson.errors import BSONError
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from agentbus.contracts.errors import StoreError, StoreRejected
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import readable
from agentbus.storage.mongo.base import FIRST_CONFLICT, MongoDatabase, MongoSection, later, unless_newer
from agentbus.storage.mongo.codec import LISTED, MAX_DOCUMENT, to_head, to_summary
from agentbus.storage.mongo.driver import Document, Update
from agentbus.storage.mongo.partial import HeadEncoder
from agentbus.storage.paging import check_limit, name_after, position_of, scanned, sessions_page
from agentbus.storage.port import Heads
from agentbus.storage.statistics import Tally, to_statistics

Item = TypeVar("Item")

_PLACES: Final = {name: f"address.{name}" for name in ("platform", "account", "chat", "user")} | {
    name: f"profile.{name}" for name in ("owner", "agent_id", "parent_id")
}
"""Where a head has the fields of a filter that are not its own."""

_FLUSHED: Final = 500
"""Heads that are asked for together."""

_NOT_DELETED: Final = {"status": {"$ne": SessionStatus.DELETED}}
# The same as `agentbus.storage.statistics.lasted_ms`: null, from a moment that is missing, is less than 0.
_LASTED: Final = {"lasted": {"$sum": {"$max": [0, {"$subtract": ["$last_activity", "$created_at"]}]}}}


@end_well(finished)
class MongoHeads(MongoSection, Heads):
    """The section of the heads."""

    def __init__(self, database: MongoDatabase) -> None:
        super().__init__(database)
        self._encoder = HeadEncoder()

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        return await self._save_each(heads, unflushed=False)

    @property
    def flushes(self) -> bool:
        return self._database.opened().reads_unflushed

    async def write(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        return await self._save_each(heads, unflushed=self.flushes)

    async def flush(self, heads: Sequence[SessionState]) -> None:
        # All is in one order in the journal and in the oplog: what is acknowledged as durable is so with all before it,
        # and be it a write that finds nothing. That the heads are found after it tells that they were before it: not
        # lost by a server that was started again, or by a primary that is none any more.
        for some in chunks(heads, _FLUSHED):
            with self._database.errors():
                await self._database.opened().settle("heads")
                found = await self._versions(some)
            if lost := [head for head in some if not _holds(found.get(head.session_id), head)]:
                await self._save_each(lost, unflushed=False)

    async def _versions(self, heads: Sequence[SessionState]) -> dict[SessionId, object]:
        wanted = {"_id": {"$in": [head.session_id for head in heads]}}
        found = self._database.collection("heads").find(wanted, {"version": 1}).batch_size(len(heads))
        return {one["_id"]: one.get("version") for one in await found.to_list(None)}

    async def _save_each(self, heads: Sequence[SessionState], *, unflushed: bool) -> list[StoreError | None]:
        try:
            await self._save(heads, unflushed=unflushed)
        except StoreRejected:  # perhaps for one of them alone
            return [await self._save_alone(head) for head in heads]
        return [None] * len(heads)

    async def _save_alone(self, head: SessionState) -> StoreError | None:
        try:
            size = len(self._encoder.document(head).raw)
        except (BSONError, OverflowError) as error:
            return StoreRejected(f"MongoDB can't keep the head: {error}")
        if size > MAX_DOCUMENT:
            return StoreRejected(f"a head of {size} bytes, the limit is {MAX_DOCUMENT}")
        await self._save([head], unflushed=False)
        return None

    async def _save(self, heads: Sequence[SessionState], *, unflushed: bool) -> None:
        # Refused means that another writer inserted one just now, when there was none: there is one the second time.
        refused = await self._replace(heads, unflushed=unflushed)
        await self._replace(refused, unflushed=unflushed)

    async def _replace(self, heads: Sequence[SessionState], *, unflushed: bool) -> list[SessionState]:
        """Write heads, unless there are newer ones, and return those that were refused."""
        if len(heads) == 1:
            return [] if await self._replace_one(heads[0], unflushed=unflushed) else list(heads)
        with self._database.errors():
            writes = [UpdateOne({"_id": head.session_id}, self._update(head), upsert=True) for head in heads]
        return [heads[place] for place in await self._database.write_all("heads", writes, unflushed=unflushed)]

    async def _replace_one(self, head: SessionState, *, unflushed: bool) -> bool:
        """Write one alone, which costs the client less than a batch of one; return whether it was not refused."""
        with self._database.errors():
            try:
                collection = self._database.collection("heads", unflushed=unflushed)
                await collection.update_one({"_id": head.session_id}, self._update(head), upsert=True)
            except DuplicateKeyError:
                return False
        return True

    def _update(self, head: SessionState) -> Update:
        return unless_newer(self._encoder.document(head), by="version", value=head.version)

    async def get(self, session: SessionId) -> SessionState | None:
        with self._database.errors():
            document = await self._database.collection("heads").find_one({"_id": session})
        return None if document is None else to_head(document)

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        with self._database.errors():
            found = await self._database.collection("heads").find({"_id": {"$in": list(sessions)}}).to_list(None)
        return {head.session_id: head for head in readable(found, to_head)}

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        return sessions_page(await self._listed(where, cursor, to_head, limit + 1), limit)

    async def summaries(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionSummary]:
        check_limit(limit)
        return sessions_page(await self._listed(where, cursor, to_summary, limit + 1, fields=LISTED), limit)

    async def _listed(
        self,
        where: SessionFilter,
        cursor: str | None,
        read: Callable[[Document], Item],
        count: int,
        *,
        fields: Document | None = None,
    ) -> list[Item]:
        query = _selected(where)
        if where.status is None:
            query |= _NOT_DELETED
        if after := position_of("sessions", cursor):
            query |= later("listed_at", "_id", after)
        order = [("listed_at", -1), ("_id", 1)]
        return await self._database.first("heads", query, order, read, count, fields=fields)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        order = [("due_at", 1), ("_id", 1)]
        return await self._database.first("heads", {"due_at": {"$lte": before}}, order, to_head, check_limit(limit))

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        heads = self._database.collection("heads").find({"_id": {"$gt": name_after("heads", cursor)}})
        with self._database.errors():
            found = await heads.sort([("_id", 1)]).limit(check_limit(limit) + 1).to_list(None)
        return scanned("heads", found, limit, lambda document: str(document["_id"]), to_head)

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        pipeline: list[Document] = [
            {"$match": {"$and": [_selected(where), _NOT_DELETED]}},
            {"$group": {"_id": "$status", "count": {"$sum": 1}, "messages": {"$sum": "$message_count"}} | _LASTED},
        ]
        with self._database.errors():
            found = await self._database.opened().aggregate("heads", pipeline)
        return to_statistics(Tally(str(one["_id"]), one["count"], one["messages"], one["lasted"]) for one in found)


def _selected(where: SessionFilter) -> Document:
    fields = where.model_dump(exclude_none=True, exclude={"tags", "conflicts"})
    query: Document = {_PLACES.get(name, name): wanted for name, wanted in fields.items()}
    if where.tags:
        query["profile.tags"] = {"$all": list(where.tags)}
    if where.conflicts is not None:
        query[FIRST_CONFLICT] = {"$exists": where.conflicts}
    return query


def _holds(version: object, head: SessionState) -> bool:
    """Return whether a head of this version, as it was found, is `head` or a later one."""
    return isinstance(version, int) and version >= head.version
