"""A slice of `make channels` for every test run: all in one process, over sockets, from one seed."""

import json
from contextlib import AsyncExitStack

from agentbus.client import AgentBus
from agentbus.composition.running import embedded
from agentbus.composition.workers import make_gateway, make_outbound_worker
from agentbus.contracts.urls import LOOPBACK
from agentbus.settings import load_settings
from tests.channels.people import Plan, fated, people, settled
from tests.harness.patience import PATIENCE
from tests.platforms.serving import served

_PLAN = Plan(
    people=3, each=2, seed="20260101", fates=("died", "odd"), befallen=0.2, outage=0.1, still=PATIENCE, hurried=False
)


async def test_each_message_is_once_in_its_session_and_each_reply_once_at_its_platform_or_in_doubt() -> None:
    platforms = fated(_PLAN)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(served(platforms))
        accounts = {one.name: {"bot": one.account(f"{api}/{one.name}")} for one in platforms}
        given = {"partitions": 4, "gateway_port": 0, "channels": json.dumps(accounts)}
        settings = load_settings(amqp_url="memory://", store_url="memory://", **given)
        app = await stack.enter_async_context(embedded(settings))
        gateways = [make_gateway(app) for _ in range(2)]
        for worker in (*gateways, make_outbound_worker(app)):
            stack.push_async_callback(worker.close)
            await worker.start()
        client = AgentBus(app.bus)
        stack.push_async_callback(client.close)
        there = [f"http://{LOOPBACK}:{one.port}" for one in gateways]
        crowd, _, _ = await stack.enter_async_context(people(platforms, there, client, _PLAN))
        await crowd.write()
        found = await settled(app.store, app.bus.topology, crowd, _PLAN)

    assert found.examples == []
    assert len(found.rows) == len(platforms)
    assert (found.total["written"], found.total["refused"], found.waiting) == (crowd.count, 0, 0)
    assert found.total["replies"] == crowd.count
    assert found.total["repeats"] > 0
    # Only of Telegram nobody can know, and there it befell some.
    assert found.total["unknown"] == found.rows["telegram"].unknown > 0
    assert sum(one.deaths for one in platforms) > found.total["unknown"]
