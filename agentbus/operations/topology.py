"""The exchanges and queues on the broker: declared, and changed to another number of partitions."""

from collections.abc import Callable

from agentbus.composition.app import make_bus, make_clock, make_store
from agentbus.contracts.topology import Topology
from agentbus.settings import Settings
from agentbus.workers.repartition.change import Repartition, plan_repartition


async def declare_topology(settings: Settings) -> Topology:
    """Declare the exchanges and queues, and return what was declared. Idempotent.

    Raises TopologyMismatch, BusError, ConfigurationError.
    """
    async with make_bus(settings) as bus:
        await bus.declare()
        return bus.topology


async def change_partitions(
    settings: Settings, partitions: int, *, say: Callable[[str], None] = lambda _: None
) -> int | None:
    """Change the number of partitions, in order and without loss; return how many inputs were moved.

    None if there are so many already. Workers end by themselves, and refuse to start until it is done; `say` is told
    each step. Interrupted, it goes on where it was when it is called again. Raises AnotherChange, StillAtWork,
    LockTimeout, ConfigurationError if nobody ever started on this store, BusError, StoreError.
    """
    async with make_store(settings) as store:
        there = await plan_repartition(store, settings.topology, partitions)
        if there is None:
            return None
        new = there.model_copy(update={"partitions": partitions})
        async with make_bus(settings, there) as before, make_bus(settings, new) as after:
            return await Repartition(before, after, store, make_clock(), say=say).run()
