"""Partitions that somebody had handed to another worker: what is asked for, and session workers that do it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import HandBackRefused, StoreUnavailable
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import HandBack, WorkerId
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import FailurePolicy
from agentbus.contracts.topology import Topology
from agentbus.operations.unblocking import replay_conversation
from agentbus.operations.workers import hand_back
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.records import MemoryRecords
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.hand_backs import HandBacks
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import NOW, message
from tests.harness.patience import PATIENCE
from tests.harness.sampling import sampled
from tests.unit.workers.session.test_ownership import assert_in_order, until, until_committed

PARTITIONS = 4
SCOPE = Scope.PER_CHAT_USER
BEAT = 0.01
TTL = 1.0


@dataclass
class Fleet:
    """Session workers on one in-process bus and one store, as over a broker, and an operator."""

    app: App
    clock: ManualClock
    workers: list[SessionWorker] = field(default_factory=list)

    async def start(self, **config: Any) -> SessionWorker:
        worker = SessionWorker(
            self.app.bus,
            self.app.store,
            config=SessionWorkerConfig(prefetch=10, beat=BEAT, ttl=TTL, **config),
            clock=self.clock,
        )
        await worker.start()
        self.workers.append(worker)
        return worker

    async def stop(self, worker: SessionWorker) -> None:
        self.workers.remove(worker)
        await worker.close()

    async def settled(self) -> None:
        """Wait until each partition has one owner and, if there are others, a standby, and heartbeats say so."""
        standbys = int(len(self.workers) > 1)
        async with asyncio.timeout(PATIENCE):
            while True:
                heard = await self.app.store.members.live("agentbus", ttl=TTL)
                told = {one.worker_id: (one.owns, one.stands_by) for one in heard}
                owned = sorted(partition for one in heard for partition in one.owns)
                behind = sorted(partition for one in heard for partition in one.stands_by)
                now = [one.describe() for one in self.workers]
                as_it_is = {one.worker_id: (one.owns, one.stands_by) for one in now}
                if owned == list(range(PARTITIONS)) and behind == owned * standbys and told == as_it_is:
                    return
                await asyncio.sleep(BEAT)

    def owners(self, partition: int) -> list[SessionWorker]:
        return [one for one in self.workers if partition in one.describe().owns]

    def owner(self, partition: int) -> SessionWorker:
        [owner] = self.owners(partition)
        return owner

    def everything_is_owned_once(self) -> bool:
        return all(len(self.owners(partition)) == 1 for partition in range(PARTITIONS))

    def named(self, worker: str) -> SessionWorker:
        return next(one for one in self.workers if one.describe().worker_id == worker)

    async def until_owned(self, partition: int, worker: SessionWorker) -> None:
        await until(lambda: self.owners(partition) == [worker])

    async def some_beats(self, count: int = 10) -> None:
        await asyncio.sleep(BEAT * count)


class _OfMany(App):
    """As over a broker: others take from the bus too."""

    @property
    def alone(self) -> bool:
        return False


@asynccontextmanager
async def a_fleet(workers: int, *, store: MemoryStore | None = None, **config: Any) -> AsyncIterator[Fleet]:
    clock = ManualClock(NOW)
    settings = load_settings(partitions=PARTITIONS, worker_ttl=TTL, amqp_url="memory://", store_url="memory://")
    async with MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        fleet = Fleet(_OfMany(settings=settings, bus=bus, store=store or MemoryStore(), clock=clock), clock)
        try:
            for _ in range(workers):
                await fleet.start(**config)
            await fleet.settled()
            yield fleet
        finally:
            await asyncio.gather(*(worker.close() for worker in fleet.workers))


def people(partition: int, count: int) -> list[str]:
    """Return users whose conversations are of a partition."""
    topology, found = Topology(partitions=PARTITIONS), list[str]()
    number = 0
    while len(found) < count:
        one = message(0, user=f"user{number}")
        if topology.partition_of(conversation_id_for(one.address, SCOPE)) == partition:
            found.append(f"user{number}")
        number += 1
    return found


async def test_a_partition_goes_to_the_next_in_line_stays_there_and_ends() -> None:
    async with a_fleet(3) as fleet:
        before = {number: fleet.owner(number) for number in range(PARTITIONS)}
        first = before[0]
        [standby] = [one for one in fleet.workers if 0 in one.describe().stands_by]
        asked = await hand_back(fleet.app, 0, seconds=60)
        assert (asked.owner, asked.to) == (first.describe().worker_id, standby.describe().worker_id)
        await fleet.until_owned(0, standby)
        await fleet.some_beats()
        after = {number: fleet.owner(number) for number in range(PARTITIONS)}
        assert after == before | {0: standby}  # it does not flap back, and moves nothing else
        fleet.clock.advance(timedelta(seconds=61))
        await fleet.until_owned(0, first)
        left = await fleet.app.store.records.page(RecordKind.HAND_BACK, "agentbus")
        assert left.items == ()  # what is over is dropped


async def test_an_idle_partition_is_not_kept_by_who_subscribed_before() -> None:
    """Its owner had no delivery: the broker took it for the one that consumes all the same."""
    async with a_fleet(2) as fleet:
        first = fleet.owner(0)
        [second] = [one for one in fleet.workers if one is not first]
        await hand_back(fleet.app, 0)
        await fleet.until_owned(0, second)
        await until(lambda: (held := first._ownership.holdings.get(Partition(0))) is None or not held.preferred)
        receipts = await AgentBus(fleet.app.bus).publish_many([message(1, user=people(0, 1)[0])])
        await until_committed(fleet.app.store, receipts)  # type: ignore[arg-type] # it is one in memory
        held = second._ownership.holdings.get(Partition(0))
        assert held is not None
        assert held.taken == 1


async def test_asked_twice_it_moves_once_and_then_again() -> None:
    async with a_fleet(2) as fleet:
        first = fleet.owner(0)
        [second] = [one for one in fleet.workers if one is not first]
        asked = await hand_back(fleet.app, 0)
        fleet.clock.advance(timedelta(seconds=1))
        assert await hand_back(fleet.app, 0) == asked
        assert await hand_back(fleet.app, 0, to=asked.to) == asked
        await fleet.until_owned(0, second)
        await fleet.settled()
        longer = await hand_back(fleet.app, 0, to=asked.to)
        assert (longer.owner, longer.to) == (asked.owner, asked.to)
        assert longer.until > asked.until
        back = await hand_back(fleet.app, 0)
        assert (back.owner, back.to) == (asked.to, asked.owner)
        await fleet.until_owned(0, first)


async def test_who_gets_it_dies_meanwhile_and_hashing_decides() -> None:
    """It was there when this was asked for, and never takes it: the owner goes on, and nothing waits."""
    async with a_fleet(2) as fleet:
        owner = fleet.owner(0)
        dead = owner.describe().model_copy(update={"worker_id": WorkerId("dead"), "owns": (), "stands_by": ()})
        await fleet.app.store.members.heartbeat("agentbus", dead, ttl=TTL)
        asked = await hand_back(fleet.app, 0, to="dead")
        receipts = await AgentBus(fleet.app.bus).publish_many([message(1, user=people(0, 1)[0])])
        await until_committed(fleet.app.store, receipts)  # type: ignore[arg-type] # it is one in memory
        await fleet.app.store.members.leave("agentbus", asked.to)
        await fleet.settled()
        assert fleet.owner(0) is owner
        assert (await hand_back(fleet.app, 0)).to != asked.to  # and it can be asked for anew


async def test_who_had_it_is_closed_meanwhile_and_the_other_has_it() -> None:
    async with a_fleet(3) as fleet:
        asked = await hand_back(fleet.app, 0)
        await fleet.stop(fleet.named(asked.owner))
        await fleet.until_owned(0, fleet.named(asked.to))


async def test_who_got_it_goes_and_a_worker_alone_owns_everything() -> None:
    async with a_fleet(2) as fleet:
        asked = await hand_back(fleet.app, 0)
        await fleet.until_owned(0, fleet.named(asked.to))
        await fleet.stop(fleet.named(asked.to))
        await until(lambda: len(fleet.workers[0].describe().owns) == PARTITIONS)
        await fleet.settled()
        with pytest.raises(HandBackRefused, match="no other session worker"):
            await hand_back(fleet.app, 0)


async def test_a_store_that_says_nothing_leaves_things_as_they_are() -> None:
    class Silent(MemoryRecords):
        silent = False

        async def page(self, *args: Any, **more: Any) -> Any:
            if self.silent:
                raise StoreUnavailable("not now")
            return await super().page(*args, **more)

    store = MemoryStore()
    store.records = records = Silent()
    async with a_fleet(2, store=store) as fleet:
        asked = await hand_back(fleet.app, 0)
        second = fleet.named(asked.to)
        await fleet.until_owned(0, second)
        records.silent = True
        await fleet.some_beats()
        assert fleet.owners(0) == [second]
        fleet.clock.advance(timedelta(hours=2))  # it ends all the same
        await until(lambda: fleet.everything_is_owned_once() and fleet.owner(0) is not second)


async def test_a_conversation_that_is_blocked_goes_on_in_order_at_the_other() -> None:
    """What waits behind an input that failed for good is in the store: whoever gets the partition goes on with it."""
    async with a_fleet(2, on_failure=FailurePolicy.BLOCK) as fleet:
        [user] = people(0, 1)
        client, store, soon = AgentBus(fleet.app.bus), fleet.app.store, timedelta(minutes=6)
        receipts = [await client.publish(message(1, user=user))]
        receipts.append(await client.publish(message("ahead", user=user, sent_at=NOW + soon)))
        receipts += await client.publish_many([message(number, user=user) for number in range(2, 5)])
        asked = await hand_back(fleet.app, 0)
        receipts += await client.publish_many([message(number, user=user) for number in range(5, 8)])
        await fleet.until_owned(0, fleet.named(asked.to))
        receipts += await client.publish_many([message(number, user=user) for number in range(8, 11)])
        async with asyncio.timeout(PATIENCE):
            while len((await store.parked.page(None)).items) < len(receipts) - 1:
                await asyncio.sleep(BEAT)
        fleet.clock.advance(soon)  # what failed is right by now
        replayed = await replay_conversation(fleet.app.bus, store, receipts[0].conversation_id, scope=SCOPE)
        replayed.check()
        await assert_in_order(store, receipts)  # type: ignore[arg-type] # it is one in memory


@sampled("seed")
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_doubled_or_reordered_while_partitions_are_handed_back_again_and_again(seed: int) -> None:
    """Also while workers come and go; every partition is asked for many times, from each to each."""
    chance = random.Random(seed)
    async with a_fleet(3) as fleet:
        client = AgentBus(fleet.app.bus)
        receipts: list[Receipt] = []
        asked, moved = 0, set[tuple[int, str]]()

        async def operator() -> None:
            nonlocal asked
            for number in range(40):
                partition = chance.randrange(PARTITIONS)
                others = [one.describe().worker_id for one in fleet.workers]
                try:
                    one = await hand_back(fleet.app, partition, to=chance.choice([None, *others]), seconds=2)
                except HandBackRefused:
                    pass  # its own already, or between two owners
                else:
                    asked += 1
                    moved.add((partition, one.to))
                if number % 10 == 5:
                    await fleet.start()
                elif number % 10 == 9:
                    await fleet.stop(chance.choice(fleet.workers))
                fleet.clock.advance(timedelta(seconds=chance.choice([0, 0, 0, 1])))
                await asyncio.sleep(chance.uniform(0, 4 * BEAT))

        async def publisher() -> None:
            for wave in range(40):
                users = [f"user{chance.randrange(16)}" for _ in range(20)]
                batch = [message(f"{wave}-{number}", user=user) for number, user in enumerate(users)]
                receipts.extend(await client.publish_many(batch))
                await asyncio.sleep(chance.uniform(0, 2 * BEAT))

        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(operator(), publisher())
        await until_committed(fleet.app.store, receipts)  # type: ignore[arg-type] # it is one in memory
        await until(fleet.everything_is_owned_once)
        await assert_in_order(fleet.app.store, receipts)  # type: ignore[arg-type] # as above
        assert (await fleet.app.store.parked.page(None)).items == ()
        assert asked >= 20
        assert len(moved) >= PARTITIONS * 2


async def test_one_that_cant_be_read_hides_no_other() -> None:
    store, clock = MemoryStore(), ManualClock(NOW)
    asked = HandBacks(store, "agentbus", clock)
    hour = NOW + timedelta(hours=1)
    one = HandBack(partition=Partition(1), owner=WorkerId("a"), to=WorkerId("b"), asked_at=NOW, until=hour)
    await asked.ask(one)
    await asked.ask(one.model_copy(update={"partition": Partition(0)}))
    damaged = await store.records.get(RecordKind.HAND_BACK, "agentbus/0")
    assert damaged is not None
    await store.records.put(damaged.model_copy(update={"data": {"partition": "none"}}))
    assert await asked.current() == [one]
