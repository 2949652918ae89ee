"""What is announced while nobody listens is counted, and not published for nobody."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from agentbus.client import AgentBus
from agentbus.contracts.errors import BusError
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.contract.bus_suite import Inbox
from tests.harness.conversations import message
from tests.unit.workers.session.test_ownership import until, until_committed


class Noting(MemoryBus):
    """Notes the routing keys of what is published as an event."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.announced: list[str] = []

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        if exchange == self.topology.events:
            self.announced += [routing_key for routing_key, _ in messages]
        return await super().publish_many(exchange, messages, mandatory=mandatory)


async def test_events_are_published_from_when_somebody_listens_to_them() -> None:
    store, registry = MemoryStore(), CollectorRegistry()
    async with Noting(Topology(partitions=1)) as bus:
        await bus.declare()
        metrics = WorkerMetrics(registry)
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(beat=0.01), metrics=metrics)
        await worker.start()
        client = AgentBus(bus)

        await until_committed(store, await client.publish_many([message(1)]))
        await until(lambda: registry.get_sample_value("agentbus_events_total") == 2)  # It began, and it was said.
        assert bus.announced == []

        inbox = Inbox()
        await bus.subscribe(("session.message.*",), inbox)
        await until_committed(store, await client.publish_many([message(2)]))
        [heard] = await inbox.first(1)
        assert bus.announced == [f"session.message.{message(2).address.platform.value}"]
        assert heard.queue.startswith(f"{bus.topology.prefix}.live")
        await until(lambda: registry.get_sample_value("agentbus_events_total") == 3)
        await worker.close()
