"""The locks in MongoDB: the collection `locks`. The clock is the server's: `$$NOW`.

A lock is `{_id: name, token, expires_at, holder}`. One that was released stays, for its token, with `expires_at` null.
"""

from collections.abc import Collection
from uuid import uuid4

from pymongo import UpdateOne

from agentbus.contracts.history import Page
from agentbus.contracts.records import Lock
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import check_name, lease_ms
from agentbus.storage.mongo.base import MongoSection
from agentbus.storage.mongo.driver import Document, Update
from agentbus.storage.paging import all_page, check_limit, name_after
from agentbus.storage.port import LastToken, Locks


@end_well(finished)
class MongoLocks(MongoSection, Locks):
    """The section of the locks."""

    async def acquire(self, name: str, *, ttl: float) -> Lock | None:
        # The document that comes back tells by its holder whether this very call took the lock.
        holder = uuid4().hex
        document = await self._database.change("locks", check_name(name), _if_free(holder, ttl))
        return _to_lock(document) if document["holder"] == holder else None

    async def acquire_many(self, names: Collection[str], *, ttl: float) -> list[Lock]:
        holder = uuid4().hex
        update = _if_free(holder, ttl)
        writes = [UpdateOne({"_id": check_name(name)}, update, upsert=True) for name in names]
        # Refused means that another process just inserted one for the first time: now there is one.
        refused = await self._database.write_all("locks", writes)
        await self._database.write_all("locks", [writes[place] for place in refused])
        if not writes:
            return []
        mine: Document = {"_id": {"$in": list(names)}, "holder": holder}
        with self._database.errors():
            return [_to_lock(one) for one in await self._database.collection("locks").find(mine).to_list(None)]

    async def renew(self, name: str, token: int, *, ttl: float) -> Lock | None:
        update = [{"$set": {"expires_at": {"$add": ["$$NOW", lease_ms(ttl)]}}}]
        with self._database.errors():
            document: Document | None = await self._database.collection("locks").find_one_and_update(
                _held(name, token), update, return_document=True
            )
        return None if document is None else _to_lock(document)

    async def release(self, name: str, token: int) -> bool:
        with self._database.errors():
            released = await self._database.collection("locks").update_one(
                _held(name, token), {"$set": {"expires_at": None}}
            )
        return bool(released.matched_count)

    async def release_many(self, locks: Collection[Lock]) -> None:
        writes = [UpdateOne(_held(lock.name, lock.token), {"$set": {"expires_at": None}}) for lock in locks]
        await self._database.write_all("locks", writes)

    async def tokens(self, *, limit: int, cursor: str | None = None) -> Page[LastToken]:
        locks = self._database.collection("locks").find({"_id": {"$gt": name_after("tokens", cursor)}}, {"token": 1})
        with self._database.errors():
            found = await locks.sort([("_id", 1)]).limit(check_limit(limit) + 1).to_list(None)
        last = [LastToken(document["_id"], int(document["token"])) for document in found]
        return all_page("tokens", last, limit, lambda one: one.name)

    async def advance(self, name: str, token: int) -> None:
        following = {"$max": [{"$ifNull": ["$token", 0]}, token]}
        await self._database.change("locks", check_name(name), [{"$set": {"token": following}}])


def _if_free(holder: str, ttl: float) -> Update:
    """Return the update that lets `holder` have a lock unless somebody has it."""
    taken: Document = {
        "token": {"$add": [{"$ifNull": ["$token", 0]}, 1]},
        "expires_at": {"$add": ["$$NOW", lease_ms(ttl)]},
        "holder": holder,
    }
    # A null, or no field at all, is less than every date.
    free = {"$lte": ["$expires_at", "$$NOW"]}
    return [{"$set": {name: {"$cond": [free, value, f"${name}"]} for name, value in taken.items()}}]


def _held(name: str, token: int) -> Document:
    """Return what finds the lock if it is this token's: also if its lease ended, as long as nobody took it since."""
    return {"_id": name, "token": token, "expires_at": {"$ne": None}}


def _to_lock(document: Document) -> Lock:
    return Lock(name=document["_id"], token=document["token"], expires_at=document["expires_at"])
