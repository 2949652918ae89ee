"""The workers in Redis: members, epochs and trials. The clock is that of the server which has the group."""

from typing import Any

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.port import Members
from agentbus.storage.port.members import attempt_of
from agentbus.storage.redis.base import RedisSection
from agentbus.storage.redis.codec import member_body, to_member


@end_well(finished)
class RedisMembers(RedisSection, Members):
    """The section of the workers."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        own = (member.worker_id, member_body(member), forgotten_ms(ttl))
        return await self._heartbeat(group, ttl_ms(ttl), *own)

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        return await self._heartbeat(group, ttl_ms(ttl))

    async def _heartbeat(self, group: str, *arguments: Any) -> list[Member]:
        found = await self._database.run("heartbeat", self._keys(group, "members", "seen"), *arguments)
        return sorted((to_member(*one) for one in found), key=lambda member: member.worker_id)

    async def leave(self, group: str, worker: WorkerId) -> None:
        await self._database.run("leave", self._keys(group, "members", "seen"), worker)

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        return int(await self._database.run("epoch", self._keys(group, "epochs"), partition, above))

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        return int(await self._database.run("trial", self._keys(tried, "trial"), attempt))

    async def end_trial(self, key: str) -> None:
        await self._database.ask("UNLINK", *self._keys(key, "trial"))

    def _keys(self, name: str, *what: str) -> list[str]:
        return self._database.layout.keys(self._database.layout.shard_of(name), *what, of=name)
