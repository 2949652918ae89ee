"""A virtual host and a database with nothing in them, and who looks at what becomes of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agentbus.client import AgentBus
from agentbus.composition.app import make_bus, make_store
from agentbus.contracts.topology import Topology
from agentbus.settings import Settings, load_settings
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from tests.harness.system.backends import Backends
from tests.harness.system.recorder import Recorder


@dataclass(kw_only=True)
class World:
    """What is there before workers and load are."""

    backends: Backends
    settings: Settings
    env: dict[str, str]
    """The same settings for the environment of workers."""
    topology: Topology
    bus: Bus
    store: Store
    recorder: Recorder
    """Not started yet."""


@asynccontextmanager
async def opened(backends: Backends, **given: object) -> AsyncIterator[World]:
    """Open bus and store, and declare the topology; `given` are settings as `load_settings` takes them."""
    given = {"amqp_url": backends.amqp_url, "store_url": backends.store_url, **given}
    settings = load_settings(**given)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(make_store(settings))
        bus, receiving = [await stack.enter_async_context(make_bus(settings)) for _ in range(2)]
        await bus.declare()
        subscriber = AgentBus(receiving)
        stack.push_async_callback(subscriber.close)
        yield World(
            backends=backends,
            settings=settings,
            env={f"AGENTBUS_{name.upper()}": str(value) for name, value in given.items()}
            | {"AGENTBUS_LOG_FORMAT": "json"},
            topology=settings.bus.topology,
            bus=bus,
            store=store,
            recorder=Recorder(subscriber),
        )
