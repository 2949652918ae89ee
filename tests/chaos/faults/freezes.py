"""Workers that stand still and wake up: SIGSTOP, then SIGCONT."""

import asyncio
import signal
import time
from collections.abc import Collection

from agentbus.contracts.ids import Partition
from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import HEARTBEAT, Arena, Injection, Layout
from tests.harness.system.load import Shape

_HEARTBEATS = 3
_WAKING = 3.0
"""Seconds within which a worker that woke up has noticed."""


async def freeze(arena: Arena) -> Injection:
    """Stop a worker for three heartbeats: the broker gives its partitions to others, it does not know."""
    victim = arena.victim()
    partitions = arena.sampler.owned_by(victim.name)
    at = time.monotonic()
    victim.send(signal.SIGSTOP)
    await asyncio.sleep(_HEARTBEATS * HEARTBEAT)
    victim.send(signal.SIGCONT)
    arena.expect_zombie(victim, at, time.monotonic() + _WAKING)
    return Injection(at, partitions)


async def wake_in_the_middle(arena: Arena) -> Injection:
    """Stop the first worker, and wake it when its successor has committed something.

    It had taken more of a conversation in hand than its slow successor takes at a time: when it wakes up it believes
    that it may commit the rest.
    """
    victim = arena.fleet.running[0]
    partitions = arena.sampler.owned_by(victim.name)
    at = time.monotonic()
    victim.send(signal.SIGSTOP)
    try:
        await _until_taken_over(arena, partitions, since=at + HEARTBEAT / 2)
    finally:
        victim.send(signal.SIGCONT)
        arena.expect_zombie(victim, at, time.monotonic() + _WAKING)
    return Injection(at, partitions)


async def _until_taken_over(arena: Arena, partitions: Collection[Partition], *, since: float) -> None:
    """Wait until something of `partitions` is announced later than `since`."""
    recorder = arena.recorder
    seen = len(recorder.events)
    async with asyncio.timeout(10 * HEARTBEAT):
        while True:
            for event, at in zip(recorder.events[seen:], recorder.times[seen:], strict=True):
                seen += 1
                if at > since and arena.topology.partition_of(event.partitionkey) in partitions:
                    return
            await asyncio.sleep(0.005)


FREEZES = (
    Fault(name="sigstop", inject=freeze, quick=True),
    Fault(
        name="sigstop_wakes_in_the_middle",
        inject=wake_in_the_middle,
        layout=Layout(
            # Less than the slow one can take, 2 in 0.3 s of each of 8 people: it is to be late, not overrun.
            shape=Shape(rate=40, burst=1.0, users_per_partition=1),
            env={"CHAOS_APPEND_DELAY": "0.3", "CHAOS_MAX_INPUTS": "2"},
            first_env={"CHAOS_APPEND_DELAY": "0.15", "CHAOS_MAX_INPUTS": "200"},
        ),
    ),
)
