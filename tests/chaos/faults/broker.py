"""The broker fails."""

import asyncio
import time
from functools import partial

from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import Arena, Injection, Layout
from tests.harness.system.load import Shape

RECONNECTING = 10.0
"""Seconds after an outage within which a worker may still finish a round of a partition that went to another."""

_ALARM_SECONDS = 4.0
_NO_MEMORY, _DEFAULT = "0.00001", "0.4"


async def kill_broker(arena: Arena) -> Injection:
    """SIGKILL the broker and start it again."""
    return await _outage(arena, 0.0)


async def down(seconds: float, arena: Arena) -> Injection:
    """SIGKILL the broker and start it again after some time."""
    return await _outage(arena, seconds)


async def memory_alarm(arena: Arena) -> Injection:
    """Leave the broker without memory for some seconds: publishers are blocked, the backlog has to be worked off."""
    await asyncio.to_thread(arena.backends.broker.ctl, "set_vm_memory_high_watermark", _NO_MEMORY)
    await asyncio.sleep(_ALARM_SECONDS)
    await asyncio.to_thread(arena.backends.broker.ctl, "set_vm_memory_high_watermark", _DEFAULT)
    return Injection(time.monotonic())


async def _outage(arena: Arena, seconds: float) -> Injection:
    begun = time.monotonic()
    await asyncio.to_thread(arena.backends.broker.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(arena.backends.broker.start)
    at = time.monotonic()
    arena.expect_zombie(None, begun, at + RECONNECTING)
    return Injection(at)


BROKER = (
    Fault(name="broker_kill", inject=kill_broker, quick=True, counted_from="the broker's return"),
    Fault(name="broker_down_60s", inject=partial(down, 60.0), counted_from="the broker's return"),
    Fault(
        name="broker_memory_alarm",
        inject=memory_alarm,
        layout=Layout(shape=Shape(rate=300), env={"CHAOS_APPEND_DELAY": "0.1"}),
        counted_from="the end of the alarm",
    ),
)
