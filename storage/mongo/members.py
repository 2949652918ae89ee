"""The workers in MongoDB: the collections `members`, `epochs` and `trials`. The clock is the server's: `$$NOW`."""

from typing import Final

from bson import MaxKey

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.mongo.base import MongoSection
from agentbus.storage.mongo.codec import epoch_id, member_fields, member_id, to_member
from agentbus.storage.mongo.driver import Document
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_of

# What is damaged counts as nothing: it must not stop whoever comes to it.
_COUNT: Final = {"$cond": [{"$isNumber": "$count"}, "$count", 0]}
_ATTEMPTS: Final = {"$cond": [{"$isArray": "$attempts"}, "$attempts", []]}


@end_well(finished)
class MongoMembers(MongoSection, Members):
    """The section of the workers. Members not seen for long are removed by the server, by their `expires_at`."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        # The values are literals: a text that begins with "$" would be taken for a field's name.
        fields: Document = {name: {"$literal": value} for name, value in member_fields(member).items()}
        fields |= {"seen_at": "$$NOW", "expires_at": {"$add": ["$$NOW", forgotten_ms(ttl)]}}
        own = to_member(await self._database.change("members", member_id(group, member.worker_id), [{"$set": fields}]))
        # Between the two calls the member's own heartbeat may grow older than a very short ttl.
        others = [one for one in await self.live(group, ttl=ttl) if one.worker_id != own.worker_id]
        return sorted([own, *others], key=lambda one: one.worker_id)

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        return await self._live({"_id": {"$gte": {"g": group}, "$lt": {"g": group, "w": MaxKey()}}}, ttl)

    async def everyone(self, *, ttl: float) -> list[Member]:
        return sorted(await self._live({}, ttl), key=lambda member: member.worker_id)

    async def _live(self, where: Document, ttl: float) -> list[Member]:
        query = where | {"$expr": {"$gte": ["$seen_at", {"$subtract": ["$$NOW", ttl_ms(ttl)]}]}}
        with self._database.errors():
            found = await self._database.collection("members").find(query).sort([("_id", 1)]).to_list(None)
        return [to_member(document) for document in found]

    async def leave(self, group: str, worker: WorkerId) -> None:
        with self._database.errors():
            await self._database.collection("members").delete_one({"_id": member_id(group, worker)})

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        following = {"$add": [{"$max": [_COUNT, above]}, 1]}
        taken = await self._database.change("epochs", epoch_id(group, partition), [{"$set": {"count": following}}])
        return int(taken["count"])

    async def epochs(self) -> list[Epoch]:
        with self._database.errors():
            found = await self._database.collection("epochs").find({"count": {"$type": "number"}}).to_list(None)
        given = (Epoch(one["_id"]["g"], Partition(int(one["_id"]["p"])), int(one["count"])) for one in found)
        return sorted(given)

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        attempts = {"$setUnion": [_ATTEMPTS, [{"$literal": attempt}]]}
        found = await self._database.change("trials", tried, [{"$set": {"attempts": attempts, "count": _COUNT}}])
        # A release before this one counted, and named no attempts.
        return len(found["attempts"]) + int(found["count"])

    async def end_trial(self, key: str) -> None:
        with self._database.errors():
            await self._database.collection("trials").delete_one({"_id": key})
