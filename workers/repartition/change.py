"""Another number of partitions: intake stops, what waits is kept aside in its order, and goes to the new partitions.

It may be interrupted anywhere; done again, it goes on from the last step that the store knows of. Nobody works on the
partitions meanwhile: workers see in the store that the installation is being changed, finish what they have begun, and
end. The inputs of a conversation all wait in one queue, so moving a queue from its head keeps their order.
"""

import asyncio
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import AgentBusError, ConfigurationError, LockLost, LockTimeout
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.installation import Installation
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.records import Lock, Record, RecordKind
from agentbus.contracts.topology import Queue, Topology
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.workers.bus.port import Bus, Delivery, Message
from agentbus.workers.concurrency import afterwards, ended
from agentbus.workers.delivery.trust import passed_on
from agentbus.workers.installation.joining import keep_installation, read_installation
from agentbus.workers.repartition.transfer import Transfer

LOCK: Final = "installation"
LEASE_SECONDS: Final = 15.0
"""How long after an interruption that released nothing somebody else has to wait."""
LEAVING_SECONDS: Final = 120.0
"""How long workers may take to let go of the partitions."""
SETTLING_SECONDS: Final = 1.0
"""How long a publish that was routed before the intake was closed may take to reach its queue."""
MEMBER_TTL: Final = 4.0
"""Seconds of silence after which a worker is taken for dead."""
_POLL: Final = 0.2

_KINDS: Final = (RecordKind.DEADLINE, RecordKind.SYNC_TASK, RecordKind.OUTBOX, RecordKind.WRITING)
"""Records of a session, or of a conversation, whose group is its partition."""

Say = Callable[[str], None]


class StillAtWork(AgentBusError):
    """Somebody still works on the partitions."""


class AnotherChange(AgentBusError):
    """The number of partitions is being changed to another one."""


async def plan_repartition(store: Store, here: Topology, partitions: int) -> Topology | None:
    """Return the topology that there was, from which to change to `partitions`; None if they are as they should be.

    `here` says all but the number. Raises AnotherChange; ConfigurationError if nobody ever started on this store.
    """
    there = await read_installation(store)
    if there is None:
        raise ConfigurationError("this store does not say how many partitions there are: start a worker on it first")
    if there.moving_to not in {None, partitions}:
        raise AnotherChange(
            f"a change from {there.partitions} to {there.moving_to} partitions was begun: end it first, by "
            f"agentbus topology repartition {there.moving_to}"
        )
    if there.moving_to is None and there.partitions == partitions:
        return None
    return here.model_copy(update={"partitions": there.partitions, "scope": there.scope})


class Repartition:
    """Changes the number of partitions from that of `old`'s topology to that of `new`'s; one broker, one store."""

    def __init__(self, old: Bus, new: Bus, store: Store, clock: Clock, *, say: Say = lambda _: None) -> None:
        self._old = old
        self._new = new
        self._store = store
        self._clock = clock
        self._say = say
        self._patience = 2 * LEASE_SECONDS
        self._leaving = LEAVING_SECONDS
        self._settling = SETTLING_SECONDS

    async def run(self) -> int:
        """Do it, or go on with it; return how many inputs were moved to their new partitions.

        Raises StillAtWork while workers don't let go; LockTimeout while somebody else does it; BusError, StoreError.
        After each of them it can be run again.
        """
        lock = await self._acquire()
        try:
            return await _while_held(self._store, lock, self._run())
        finally:
            await afterwards("release the lock", self._store.locks.release(LOCK, lock.token))

    async def _acquire(self) -> Lock:
        """Take the lock; the lease of one who was interrupted is waited for."""
        deadline = monotonic() + self._patience
        while not (lock := await self._store.locks.acquire(LOCK, ttl=LEASE_SECONDS)):
            if monotonic() > deadline:
                raise LockTimeout("somebody else is changing the number of partitions at this moment")
            await asyncio.sleep(_POLL)
        return lock

    async def _run(self) -> int:
        moving = Installation.of(self._old.topology).model_copy(update={"moving_to": self._new.topology.partitions})
        there = await read_installation(self._store)
        if not (there and there.collected):
            await keep_installation(self._store, moving, self._clock)
            await self._collect()
            await keep_installation(self._store, moving.model_copy(update={"collected": True}), self._clock)
        moved = await self._spread()
        await self._regroup()
        await self._new.open_intake()
        for queue in self._surplus():
            await self._new.delete_queue(queue)
        await self._new.delete_queue(self._new.topology.moving)
        await keep_installation(self._store, Installation.of(self._new.topology), self._clock)
        return moved

    async def _collect(self) -> None:
        """Bring all that waits to the queue that keeps it meanwhile; then nothing is in any partition."""
        await self._old.declare_queue(self._old.topology.moving_queue())
        collected = 0
        while True:
            await self._until_nobody_works()
            await asyncio.sleep(self._settling)
            for partition in self._old.topology.all_partitions():
                queue = self._old.topology.partition_queue(partition)
                collected += await Transfer(self._old, queue, self._aside).run()
            if not await self._holding(lambda ready, consumers: bool(ready or consumers)):
                self._say(f"kept aside {collected} inputs that waited")
                return

    async def _until_nobody_works(self) -> None:
        """Close the intake, and wait until every worker has ended. Raises StillAtWork."""
        deadline = monotonic() + self._leaving
        said = False
        while True:
            # Each time: somebody who was just starting may have declared what was closed.
            await self._old.close_intake(self._new.topology.partitions)
            if not said:
                self._say("intake is closed: waiting for the workers to end")
                said = True
            consumed = await self._holding(lambda _, consumers: bool(consumers))
            there = await self._workers()
            if not consumed and not there:
                return
            if monotonic() > deadline:
                raise StillAtWork(
                    f"after {self._leaving:g} s {len(consumed)} partitions are still consumed and these workers "
                    f"have not ended: {', '.join(there) or 'none that beats in this store'}. Stop them, and run this "
                    "again; until then nothing is taken in"
                )
            await asyncio.sleep(_POLL)

    async def _holding(self, which: Callable[[int, int], bool]) -> list[str]:
        """Return the old partitions' queues of which that holds, given how many messages and consumers they have."""
        queues = [self._old.topology.partition_queue(one) for one in self._old.topology.all_partitions()]
        depths = [await self._old.depth(queue) for queue in queues]
        return [queue for queue, depth in zip(queues, depths, strict=True) if which(depth.ready, depth.consumers)]

    async def _workers(self) -> list[str]:
        prefix = self._old.topology.prefix
        found = [await self._store.members.live(kind.group(prefix), ttl=MEMBER_TTL) for kind in WorkerKind]
        return [member.worker_id for members in found for member in members]

    async def _spread(self) -> int:
        """Bring what was kept aside to the new partitions."""
        topology = self._new.topology
        for queue in (*topology.queues(), topology.moving_queue()):
            unbound = queue if queue.name in {topology.ingress, topology.parked} else _unbound(queue)
            await self._new.declare_queue(unbound)
        moved = 0
        # What reached a partition that is no more after it was emptied is not left behind either.
        for source in (topology.moving, *self._surplus()):
            moved += await Transfer(self._new, source, self._home).run()
        self._say(f"moved {moved} inputs to {topology.partitions} partitions")
        return moved

    def _surplus(self) -> list[str]:
        """Return the queues of partitions that there will be no more."""
        old, new = self._old.topology, self._new.topology
        return [old.partition_queue(one) for one in old.all_partitions()[new.partitions :]]

    def _aside(self, delivery: Delivery) -> tuple[str, Message]:
        return self._old.topology.moving, _as_it_was(delivery)

    def _home(self, delivery: Delivery) -> tuple[str, Message]:
        topology = self._new.topology
        conversation = InputEnvelope.from_bytes(delivery.body).conversation(topology.scope)
        return topology.partition_queue(topology.partition_of(conversation)), _as_it_was(delivery)

    async def _regroup(self) -> None:
        """Give the records that belong to partitions to the new ones."""
        for kind in _KINDS:
            for group in range(max(self._old.topology.partitions, self._new.topology.partitions)):
                cursor: str | None = None
                while True:
                    page = await self._store.records.page(kind, str(group), limit=MAX_PAGE, cursor=cursor)
                    await self._store.records.put_many([self._grouped(one) for one in page.items])
                    cursor = page.cursor
                    if cursor is None:
                        break

    def _grouped(self, record: Record) -> Record:
        partition = self._new.topology.partition_of(conversation_of(SessionId(record.key)))
        return record.model_copy(update={"group": str(partition)})


def _as_it_was(delivery: Delivery) -> Message:
    return Message(
        body=delivery.body,
        message_id=delivery.message_id,
        headers=passed_on(delivery),
        reply_to=delivery.reply_to,
        correlation_id=delivery.correlation_id,
    )


def _unbound(queue: Queue) -> Queue:
    return queue.model_copy(update={"bindings": ()})


async def _while_held(store: Store, lock: Lock, work: Coroutine[Any, Any, int]) -> int:
    """Do `work` while the lock is held. Raises LockLost, with the work cut short, when it is not any more."""
    working = asyncio.create_task(work)
    holding = asyncio.create_task(_hold(store, lock))
    try:
        await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        holding.result()
        raise LockLost("somebody else has begun to change the number of partitions")
    finally:
        await ended({working, holding})


async def _hold(store: Store, lock: Lock) -> None:
    """Renew a lock; return when it is somebody else's."""
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        if not await store.locks.renew(lock.name, lock.token, ttl=LEASE_SECONDS):
            return
