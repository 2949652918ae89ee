"""How long commits took of late: the mean over some seconds, and what an overview is told of it."""

from agentbus.client import AgentBus
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.lag import RECENT, CommitLag
from tests.harness.conversations import message
from tests.unit.workers.session.test_ownership import until_committed, worker_on


def test_what_is_long_ago_does_not_count() -> None:
    now = [100.9]
    lag = CommitLag(time=lambda: now[0])
    assert lag.mean() is None
    for seconds in (1.0, 2.0, 3.0):
        lag.note(seconds)
    assert lag.mean() == 2.0
    now[0] += RECENT
    lag.note(6.0)
    assert lag.mean() == 3.0
    now[0] += 1
    assert lag.mean() == 6.0
    now[0] += RECENT
    assert lag.mean() is None


def test_it_keeps_a_number_for_each_second_alone() -> None:
    now = [0.0]
    lag = CommitLag(time=lambda: now[0])
    for number in range(10_000):
        now[0] = number / 100
        lag.note(0.5)
    assert len(lag._noted) == RECENT + 1
    assert lag.mean() == 0.5


async def test_a_heartbeat_tells_it_and_what_waits() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = worker_on(bus, store)
        await worker.start()
        assert (worker.describe().behind, worker.describe().commit_lag) == (0.0, None)
        await until_committed(store, await AgentBus(bus).publish_many([message(number) for number in range(5)]))
        lag = worker.describe().commit_lag
        assert lag is not None
        assert 0 <= lag < 60
        await worker.close()
