"""Checks of what AgentBus needs: broker, store, topology, clocks; each with what to do when it is not well."""

from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from agentbus.composition.app import make_bus, make_clock, make_store
from agentbus.contracts.errors import AgentBusError, BrokerRejected, InstallationMismatch, StoreRejected, Unroutable
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.parked import ParkedStatus
from agentbus.contracts.records import RecordKind
from agentbus.contracts.topology import Topology
from agentbus.operations.encryption import master_keys
from agentbus.operations.replies import list_unknown
from agentbus.operations.workers import live_workers
from agentbus.settings import Settings
from agentbus.storage.encryption import SETTING, keys_of
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, QueueDepth
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.following.chronicler import SUBSCRIPTION as JOURNAL
from agentbus.workers.installation.joining import check_installation, read_installation

OLDEST_RABBITMQ: Final = (3, 10)
OLDEST_STORES: Final = {"mongodb": (5, 0), "redis": (7, 0)}
CLOCK_TOLERANCE: Final = timedelta(seconds=5)

_MOST_LISTED: Final = 100

_BROKER_ADVICE: Final = (
    "Start RabbitMQ, or check host and port in AGENTBUS_AMQP_URL.",
    "Check user, password and virtual host in AGENTBUS_AMQP_URL, and what the user may do there.",
)
_STORE_ADVICE: Final = (
    "Start the store, or check host and port in AGENTBUS_STORE_URL.",
    "Check user, password and database in AGENTBUS_STORE_URL, and what the user may do there.",
)
_MISMATCH_ADVICE: Final = "Set AGENTBUS_PARTITIONS and AGENTBUS_SCOPE as the installation has them."


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
        yield Finding("broker", Health.FAILED, str(error), _BROKER_ADVICE[isinstance(error, BrokerRejected)])
    try:
        async with make_store(settings) as store:
            async for finding in _examine_store(store, settings):
                yield finding
    except AgentBusError as error:
        raise_if_cancelled()
        yield Finding("store", Health.FAILED, str(error), _STORE_ADVICE[isinstance(error, StoreRejected)])


async def _examine_bus(bus: Bus) -> AsyncIterator[Finding]:
    info = await bus.info()
    yield _version("broker", info.kind, info.version, OLDEST_RABBITMQ if info.kind.lower() == "rabbitmq" else ())
    yield await _agreed("declared", bus.check(), f"as these settings say: {_words(bus.topology)}")
    topology = bus.topology
    partitions = [topology.parked, *map(topology.partition_queue, topology.all_partitions())]
    depths = {queue: await _depth(bus, queue) for queue in (topology.ingress, *partitions)}
    missing = [queue for queue, depth in depths.items() if depth is None]
    if missing:
        advice = "Run: agentbus topology declare (or start a worker, which declares it)."
        yield Finding("topology", Health.FAILED, f"{len(missing)} of {len(depths)} queues are missing", advice)
        return
    yield Finding("topology", Health.OK, f"{len(depths)} queues")
    there = {queue: depth for queue, depth in depths.items() if depth is not None}
    yield _consumers([queue for queue in partitions if not there[queue].consumers])
    yield _routed(there[topology.ingress])
    journal = topology.subscription_queue(JOURNAL)
    if (written := await _depth(bus, journal)) is not None:
        yield _journal(journal, written)
    yield Finding("backlog", Health.OK, f"{sum(depth.ready for depth in there.values())} messages wait")


async def _depth(bus: Bus, queue: str) -> QueueDepth | None:
    try:
        return await bus.depth(queue)
    except Unroutable:
        return None


def _consumers(unattended: list[str]) -> Finding:
    if not unattended:
        return Finding("consumers", Health.OK, "every partition has a consumer")
    shown = ", ".join(unattended[:3]) + (", ..." if len(unattended) > 3 else "")
    advice = "Run: agentbus worker session. If one is running, it uses another broker, virtual host or AGENTBUS_PREFIX."
    return Finding("consumers", Health.WARNING, f"nobody consumes {len(unattended)} queues: {shown}", advice)


def _routed(ingress: QueueDepth) -> Finding:
    if ingress.consumers:
        return Finding("ingress", Health.OK, f"somebody routes it, {ingress.ready} wait")
    if not ingress.ready:
        return Finding("ingress", Health.OK, "nobody routes it, and nobody publishes to it")
    found = f"{ingress.ready} messages wait in the ingress, and nobody routes them"
    return Finding("ingress", Health.FAILED, found, "Run: agentbus worker ingress")


def _journal(queue: str, depth: QueueDepth) -> Finding:
    """Say whether what the processes of the HTTP API are to write down for those who follow events is written down."""
    if depth.consumers or not depth.ready:
        return Finding("journal", Health.OK, f"{depth.ready} events wait for those who follow them by HTTP")
    found = f"no process serves the HTTP API, and {depth.ready} events wait for one in the queue {queue}, which fills"
    advice = f"Run: agentbus worker api. If it is served no more, for good: rabbitmqctl delete_queue {queue}"
    return Finding("journal", Health.WARNING, found, advice)


async def _examine_store(store: Store, settings: Settings) -> AsyncIterator[Finding]:
    info = await store.info()
    yield _version("store", info.kind, info.version, OLDEST_STORES.get(info.kind, ()), info.name)
    for risk in info.risks:
        advice = f"{risk[:1].upper()}{risk[1:]}."
        yield Finding("durability", Health.WARNING, "the store may lose what is kept there", advice)
    yield await _installed(store, settings.topology, info.name)
    yield await _encrypted(store)
    apart = abs(info.server_time - make_clock().now())
    if apart > CLOCK_TOLERANCE:
        advice = "Synchronize the clocks (NTP): expiry and message times rely on them."
        yield Finding("clock", Health.WARNING, f"store and this machine are {apart} apart", advice)
    else:
        yield Finding("clock", Health.OK, f"store and this machine agree within {CLOCK_TOLERANCE.seconds} s")
    yield await _at_work(store, settings)
    yield await _replies(store, settings)
    waiting = await store.parked.page(ParkedStatus.PARKED, limit=1)
    if waiting.items:
        yield Finding("parked", Health.WARNING, "there are parked inputs", "Run: agentbus parked list")
    else:
        yield Finding("parked", Health.OK, "nothing is parked")


async def _installed(store: Store, topology: Topology, name: str) -> Finding:
    if await read_installation(store) is None:
        found = f"no worker has ever started on this store{f' ({name})' if name else ''}"
        advice = "Start one. If one is running, it uses another: check AGENTBUS_STORE_URL, the database's name too."
        return Finding("installation", Health.WARNING, found, advice)
    return await _agreed("installation", check_installation(store, topology), _words(topology))


async def _encrypted(store: Store) -> Finding:
    """Say which master keys are needed, and whether they are here."""
    if keys_of(store) is None:
        return Finding("encryption", Health.OK, "nothing is encrypted")
    keys = await master_keys(store)
    missing = [one for one in keys if not one.here]
    if missing:
        found = ", ".join(f"{one.data_keys} data keys need the master key {one.name}" for one in missing)
        return Finding("encryption", Health.FAILED, f"{found}, which is not here", f"Add it to {SETTING}.")
    others = [one.name for one in keys if one.data_keys and not one.active]
    if others:
        found = f"data keys are wrapped with {', '.join(others)} still"
        return Finding("encryption", Health.WARNING, found, "Run: agentbus store keys rotate")
    used = next((one for one in keys if one.active), keys[0])
    return Finding("encryption", Health.OK, f"{used.data_keys} data keys, wrapped with the master key {used.name}")


async def _agreed(check: str, checking: Awaitable[None], well: str) -> Finding:
    try:
        await checking
    except InstallationMismatch as error:
        found, advice = str(error.details.get("found", error)), str(error.details.get("advice", _MISMATCH_ADVICE))
        return Finding(check, Health.FAILED, found, advice)
    return Finding(check, Health.OK, well)


async def _at_work(store: Store, settings: Settings) -> Finding:
    """Say who is there, and which kind of worker is needed and is not."""
    members = await live_workers(store, settings)
    shown = ", ".join(f"{len(there)} {kind}" for kind, there in members.items() if there) or "no worker is alive"
    stopped = sorted(partition for member in members[WorkerKind.SESSION] for partition in member.stopped)
    if stopped:
        found = f"{shown}: partitions {', '.join(map(str, stopped))} are stopped for a while, after faults in a row"
        return Finding("workers", Health.FAILED, found, "Run: agentbus parked list, and mend what it says.")
    needed = {
        WorkerKind.SESSION: "nothing is committed",
        WorkerKind.EXPIRY: await _why_expiry(store),
        WorkerKind.SYNC: await _why_sync(store),
        WorkerKind.GATEWAY: "there are accounts of chat platforms" if settings.channels.channels else "",
        WorkerKind.OUTBOUND: await _why_outbound(store),
    }
    missing = {kind: why for kind, why in needed.items() if why and not members[kind]}
    if not missing:
        return Finding("workers", Health.OK, shown)
    found = "; ".join(f"no {kind} worker, and {why}" for kind, why in missing.items())
    return Finding("workers", Health.WARNING, f"{shown}: {found}", f"Run: {_commands(missing)}")


async def _why_expiry(store: Store) -> str:
    rules = await store.records.page(RecordKind.EXPIRY_RULE, "default", limit=1)
    due = await store.heads.due(make_clock().now(), limit=1)
    return "there are expiry rules" if rules.items else "sessions are past their deadline" if due else ""


async def _why_sync(store: Store) -> str:
    due = await store.records.due(RecordKind.SYNC_TASK, make_clock().now(), limit=1)
    return "syncs are due" if due else ""


async def _replies(store: Store, settings: Settings) -> Finding:
    """Say whether somebody has to decide about replies, and whether any wait for long."""
    unknown = await list_unknown(store, settings.topology, make_clock(), limit=_MOST_LISTED)
    if unknown.items:
        more = " or more" if unknown.cursor else ""
        found = f"of {len(unknown.items)}{more} replies nobody knows whether they were sent"
        return Finding(
            "replies", Health.WARNING, found, "Run: agentbus replies list, and then agentbus replies resolve."
        )
    return Finding("replies", Health.OK, "what became of every reply is known")


async def _why_outbound(store: Store) -> str:
    due = await store.records.due(RecordKind.OUTBOX, make_clock().now(), limit=1)
    return "replies are to be sent" if due else ""


def _commands(kinds: Iterable[WorkerKind]) -> str:
    return ", ".join(f"agentbus worker {kind}" for kind in kinds)


def _words(topology: Topology) -> str:
    return f"{topology.partitions} partitions, scope {topology.scope}"


def _version(check: str, kind: str, version: str, oldest: tuple[int, ...], name: str = "") -> Finding:
    numbers = tuple(int(part) for part in version.split(".")[: len(oldest)] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        return Finding(check, Health.FAILED, f"{kind} {version} is too old", f"Upgrade to {wanted} or later.")
    return Finding(check, Health.OK, f"{kind} {version}{f', database {name}' if name else ''}")
