"""The workers in memory: members, epochs and trials."""

from contracts.ids import Partition
from contracts.members import Member, WorkerId
from storage.liveness import forgotten_ms, ttl_ms
from storage.memory.base import MemoryBase
from storage.paging import to_milliseconds


class MemoryMembers(MemoryBase):
    """The section of the workers."""

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        self._members[group][member.worker_id] = member.model_copy(update={"seen_at": self._clock.now()})
        self._members[group] = {one.worker_id: one for one in self._seen(group, forgotten_ms(ttl))}
        return await self.members(group, ttl=ttl)

    async def members(self, group: str, *, ttl: float) -> list[Member]:
        return sorted(self._seen(group, ttl_ms(ttl)), key=lambda member: member.worker_id)

    def _seen(self, group: str, age: int) -> list[Member]:
        """Return the members seen in the last `age` milliseconds."""
        since = to_milliseconds(self._clock.now()) - age
        members = self._members[group].values()
        return [one for one in members if one.seen_at and to_milliseconds(one.seen_at) >= since]

    async def leave(self, group: str, worker: WorkerId) -> None:
        self._members[group].pop(worker, None)

    async def take_epoch(self, group: str, partition: Partition) -> int:
        self._epochs[group, partition] += 1
        return self._epochs[group, partition]

    async def begin_trial(self, key: str) -> int:
        self._trials[key] += 1
        return self._trials[key]

    async def end_trial(self, key: str) -> None:
        self._trials.pop(key, None)
