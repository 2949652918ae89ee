"""The heads in MongoDB: the collection `heads`."""

from collections.abc import Sequence

from pymongo import ReplaceOne
from pymongo.errors import BulkWriteError

from contracts.history import Page, SessionFilter
from contracts.ids import SessionId
from contracts.session import SessionState
from storage.mongo.base import MongoBase
from storage.mongo.codec import head_document, to_head
from storage.mongo.driver import Document
from storage.mongo.errors import DUPLICATE_KEY, rejected, write_errors
from storage.paging import Position, check_limit, position_of, sessions_page

_IN_ADDRESS = frozenset({"platform", "account", "chat", "user"})


class MongoHeads(MongoBase):
    """The section of the heads."""

    async def save_heads(self, heads: Sequence[SessionState]) -> None:
        # Refused means that a newer head is there. Or that another writer inserted an older one just now, when there
        # was none: so once more, which then replaces it.
        refused = await self._replace(heads)
        await self._replace(refused)

    async def _replace(self, heads: Sequence[SessionState]) -> list[SessionState]:
        """Write heads and return those that were refused because the session has a head of another version."""
        if not heads:
            return []
        writes = [ReplaceOne(_unless_newer(head), head_document(head), upsert=True) for head in heads]
        try:
            with self._errors():
                await self._collection("heads").bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failed = write_errors(self._target, error)
            for one in failed:
                if one["code"] != DUPLICATE_KEY:
                    raise rejected(self._target, one["code"], one.get("errmsg", "")) from error
            return [heads[one["index"]] for one in failed]
        return []

    async def head(self, session: SessionId) -> SessionState | None:
        with self._errors():
            document = await self._collection("heads").find_one({"_id": session})
        return None if document is None else to_head(document)

    async def list_sessions(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionState]:
        check_limit(limit)
        query: Document = {
            f"address.{name}" if name in _IN_ADDRESS else name: wanted
            for name, wanted in where.model_dump(exclude_none=True).items()
        }
        if after := position_of("sessions", cursor):
            query |= _later(after)
        found = self._collection("heads").find(query).sort([("listed_at", -1), ("_id", 1)]).limit(limit + 1)
        with self._errors():
            return sessions_page([to_head(document) for document in await found.to_list(None)], limit)


def _unless_newer(head: SessionState) -> Document:
    return {"_id": head.session_id, "version": {"$lte": head.version}}


def _later(after: Position) -> Document:
    moment, session = after
    return {
        "listed_at": {"$lte": moment},
        "$or": [{"listed_at": {"$lt": moment}}, {"listed_at": moment, "_id": {"$gt": session}}],
    }
