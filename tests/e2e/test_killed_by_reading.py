"""A body that kills whoever reads it: real processes die of it, until it is parked; the others' messages go on."""

import asyncio
from pathlib import Path

import pytest

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.topology import Topology
from agentbus.storage.factory import open_store
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.delivery.trials import MOST_ALONE, TRIED_FROM
from tests.chaos.inside import ON_TRIAL
from tests.chaos.inside.poison import KILLS_UNREAD
from tests.e2e.conftest import Distributed
from tests.harness.conversations import message
from tests.harness.patience import PATIENCE
from tests.harness.system.fleet import Fleet

TOPOLOGY = Topology(partitions=1)


async def publish(bus: RabbitBus, said: InboundMessage, queue: str) -> None:
    body = InputEnvelope(id=said.input_id(), data=said).to_bytes()
    await bus.publish("", queue, Message(body=body, message_id=said.input_id()))


@pytest.mark.parametrize(
    ("kind", "queue"),
    [("session", TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])), ("ingress", TOPOLOGY.ingress)],
)
async def test_it_is_parked_after_some_deaths_and_those_around_it_are_committed(
    distributed: Distributed, tmp_path: Path, kind: str, queue: str
) -> None:
    env = {**distributed.env, "AGENTBUS_PARTITIONS": "1"}
    async with (
        RabbitBus(distributed.amqp_url, TOPOLOGY) as bus,
        open_store(distributed.store_url) as store,
        Fleet(tmp_path, env, ON_TRIAL) as fleet,
        asyncio.timeout(PATIENCE),
    ):
        await bus.declare()
        if kind != "session":
            fleet.launch()  # it records what is parked, and commits what is passed on
        killer = message("killer", KILLS_UNREAD, user="eve")
        around = [message(number, user=f"user{number}") for number in range(6)]
        for said in [*around[:3], killer, *around[3:]]:
            await publish(bus, said, queue)
        deaths = 0
        worker = fleet.launch(kind)
        while not (parked := [one async for one in iter_parked(store)]):
            if not worker.running:
                deaths += 1
                worker = fleet.launch(kind)
            await asyncio.sleep(0.05)
        assert deaths == TRIED_FROM + MOST_ALONE, "in company until and at the third delivery, then alone"
        assert [(one.message_id, one.code) for one in parked] == [(killer.input_id(), "killed_worker")]
        assert "find out why before replaying it" in parked[0].reason
        for said in around:
            conversation = conversation_id_for(said.address, Scope.PER_CHAT_USER)
            while not await store.log.commits_of_inputs(conversation, [said.input_id()]):
                await asyncio.sleep(0.05)
        assert worker.running
