"""Several session workers on one in-process bus and one store: shares, hand-backs, fencing, stalls, the breaker."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from agentbus.client import AgentBus, Receipt
from agentbus.contracts.clock import ManualClock, SystemClock
from agentbus.contracts.commands import CreateSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import StoreError, StoreRejected, StoreUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.members import Member, WorkerId
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.memory.members import MemoryMembers
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery.failures import Failure
from agentbus.workers.delivery.trials import MOST_ALONE, TRIED_FROM
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from agentbus.workers.session import brake
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.lanes import Turn
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import NOW, message
from tests.harness.patience import PATIENCE

PARTITIONS = 8


def worker_on(bus: MemoryBus, store: MemoryStore, *, park_limit: int = 100) -> SessionWorker:
    config = SessionWorkerConfig(prefetch=10, beat=0.01, ttl=1.0, park_limit=park_limit)
    return SessionWorker(bus, store, config=config)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.005)


def shares(*workers: SessionWorker) -> list[int]:
    return sorted(len(worker.describe().owns) for worker in workers)


def everything_is_owned_once(*workers: SessionWorker) -> bool:
    owned = sorted(partition for worker in workers for partition in worker.describe().owns)
    return owned == list(range(PARTITIONS))


async def until_committed(store: MemoryStore, receipts: list[Receipt]) -> None:
    async with asyncio.timeout(PATIENCE):
        for receipt in receipts:
            while not await store.log.commits_of_inputs(receipt.conversation_id, [receipt.input_id]):
                await asyncio.sleep(0.005)


async def assert_in_order(store: MemoryStore, receipts: list[Receipt]) -> None:
    for conversation in {receipt.conversation_id for receipt in receipts}:
        published = [receipt.input_id for receipt in receipts if receipt.conversation_id == conversation]
        log = [commit async for commit in iter_log(store, conversation)]
        assert [one for commit in log for one in commit.inputs] == published
        epochs = [commit.epoch for commit in log]
        assert epochs == sorted(epochs)


async def test_workers_share_the_partitions_and_give_them_back() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        first, second, third = (worker_on(bus, store) for _ in range(3))
        await first.start()
        assert shares(first) == [8]
        await second.start()
        await third.start()
        await until(
            lambda: everything_is_owned_once(first, second, third) and shares(first, second, third) == [2, 3, 3]
        )
        await second.close()
        await until(lambda: everything_is_owned_once(first, third) and shares(first, third) == [4, 4])
        await until(lambda: {one for worker in (first, third) for one in worker.describe().stands_by} == set(range(8)))
        await first.close()
        await until(lambda: shares(third) == [8])
        await third.close()
        assert await store.members.live(bus.topology.prefix, ttl=10) == []


async def test_order_holds_and_nothing_is_lost_while_workers_come_and_go() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        workers = [worker_on(bus, store)]
        await workers[0].start()
        receipts: list[Receipt] = []
        for wave in range(12):
            messages = [message(f"{wave}-{number}", user=f"user{number % 20}") for number in range(100)]
            receipts += await client.publish_many(messages)
            if wave % 2 == 0:
                workers.append(worker_on(bus, store))
                await workers[-1].start()
            else:
                await workers.pop(0).close()
        await until_committed(store, receipts)
        for worker in workers:
            await worker.close()
        for partition in bus.topology.all_partitions():
            assert (await bus.depth(bus.topology.partition_queue(partition))).ready == 0
    await assert_in_order(store, receipts)


async def test_a_lost_connection_costs_nothing() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        workers = [worker_on(bus, store) for _ in range(2)]
        for worker in workers:
            await worker.start()
        receipts: list[Receipt] = []
        for wave in range(5):
            messages = [message(f"{wave}-{number}", user=f"user{number % 7}") for number in range(70)]
            receipts += await AgentBus(bus).publish_many(messages)
            bus.disconnect()
        await until_committed(store, receipts)
        for worker in workers:
            await worker.close()
    await assert_in_order(store, receipts)


async def test_a_worker_that_lost_its_partition_writes_nothing_and_gets_in_line_again() -> None:
    """A later owner has committed: the worker finds the later epoch, drops its state, subscribes again, goes on."""
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store)
        await worker.start()
        client = AgentBus(bus)
        receipt = await client.publish(message(1))
        await until_committed(store, [receipt])
        conversation = receipt.conversation_id
        state = (await store.log.load([conversation]))[conversation].head
        assert state is not None
        taken = Input(InputId("by the later owner"), message(2))
        later = await store.members.take_epoch(bus.topology.prefix, Partition(0))
        commit = Commit(
            conversation_id=conversation,
            version=state.version + 1,
            epoch=later,
            at=NOW,
            inputs=(taken.id,),
            events=decide(state, taken, NOW),
        )
        assert await store.log.append([commit]) == [None]
        await store.heads.save(heads_after(state, commit))
        after = await client.publish(message(3))
        await until_committed(store, [after])
        await worker.close()
    epochs = [commit.epoch async for commit in iter_log(store, conversation)]
    assert epochs == [1, later, later + 1]


async def test_epochs_of_another_partition_cost_one_fence_however_far_they_have_counted() -> None:
    """After a change of the partitions' number a conversation comes from one that had 1,100 owners."""
    store = MemoryStore()
    epochs: list[int] = []
    for topology in (Topology(partitions=1), Topology(prefix="another", partitions=1)):
        async with MemoryBus(topology) as bus:
            await bus.declare()
            if not epochs:
                await store.members.take_epoch(topology.prefix, Partition(0), above=1100)
            worker = worker_on(bus, store)
            await worker.start()
            client = AgentBus(bus)
            first = len(epochs)
            receipts = [await client.publish(message(number)) for number in range(first, first + 3)]
            await until_committed(store, receipts)
            await worker.close()
            epochs = [commit.epoch async for commit in iter_log(store, receipts[0].conversation_id)]
            queue = bus._broker.queue(topology.partition_queue(Partition(0)))
            assert not queue.ready
    assert set(epochs) == {1102, 1103}
    assert (
        await store.members.take_epoch("another", Partition(0)) == 1104
    )  # one was taken before the fence: 1, then 1103


async def test_nothing_is_handed_over_to_a_member_that_was_not_heard_of_lately() -> None:
    """A killed worker stays a member until its time runs out: whoever took over must not wait for it."""
    clock = ManualClock()
    store = MemoryStore(clock)
    async with MemoryBus(Topology(partitions=PARTITIONS)) as bus:
        await bus.declare()
        killed = Member(worker_id=WorkerId("killed"), host="h", pid=1, started_at=NOW, owns=tuple(range(PARTITIONS)))
        await store.members.heartbeat(bus.topology.prefix, killed, ttl=60.0)
        clock.advance(timedelta(seconds=30))
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.01, ttl=60.0))
        await worker.start()
        assert len(worker.describe().stands_by) == PARTITIONS // 2
        receipts = await AgentBus(bus).publish_many([message(number, user=f"user{number}") for number in range(40)])
        await until_committed(store, receipts)
        beats = len(await store.members.live(bus.topology.prefix, ttl=60.0))
        assert beats == 2
        await until(lambda: all(holding.active for holding in worker._ownership.holdings))
        leases = {holding.partition: holding.lease for holding in worker._ownership.holdings}
        for _ in range(3):
            await worker._ownership._membership.announce()
            await worker._ownership._on_members(await store.members.live(bus.topology.prefix, ttl=60.0))
        assert {holding.partition: holding.lease for holding in worker._ownership.holdings} == leases
        await worker.close()


async def test_two_rounds_at_a_time_take_one_epoch() -> None:
    """With more, the round with the earlier epoch would find the later one in its conversations: fenced by itself."""
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store)
        holding = Holding(Partition(0), "queue", owner=True)
        lease = holding.lease
        await asyncio.gather(worker._ownership.take_epochs({lease}), worker._ownership.take_epochs({lease}))
        assert lease.epoch == 1
        holding.end_lease()
        await worker._ownership.take_epochs({holding.lease})
        assert (lease.valid, holding.lease.valid, holding.lease.epoch) == (False, True, 2)


async def test_a_worker_that_alone_lost_the_store_lets_go_of_its_partitions() -> None:
    """Else its conversations would wait for it: the broker sees a healthy consumer."""
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=2)) as bus:
        await bus.declare()
        cut_off = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.01, ttl=0.05))
        await cut_off.start()

        cut_off._ownership._store = cut_off._ownership._membership._store = CutOff()  # type: ignore[assignment]  # fails
        await until(lambda: cut_off.describe().owns == ())
        healthy = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.01, ttl=0.05))
        await healthy.start()
        await until(lambda: healthy.describe().owns == (0, 1))
        receipts = await AgentBus(bus).publish_many([message(number, user=f"user{number}") for number in range(20)])
        await until_committed(store, receipts)
        await healthy.close()
        await cut_off.close()


class CutOff:
    """A store that can't be reached."""

    def __getattr__(self, name: str) -> Any:
        if name in Store.__annotations__:
            return CutOff()

        async def fail(*_: object, **__: object) -> None:
            raise StoreUnavailable("cut off")

        return fail


async def test_a_stalled_worker_drops_what_it_holds() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.01, ttl=1.0, stall_limit=0.3))
        await worker.start()
        client = AgentBus(bus)
        receipts = [await client.publish(message(1))]
        await until_committed(store, receipts)
        receipts += await client.publish_many([message(number) for number in range(2, 30)])
        block_the_loop(0.7)
        await until_committed(store, receipts)
        await worker.close()
    epochs = [commit.epoch async for commit in iter_log(store, receipts[0].conversation_id)]
    assert epochs[0] == 1
    assert epochs[-1] > 1, "after a stall the partition is taken anew"
    await assert_in_order(store, receipts)


def block_the_loop(seconds: float) -> None:
    """Stand still as a frozen process does."""
    time.sleep(seconds)


class Refusing(MemoryLog):
    """Refuses every commit while told to: a faulty release, or rights that were taken away."""

    refusing = True

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        if self.refusing:
            return [StoreRejected("not authorized") for _ in commits]
        return await super().append(commits)


async def test_faults_of_ours_in_a_row_stop_the_partition_say_so_and_heal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brake, "FIRST_PAUSE", 0.5)
    store = MemoryStore()
    store.log = log = Refusing(store.heads)
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store, park_limit=5)
        await worker.start()
        client = AgentBus(bus)
        receipts = [await client.publish(message(number, user=f"user{number}")) for number in range(40)]
        await until(lambda: worker.describe().stopped == (Partition(0),))
        assert worker.health().live
        assert not worker.health().ready, "an operator sees it without reading the log"
        assert next(iter(worker._metrics.stopped.collect())).samples[0].value == 1
        members: list[Member] = []
        while not any(member.stopped for member in members):
            members = await store.members.live(bus.topology.prefix, ttl=10)
            await asyncio.sleep(0.005)
        log.refusing = False
        await until(lambda: worker.health().ready)
        left = set(receipts)
        async with asyncio.timeout(PATIENCE):
            while left:
                parked = {one.message_id async for one in iter_parked(store)}
                for receipt in list(left):
                    found = await store.log.commits_of_inputs(receipt.conversation_id, [receipt.input_id])
                    if found or receipt.input_id in parked:
                        left.remove(receipt)
                await asyncio.sleep(0.005)
        assert 5 <= len(parked) <= 15, "what was being parked when the limit was reached may still be"
        await worker.close()


async def test_nothing_that_a_publisher_sends_stops_a_partition() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store, park_limit=3)
        await worker.start()
        client = AgentBus(bus)
        for number in range(20):
            await bus.publish(bus.topology.inbound, "0", Message(body=b"bad", message_id=str(number)))
            await client.publish(message(f"late{number}", sent_at=NOW + timedelta(days=36500)))
        await until_committed(store, [await client.publish(message(1))])
        assert worker.describe().stopped == ()
        assert worker.health().ready
        await worker.close()


async def test_closing_a_worker_does_not_wait_for_a_pause() -> None:
    store = MemoryStore()
    store.log = Refusing(store.heads)
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store, park_limit=1)
        await worker.start()
        await AgentBus(bus).publish(message(1))
        await until(lambda: worker.describe().stopped == (Partition(0),))
        async with asyncio.timeout(PATIENCE):
            await worker.close()


class Answerless(MemoryMembers):
    """Counts a try, and the answer is lost: a write concern that was not met in time, a connection that was cut."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.asked: Counter[str] = Counter()

    async def begin_trial(self, key: str) -> int:
        count = await super().begin_trial(key)
        self.asked[key] += 1
        if self.asked[key] <= MOST_ALONE + 2:
            raise StoreUnavailable("no answer in time")
        return count


async def test_a_try_whose_answer_was_lost_is_counted_once() -> None:
    """Counted each time that it was asked for, innocent inputs were parked as killers."""
    store = MemoryStore()
    store.members = Answerless()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        receipts = [await client.publish(message(number, user=f"user{number}")) for number in range(5)]
        for _ in range(TRIED_FROM - 1):  # handed back: a deployment, a lost connection
            arrived: list[Delivery] = []
            consumer = await bus.consume(bus.topology.partition_queue(Partition(0)), arrived.append, prefetch=32)
            await until(lambda: len(arrived) == len(receipts))  # noqa: B023 - called before the next round
            await consumer.close()
        worker = worker_on(bus, store)
        await worker.start()
        await until_committed(store, receipts)
        assert [one async for one in iter_parked(store)] == []
        await worker.close()


async def test_health_tells_whether_the_worker_does_its_share() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store)
        assert not worker.health().ready
        await worker.start()
        health = worker.health()
        assert health.live
        assert health.ready
        assert (await AgentBus(bus).send(CreateSession(address=message(1).address))).session_id
        await worker.close()
        assert not worker.health().ready


async def test_an_input_that_kills_its_worker_is_parked_and_its_neighbours_are_not() -> None:
    """The processes' deaths are simulated: the poison's round never comes back, and its consumers are cut off."""
    store, killer = MemoryStore(), message("killer")
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        receipts = await client.publish_many([message(1), killer, message(2, user="other")])
        deaths = 0
        while True:
            worker = worker_on(bus, store)
            dying = die_at(worker, killer.input_id())
            await worker.start()
            if not await dies(dying, store):
                break
            deaths += 1
            await bury(worker, store)
        assert deaths == TRIED_FROM + MOST_ALONE, "in company until and at the third delivery, then alone"
        await until_committed(store, [receipts[0], receipts[2]])
        (parked,) = [one async for one in iter_parked(store)]
        assert parked.message_id == killer.input_id()
        assert parked.code == "killed_worker"
        await worker.close()


def die_at(worker: SessionWorker, poison: str) -> asyncio.Event:
    """Make the worker stop dead when it works on the input `poison`; the event tells that it did."""
    commit, died = worker._committer._commit, asyncio.Event()

    async def deadly(turns: Sequence[Turn], *, suspect: bool = False, failure: Failure | None = None) -> Any:
        if any(waiting.given.id == poison for turn in turns for waiting in turn.inputs):
            died.set()
            await asyncio.Event().wait()
        return await commit(turns, suspect=suspect, failure=failure)

    worker._committer._commit = deadly  # type: ignore[method-assign]  # the poisoned code
    return died


async def dies(dying: asyncio.Event, store: MemoryStore) -> bool:
    """Wait until the worker died, or parked the poison."""
    async with asyncio.timeout(PATIENCE):
        while not dying.is_set():
            if [one async for one in iter_parked(store)]:
                return False
            await asyncio.sleep(0.005)
    return True


async def bury(worker: SessionWorker, store: MemoryStore) -> None:
    """End what is left of a dead worker, as the end of its process would."""
    await worker._ownership._membership.stop()
    for task in (*worker._rounds, worker._dispatcher):
        if task:
            task.cancel()
    for watching in (worker._backlog, worker._looking):
        if watching:
            await watching.close()
    await worker._committer.arrears.close()
    await worker._recorder.close()
    await worker._ownership.watch.close()
    for holding in worker._ownership.holdings:
        if holding.consumer:
            await holding.consumer.close()
    await store.members.leave("agentbus", worker._ownership.worker_id)
