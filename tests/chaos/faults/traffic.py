"""Difficult traffic, while workers change; and an operator's mistake."""

import asyncio
import time

from agentbus.contracts.errors import BusError
from agentbus.contracts.ids import Partition
from tests.chaos.faults.crashes import kill_any
from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import Arena, Injection, Layout
from tests.harness.system.load import Shape

_NOTICING = 1.0
"""Seconds between deleting a queue and declaring it again."""


async def kill_or_stop(arena: Arena) -> Injection:
    """Crash a worker, or take it away in good order."""
    if arena.random.random() < 0.5:
        return await kill_any(arena)
    victim = arena.victim()
    partitions = arena.sampler.owned_by(victim.name)
    at = time.monotonic()
    await arena.fleet.stop(victim)
    return Injection(at, partitions)


async def kill_the_hot_one(arena: Arena) -> Injection:
    """Crash the worker of the conversation that half of the traffic belongs to."""
    hot = Partition(0)
    owners = [worker for worker in arena.fleet.running if hot in arena.sampler.owned_by(worker.name)]
    victim = owners[0] if owners else arena.victim()
    partitions = arena.sampler.owned_by(victim.name)
    at = time.monotonic()
    await arena.fleet.kill(victim)
    return Injection(at, partitions)


async def delete_queue(arena: Arena) -> Injection:
    """Delete a partition's queue and declare it again.

    What it held is lost by the operator's doing: the publisher sends the last messages of the partition again, with
    the same ids and in their order. Those that were committed before must not be committed again.

    Between the two the channels have to notice: RabbitMQ 3.10 puts a consumer, without a word, onto a queue of the same
    name that is declared at once, and then throws away what that queue delivers.
    """
    partition = arena.random.choice(arena.topology.all_partitions())
    backends = arena.backends
    async with arena.load.paused:
        begun = time.monotonic()
        queue = arena.topology.partition_queue(partition)
        await asyncio.to_thread(backends.broker.ctl, "delete_queue", queue, "--vhost", backends.vhost)
        await asyncio.sleep(_NOTICING)
        await _declare(arena)
        at = time.monotonic()
        await arena.load.publish(arena.load.latest_of(partition, 300))
    arena.expect_zombie(None, begun, at + 5.0)
    return Injection(at, {partition})


async def _declare(arena: Arena) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await arena.bus.declare()
            except BusError:
                await asyncio.sleep(0.1)


TRAFFIC = (
    Fault(name="sent_1_to_3_times", inject=kill_or_stop, layout=Layout(shape=Shape(repeats=1.0))),
    Fault(name="hot_conversation", inject=kill_the_hot_one, layout=Layout(shape=Shape(hot=0.5, rate=200))),
    Fault(
        name="queue_deleted",
        inject=delete_queue,
        layout=Layout(shape=Shape(rate=250), env={"CHAOS_APPEND_DELAY": "0.05"}),
        counted_from="the new declaration",
    ),
)
