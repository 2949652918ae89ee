"""The parked inputs in MongoDB: the collection `parked`, and `parked_bodies` for what a list does not show of them."""

from collections.abc import Sequence
from typing import Final

from bson import MaxKey
from pymongo import InsertOne
from pymongo.errors import DuplicateKeyError

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.mongo.base import MongoSection, later
from agentbus.storage.mongo.codec import parked_document, piece_id, to_parked
from agentbus.storage.mongo.driver import Document
from agentbus.storage.paging import all_page, check_limit, name_after, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs

PIECE: Final = 8 * 1024 * 1024
"""Bytes of a piece of a body: half of what a document may have."""


@end_well(finished)
class MongoParked(MongoSection, ParkedInputs):
    """The section of the parked inputs."""

    async def put(self, parked: ParkedInput) -> None:
        document = parked_document(parked) | {"status": ParkedStatus.PARKED}
        with self._database.errors():
            if await self._park_again(document):
                return
            await self._keep_rest(parked)
            try:
                await self._database.collection("parked").insert_one(document)
            except DuplicateKeyError:  # Another process parked the same for the first time: now there is one.
                await self._park_again(document)

    async def put_many(self, parked: Sequence[ParkedInput]) -> None:
        documents = [parked_document(one) | {"status": ParkedStatus.PARKED} for one in parked]
        with self._database.errors():
            for one in parked:
                await self._keep_rest(one)
        for known in await self._database.write_all("parked", [InsertOne(document) for document in documents]):
            await self.put(parked[known])

    async def _park_again(self, document: Document) -> bool:
        changed = {
            name: value for name, value in document.items() if name not in {"_id", "attempts", "body", "body_size"}
        }
        update = {"$set": changed, "$inc": {"attempts": 1}}
        result = await self._database.collection("parked").update_one({"_id": document["_id"]}, update)
        return bool(result.matched_count)

    async def _keep_rest(self, parked: ParkedInput) -> None:
        """Keep what the record does not hold of a body. Before the record: whoever finds that finds all of it."""
        for number, start in enumerate(range(LISTED_BODY, len(parked.body), PIECE)):
            identity = piece_id(parked.parked_id, number)
            piece = {"_id": identity, "body": parked.body[start : start + PIECE]}
            try:
                await self._database.collection("parked_bodies").replace_one({"_id": identity}, piece, upsert=True)
            except DuplicateKeyError:  # Another process kept the same piece just now.
                continue

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        with self._database.errors():
            document = await self._database.collection("parked").find_one({"_id": parked_id})
            if document is None:
                return None
            return to_parked(document | {"body": await self._whole_body(document)})

    async def _whole_body(self, document: Document) -> bytes:
        body: bytes = document["body"]
        if document["body_size"] > len(body):
            pieces = self._database.collection("parked_bodies").find(_pieces(document["_id"]))
            found = await pieces.sort([("_id", 1)]).to_list(None)
            body += b"".join(piece["body"] for piece in found)
        if len(body) != document["body_size"]:
            raise StoreDamaged(
                f"{self._database.target}: of parked input {document['_id']} {len(body)} of "
                f"{document['body_size']} bytes are left: restore the collection parked_bodies from a backup"
            )
        return body

    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        check_limit(limit)
        query: Document = {} if status is None else {"status": status}
        if conversation is not None:
            query["conversation_id"] = conversation
        if after := position_of("parked", cursor):
            query |= later("parked_at", "_id", after)
        order = [("parked_at", -1), ("_id", 1)]
        return parked_page(await self._database.first("parked", query, order, to_parked, limit + 1), limit)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        parked = self._database.collection("parked").find(
            {"_id": {"$gt": name_after("parked ids", cursor)}}, {"_id": 1}
        )
        with self._database.errors():
            found = await parked.sort([("_id", 1)]).limit(check_limit(limit) + 1).to_list(None)
        return all_page("parked ids", [ParkedId(document["_id"]) for document in found], limit, str)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        with self._database.errors():
            result = await self._database.collection("parked").update_one(
                {"_id": parked_id}, {"$set": {"status": status}}
            )
        return bool(result.matched_count)

    async def delete(self, parked_id: ParkedId) -> bool:
        with self._database.errors():
            if await self._database.collection("parked").find_one({"_id": parked_id}) is None:
                return False  # Pieces that there are may be of one that another process is parking.
            # The pieces first: after a crash in between it is still listed, and can be deleted again.
            await self._database.collection("parked_bodies").delete_many(_pieces(parked_id))
            return bool((await self._database.collection("parked").delete_one({"_id": parked_id})).deleted_count)


def _pieces(parked_id: str) -> Document:
    return {"_id": {"$gte": {"p": parked_id}, "$lt": {"p": parked_id, "n": MaxKey()}}}
