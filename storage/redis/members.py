"""The workers in Redis: members, epochs and trials. The clock is that of the server which has the group."""

from typing import Any

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_of
from agentbus.storage.redis.base import RedisSection, together
from agentbus.storage.redis.codec import member_body, to_member
from agentbus.storage.redis.layout import EPOCHS, MEMBERS, name_of


@end_well(finished)
class RedisMembers(RedisSection, Members):
    """The section of the workers."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        own = (member.worker_id, member_body(member), forgotten_ms(ttl))
        return await self._heartbeat(group, ttl_ms(ttl), *own, name_of(MEMBERS, group))

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        return await self._heartbeat(group, ttl_ms(ttl))

    async def _heartbeat(self, group: str, *arguments: Any) -> list[Member]:
        keys = [*self._keys(group, "members", "seen"), self._database.names_beside(group)]
        found = await self._database.run("heartbeat", keys, *arguments)
        return sorted((to_member(*one) for one in found), key=lambda member: member.worker_id)

    async def everyone(self, *, ttl: float) -> list[Member]:
        groups = await self._database.all_names(MEMBERS)
        found = await together(self.live(group, ttl=ttl) for group in groups)
        return sorted((one for of_group in found for one in of_group), key=lambda member: member.worker_id)

    async def leave(self, group: str, worker: WorkerId) -> None:
        keys = [*self._keys(group, "members", "seen"), self._database.names_beside(group)]
        await self._database.run("leave", keys, worker, name_of(MEMBERS, group))

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        keys = [*self._keys(group, "epochs"), self._database.names_beside(group)]
        return int(await self._database.run("epoch", keys, partition, above, name_of(EPOCHS, group)))

    async def epochs(self) -> list[Epoch]:
        groups = await self._database.all_names(EPOCHS)
        return sorted(one for of_group in await together(map(self._epochs, groups)) for one in of_group)

    async def _epochs(self, group: str) -> list[Epoch]:
        told = await self._database.run("epochs", self._keys(group, "epochs"))
        return [Epoch(group, Partition(int(one)), int(epoch)) for one, epoch in zip(told[::2], told[1::2], strict=True)]

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        return int(await self._database.run("trial", self._keys(tried, "trial"), attempt))

    async def end_trial(self, key: str) -> None:
        await self._database.ask("UNLINK", *self._keys(key, "trial"))

    def _keys(self, name: str, *what: str) -> list[str]:
        return self._database.layout.keys(self._database.layout.shard_of(name), *what, of=name)
