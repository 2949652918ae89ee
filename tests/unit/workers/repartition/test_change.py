"""Another number of partitions, on the in-process bus: order, interruptions at every call, those who don't let go."""

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import agentbus.workers.delivery.inputs
from agentbus.client import AgentBus
from agentbus.contracts.address import conversation_id_for
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InstallationMismatch,
    LockTimeout,
    Unroutable,
)
from agentbus.contracts.ids import ConversationId, Partition, SessionId, conversation_of, session_id_for
from agentbus.contracts.installation import Installation
from agentbus.contracts.members import Member, WorkerId, WorkerKind
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery.trust import are_trusted
from agentbus.workers.installation.joining import check_installation, join_installation, read_installation
from agentbus.workers.repartition.change import LOCK, AnotherChange, Repartition, StillAtWork, plan_repartition
from tests.harness.conversations import NOW, message
from tests.harness.patience import PATIENCE
from tests.harness.sampling import sampled

OLD, NEW = Topology(partitions=4), Topology(partitions=6)
USERS = [f"user{number}" for number in range(12)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        agentbus.workers.delivery.inputs,
        "UNDECLARED",
        replace(agentbus.workers.delivery.inputs.UNDECLARED, seconds=0.01),
    )


class Broken(Exception):
    """The process ended here."""


@dataclass
class Fuse:
    """Breaks the process at its `at`th call of store or bus, before or after it had its effect."""

    at: int = -1
    after: bool = False
    calls: int = 0

    async def through(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.calls += 1
        if self.calls != self.at:
            return await call()
        if self.after:
            await call()
        raise Broken


def fused(target: Any, names: Sequence[str], fuse: Fuse) -> None:
    for name in names:
        inner = getattr(target, name)
        setattr(target, name, lambda *given, _inner=inner, **named: fuse.through(partial(_inner, *given, **named)))


BUS_CALLS = ("close_intake", "open_intake", "depth", "consume", "publish_many", "declare_queue", "delete_queue")
RECORD_CALLS = ("put", "put_many", "get", "page")
LOCK_CALLS = ("acquire", "release")


@asynccontextmanager
async def buses(
    broker: MemoryBroker, old: Topology = OLD, new: Topology = NEW
) -> AsyncIterator[tuple[MemoryBus, MemoryBus]]:
    async with MemoryBus(old, broker) as before, MemoryBus(new, broker) as after:
        yield before, after


def change(old: MemoryBus, new: MemoryBus, store: Store) -> Repartition:
    found = Repartition(old, new, store, SystemClock())
    found._settling, found._patience = 0.0, 0.0
    return found


async def filled(store: Store, bus: MemoryBus, each: int = 5) -> None:
    await join_installation(store, bus, SystemClock())
    client = AgentBus(bus)
    for number in range(each):
        await client.publish_many([message(f"{user}-{number}", user=user) for user in USERS])


async def waiting(bus: MemoryBus) -> dict[ConversationId, list[str]]:
    """Take everything out of the partitions: what each conversation has, each input once, where it came first."""
    found: dict[ConversationId, list[str]] = defaultdict(list)
    for partition in bus.topology.all_partitions():
        arrived: list[Delivery] = []
        queue = bus.topology.partition_queue(partition)
        ready = (await bus.depth(queue)).ready
        await bus.consume(queue, arrived.append, prefetch=10_000)
        while len(arrived) < ready:
            await asyncio.sleep(0)
        for one in arrived:
            envelope = InputEnvelope.from_bytes(one.body)
            conversation = envelope.conversation(bus.topology.scope)
            assert bus.topology.partition_of(conversation) == partition
            if envelope.id not in found[conversation]:
                found[conversation].append(envelope.id)
    return found


async def assert_in_place(bus: MemoryBus, each: int = 5) -> None:
    found = await waiting(bus)
    right = [[message(f"{user}-{number}", user=user).input_id() for number in range(each)] for user in USERS]
    assert sorted(found.values()) == sorted(right)


@pytest.mark.parametrize("partitions", [1, 3, 6, 16])
async def test_what_waits_goes_to_the_new_partitions_in_order(partitions: int) -> None:
    store, broker = MemoryStore(), MemoryBroker()
    new = OLD.model_copy(update={"partitions": partitions})
    async with buses(broker, new=new) as (old, after):
        await filled(store, old)
        assert await change(old, after, store).run() == 5 * len(USERS)
        await assert_in_place(after)
        assert await read_installation(store) == Installation.of(new)
        await check_installation(store, new)
        with pytest.raises(InstallationMismatch, match=f"has {partitions} partitions"):
            await check_installation(store, OLD)
        with pytest.raises(InstallationMismatch, match=f"has {partitions} partitions"):
            await AgentBus(old).publish(message(9))  # a client that was connected before
        with pytest.raises(InstallationMismatch):
            await join_installation(store, old, SystemClock())
        await AgentBus(after).publish(message(9))
        names = {queue.queue.name for queue in broker.queues}
        assert names == {queue.name for queue in new.queues()}


async def test_what_is_moved_is_not_trusted_more_than_who_sent_it() -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, after), MemoryBus(OLD, broker, user="stranger") as stranger:
        await filled(store, old, each=1)
        await AgentBus(stranger).publish(message("strange"))
        await change(old, after, store).run()
        arrived: list[Delivery] = []
        for partition in NEW.all_partitions():
            await after.consume(NEW.partition_queue(partition), arrived.append, prefetch=100)
        async with asyncio.timeout(PATIENCE):
            while len(arrived) <= len(USERS):
                await asyncio.sleep(0)
    trusted = [are_trusted(one, [str(after.user)]) for one in arrived]
    assert (trusted.count(True), trusted.count(False)) == (len(USERS), 1)


async def test_interrupted_anywhere_it_goes_on_where_it_was() -> None:
    """The process ends at each call of store and bus in turn, before or after its effect; the next one finishes."""
    total = await run_broken(Fuse())
    assert total > 50
    for after in (False, True):
        for at in range(1, total + 1):
            await run_broken(Fuse(at, after))


async def run_broken(fuse: Fuse) -> int:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
    async with buses(broker) as dying:
        for bus in dying:
            fused(bus, BUS_CALLS, fuse)
        sound = store.records, store.locks
        store.records, store.locks = copy.copy(store.records), copy.copy(store.locks)
        fused(store.records, RECORD_CALLS, fuse)
        fused(store.locks, LOCK_CALLS, fuse)
        try:
            await change(*dying, store).run()
        except Broken:
            assert fuse.at > 0
        store.records, store.locks = sound
        for bus in dying:
            bus.disconnect()
    store.locks._locks.clear()  # its lease has ended
    async with buses(broker) as (old, new):
        there = await plan_repartition(store, OLD, NEW.partitions)
        if there is not None:
            assert there == OLD
            await change(old, new, store).run()
        assert await read_installation(store) == Installation.of(NEW)
        await new.check()
        await assert_in_place(new)
        assert {queue.queue.name for queue in broker.queues} == {queue.name for queue in NEW.queues()}
    return fuse.calls


async def test_nobody_starts_and_nothing_is_taken_in_meanwhile() -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
        worker = Member(worker_id=WorkerId("w1"), host="h", pid=1, started_at=NOW)
        group = WorkerKind.EXPIRY.group(OLD.prefix)
        await store.members.heartbeat(group, worker, ttl=60)
        under_way = change(old, new, store)
        under_way._leaving = 0.0
        with pytest.raises(StillAtWork, match=r"0 partitions are still consumed .* not ended: w1"):
            await under_way.run()
        for topology in (OLD, NEW):
            with pytest.raises(InstallationMismatch, match=r"being changed to 6, .* topology repartition 6`"):
                await check_installation(store, topology)
        for bus in (old, new):
            with pytest.raises(InstallationMismatch, match="being changed to 6"):
                await AgentBus(bus).publish(message(9))
            with pytest.raises(Unroutable):
                await bus.publish(OLD.inbound, "0", Message(body=b"", message_id="elsewhere"))
        with pytest.raises(AnotherChange, match="from 4 to 6 partitions was begun"):
            await plan_repartition(store, OLD, 7)
        await store.members.leave(group, worker.worker_id)
        assert await change(old, new, store).run() == 5 * len(USERS)
        assert await plan_repartition(store, OLD, 6) is None


async def test_a_partition_that_is_consumed_is_waited_for() -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
        held: list[Delivery] = []
        queue = OLD.partition_queue(Partition(1))
        consumer = await old.consume(queue, held.append, prefetch=2)
        under_way = change(old, new, store)
        under_way._leaving = 0.0
        with pytest.raises(StillAtWork, match="1 partitions are still consumed"):
            await under_way.run()
        assert len(held) == 2
        await consumer.close()
        await change(old, new, store).run()
        await assert_in_place(new)


async def test_two_do_not_change_it_at_a_time() -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
        assert await store.locks.acquire(LOCK, ttl=60)
        with pytest.raises(LockTimeout):
            await change(old, new, store).run()
        assert await read_installation(store) == Installation.of(OLD)


async def test_a_store_that_nobody_started_on_says_so() -> None:
    with pytest.raises(ConfigurationError, match="start a worker on it first"):
        await plan_repartition(MemoryStore(), OLD, 6)


async def test_what_can_not_be_read_is_parked() -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
        await old.publish(OLD.inbound, "2", Message(body=b"?", message_id="bad"))
        await change(old, new, store).run()
        assert (await new.depth(NEW.parked)).ready == 1
        await assert_in_place(new)


async def test_a_broker_that_fails_for_the_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, broker = MemoryStore(), MemoryBroker()
    async with buses(broker) as (old, new):
        await filled(store, old)
        publish, failures = old.publish_many, [BrokerUnavailable(), None]

        async def doubtful(exchange: str, messages: Sequence[tuple[str, Message]], **named: Any) -> list[Any]:
            failure = failures.pop(0) if failures else None
            return [failure] * len(messages) if failure else await publish(exchange, messages, **named)

        monkeypatch.setattr(old, "publish_many", doubtful)
        await change(old, new, store).run()
        assert not failures
        await assert_in_place(new)


@pytest.fixture(params=[pytest.param(one, marks=sampled("any_store")) for one in ("memory", "sqlite", "file")])
async def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/one.db", "file": f"file://{tmp_path}/kept"}
    async with open_store(urls[request.param]) as store:
        yield store


async def test_records_of_partitions_follow_them(any_store: Store) -> None:
    """What is due in a partition that is no more would be looked at by nobody."""
    broker = MemoryBroker()
    new = OLD.model_copy(update={"partitions": 2})
    sessions = [session_id_for(conversation_id_for(message(user=user).address, OLD.scope), 1) for user in USERS]
    async with buses(broker, new=new) as (old, after):
        await join_installation(any_store, old, SystemClock())
        for kind in (RecordKind.DEADLINE, RecordKind.SYNC_TASK):
            await any_store.records.put_many([record(kind, session, OLD) for session in sessions])
        await change(old, after, any_store).run()
    for kind in (RecordKind.DEADLINE, RecordKind.SYNC_TASK):
        due = await any_store.records.due(kind, NOW, groups={"0", "1"}, limit=100)
        assert {one.key for one in due} == set(sessions)
        assert all(one == record(kind, SessionId(one.key), new) for one in due)
        assert not await any_store.records.due(kind, NOW, groups={"2", "3"}, limit=100)


def record(kind: RecordKind, session: SessionId, topology: Topology) -> Record:
    group = str(topology.partition_of(conversation_of(session)))
    return Record(kind=kind, key=session, group=group, created_at=NOW, due_at=NOW, revision=3, data={"upto": 1})
