"""Workers that come and go as operators want it."""

import asyncio
import time
from contextlib import suppress

from agentbus.composition.app import App
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import HandBackRefused
from agentbus.contracts.ids import Partition
from agentbus.operations.workers import hand_back
from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import Arena, Injection, Layout
from tests.harness.system.load import Shape


async def rolling_restart(arena: Arena) -> Injection:
    """SIGTERM every worker in turn, each followed by a new one."""
    at = time.monotonic()
    for worker in arena.fleet.running:
        await arena.fleet.stop(worker)
        await arena.fleet.start()
    return Injection(at)


async def scale(arena: Arena, *sizes: int) -> Injection:
    """Bring the fleet to one size after the other; after each change partitions have to be spread evenly."""
    at = time.monotonic()
    for size in sizes:
        at = time.monotonic()
        running = arena.fleet.running
        if size < len(running):
            await arena.fleet.stop(*arena.random.sample(running, len(running) - size))
        else:
            await arena.fleet.start(size - len(running))
        await arena.balanced()
    return Injection(at)


async def many_sizes(arena: Arena) -> Injection:
    """Go from 1 worker to 8, to 3, to 8, and back to 1."""
    return await scale(arena, 8, 3, 8, 1)


async def few_sizes(arena: Arena) -> Injection:
    """Go from 1 worker to 3, to 1, to 3, and back to 1."""
    return await scale(arena, 3, 1, 3, 1)


async def hand_back_by_scaling(arena: Arena) -> Injection:
    """Add a worker, so that others hand partitions to it, and take it away again, so that it hands them back."""
    (guest,) = await arena.fleet.start()
    await arena.balanced()
    at = time.monotonic()
    partitions = arena.sampler.owned_by(guest.name)
    await arena.fleet.stop(guest)
    return Injection(at, partitions)


async def hand_back_when_asked(arena: Arena) -> Injection:
    """Have partitions go to other workers, some of them on their way already, and back: each request ends soon."""
    app = App(settings=arena.settings, bus=arena.bus, store=arena.store, clock=SystemClock())
    at, asked = time.monotonic(), set[Partition]()
    for _ in range(6):
        partition = arena.random.choice(arena.topology.all_partitions())
        with suppress(HandBackRefused):  # between two owners
            await hand_back(app, partition, seconds=arena.random.uniform(1, 4))
            asked.add(partition)
        arena.fleet.changes.append(time.monotonic())  # what is asked for goes before an even spread, until it ends
        await asyncio.sleep(arena.random.uniform(0, 1))
    return Injection(at, asked)


SCALING = (
    Fault(name="sigterm_rolling_restart", inject=rolling_restart, quick=True, counted_from="the first SIGTERM"),
    Fault(name="scale_1_8_3_8", inject=many_sizes, layout=Layout(workers=1, partitions=16), counted_from="the change"),
    Fault(name="scale_1_3_1_3", inject=few_sizes, layout=Layout(workers=1), counted_from="the change"),
    Fault(
        name="hand_back_with_backlog",
        inject=hand_back_by_scaling,
        layout=Layout(
            shape=Shape(rate=250, users_per_partition=2),
            env={"CHAOS_APPEND_DELAY": "0.1", "AGENTBUS_PREFETCH": "16"},
        ),
        repeats=22,
        counted_from="the hand-back",
    ),
    Fault(
        name="hand_back_when_asked",
        inject=hand_back_when_asked,
        layout=Layout(
            workers=3,
            shape=Shape(rate=250, users_per_partition=2),
            env={"CHAOS_APPEND_DELAY": "0.05", "AGENTBUS_PREFETCH": "16"},
        ),
        quick=True,
        counted_from="the first request",
    ),
)
