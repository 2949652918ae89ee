"""The workers in memory: members, epochs and trials."""

from collections import defaultdict
from datetime import datetime

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.storage.leases import forgotten_ms, ttl_ms
from agentbus.storage.paging import to_milliseconds
from agentbus.storage.port import Epoch, Members
from agentbus.storage.port.members import attempt_of


class MemoryMembers(Members):
    """The section of the workers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._members: dict[str, dict[WorkerId, Member]] = defaultdict(dict)
        self._epochs: dict[tuple[str, Partition], int] = defaultdict(int)
        self._trials: dict[str, set[str]] = defaultdict(set)

    async def heartbeat(self, group: str, member: Member, *, ttl: float) -> list[Member]:
        now = self._clock.now()
        self._members[group][member.worker_id] = member.model_copy(update={"seen_at": now})
        self._members[group] = {one.worker_id: one for one in self._seen(group, now, forgotten_ms(ttl))}
        return self._seen(group, now, ttl_ms(ttl))

    async def live(self, group: str, *, ttl: float) -> list[Member]:
        return self._seen(group, self._clock.now(), ttl_ms(ttl))

    async def everyone(self, *, ttl: float) -> list[Member]:
        now = self._clock.now()
        found = [member for group in list(self._members) for member in self._seen(group, now, ttl_ms(ttl))]
        return sorted(found, key=lambda member: member.worker_id)

    def _seen(self, group: str, now: datetime, age: int) -> list[Member]:
        """Return the members seen in the last `age` milliseconds, in the order of their ids."""
        since = to_milliseconds(now) - age
        members = self._members[group].values()
        seen = [one for one in members if one.seen_at and to_milliseconds(one.seen_at) >= since]
        return sorted(seen, key=lambda member: member.worker_id)

    async def leave(self, group: str, worker: WorkerId) -> None:
        self._members[group].pop(worker, None)

    async def take_epoch(self, group: str, partition: Partition, *, above: int = 0) -> int:
        self._epochs[group, partition] = max(self._epochs[group, partition], above) + 1
        return self._epochs[group, partition]

    async def epochs(self) -> list[Epoch]:
        return [Epoch(group, partition, epoch) for (group, partition), epoch in sorted(self._epochs.items())]

    async def begin_trial(self, key: str) -> int:
        tried, attempt = attempt_of(key)
        self._trials[tried].add(attempt)
        return len(self._trials[tried])

    async def end_trial(self, key: str) -> None:
        self._trials.pop(key, None)
