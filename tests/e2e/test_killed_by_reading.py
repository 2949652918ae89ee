"""A body that kills whoever reads it: real processes die of it, until it is parked; the others' messages go on."""

import asyncio
from pathlib import Path

from agentbus.client import AgentBus
from contracts.topology import Topology
from storage.factory import open_store
from storage.reading import iter_parked
from tests.chaos.inside.poison import KILLS_UNREAD
from tests.chaos.system.fleet import Fleet
from tests.conversations import message
from tests.e2e.conftest import Distributed
from workers.bus.rabbit import RabbitBus
from workers.session.trials import MOST_ALONE, TRIED_FROM

PATIENCE = 120


async def test_it_is_parked_after_some_deaths_and_those_around_it_are_committed(
    distributed: Distributed, tmp_path: Path
) -> None:
    env = {**distributed.env, "AGENTBUS_PARTITIONS": "1"}
    async with (
        RabbitBus(distributed.amqp_url, Topology(partitions=1)) as bus,
        open_store(distributed.store_url) as store,
        Fleet(tmp_path, env) as fleet,
        asyncio.timeout(PATIENCE),
    ):
        await bus.declare()
        client = AgentBus(bus)
        killer = message("killer", KILLS_UNREAD, user="eve")
        around = [message(number, user=f"user{number}") for number in range(6)]
        receipts = await client.publish_many([*around[:3], killer, *around[3:]])
        deaths = 0
        worker = fleet.launch()
        while not (parked := [one async for one in iter_parked(store)]):
            if not worker.running:
                deaths += 1
                worker = fleet.launch()
            await asyncio.sleep(0.05)
        assert deaths == TRIED_FROM + MOST_ALONE, "in company until and at the third delivery, then alone"
        assert [(one.message_id, one.code) for one in parked] == [(killer.input_id(), "killed_worker")]
        assert "find out why before replaying it" in parked[0].reason
        for receipt in receipts[:3] + receipts[4:]:
            while not await store.commits_of_inputs(receipt.conversation_id, [receipt.input_id]):
                await asyncio.sleep(0.05)
        assert worker.running
