"""Checks of what AgentBus needs: broker, store, topology, clocks; each with what to do when it is not well."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from agentbus.bootstrap import make_bus, make_clock, make_store
from agentbus.settings import Settings
from contracts.errors import AgentBusError, Unroutable
from contracts.parked import ParkedStatus
from storage.port import Store
from workers.bus.port import Bus
from workers.endings import raise_if_cancelled

OLDEST_RABBITMQ: Final = (3, 10)
OLDEST_MONGODB: Final = (5, 0)
CLOCK_TOLERANCE: Final = timedelta(seconds=5)


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    """Well."""
    WARNING = "warning"
    """It works; something should be looked at."""
    FAILED = "failed"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    health: Health
    found: str
    advice: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield findings one by one; a broken broker does not keep the store from being checked."""
    try:
        async with make_bus(settings) as bus:
            async for finding in _examine_bus(bus):
                yield finding
    except AgentBusError as error:
        raise_if_cancelled()
        yield Finding("broker", Health.FAILED, str(error), "Check AGENTBUS_AMQP_URL, and that RabbitMQ is running.")
    try:
        async with make_store(settings) as store:
            async for finding in _examine_store(store):
                yield finding
    except AgentBusError as error:
        raise_if_cancelled()
        yield Finding("store", Health.FAILED, str(error), "Check AGENTBUS_STORE_URL, and that the store is running.")


async def _examine_bus(bus: Bus) -> AsyncIterator[Finding]:
    info = await bus.info()
    yield _version("broker", info.kind, info.version, OLDEST_RABBITMQ if info.kind.lower() == "rabbitmq" else ())
    topology = bus.topology
    queues = [topology.ingress, topology.parked, *map(topology.partition_queue, topology.all_partitions())]
    missing, unattended, ready = [], [], 0
    for queue in queues:
        try:
            depth = await bus.depth(queue)
        except Unroutable:
            missing.append(queue)
            continue
        ready += depth.ready
        if not depth.consumers:
            unattended.append(queue)
    if missing:
        advice = "Run: agentbus topology declare (or start a worker, which declares it)."
        yield Finding("topology", Health.FAILED, f"{len(missing)} of {len(queues)} queues are missing", advice)
        return
    yield Finding("topology", Health.OK, f"{len(queues)} queues")
    if unattended:
        advice = "Run: agentbus worker session, and agentbus worker ingress if anyone publishes to the ingress."
        shown = ", ".join(unattended[:3]) + (", ..." if len(unattended) > 3 else "")
        yield Finding("consumers", Health.WARNING, f"nobody consumes {len(unattended)} queues: {shown}", advice)
    else:
        yield Finding("consumers", Health.OK, "every queue has a consumer")
    yield Finding("backlog", Health.OK, f"{ready} messages wait")


async def _examine_store(store: Store) -> AsyncIterator[Finding]:
    info = await store.info()
    yield _version("store", info.kind, info.version, OLDEST_MONGODB if info.kind == "mongodb" else ())
    apart = abs(info.server_time - make_clock().now())
    if apart > CLOCK_TOLERANCE:
        advice = "Synchronize the clocks (NTP): expiry and message times rely on them."
        yield Finding("clock", Health.WARNING, f"store and this machine are {apart} apart", advice)
    else:
        yield Finding("clock", Health.OK, f"store and this machine agree within {CLOCK_TOLERANCE.seconds} s")
    waiting = await store.list_parked(ParkedStatus.PARKED, limit=1)
    if waiting.items:
        yield Finding("parked", Health.WARNING, "there are parked inputs", "Run: agentbus parked list")
    else:
        yield Finding("parked", Health.OK, "nothing is parked")


def _version(check: str, kind: str, version: str, oldest: tuple[int, ...]) -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[: len(oldest)] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        return Finding(check, Health.FAILED, f"{kind} {version} is too old", f"Upgrade to {wanted} or later.")
    return Finding(check, Health.OK, f"{kind} {version}")
