"""Which installation is declared on the broker: its partitions and its scope, for all to compare with their own.

The exchange `<prefix>.installation` has the exchange `<prefix>.installation.<partitions>.<scope>` as its alternate,
which is the one argument of an exchange that RabbitMQ compares; so the first to declare it decides, and whoever
declares another is told what is there. Whoever may declare nothing can still ask whether an exchange is there.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiormq.channel import Channel

from agentbus.contracts.address import Scope
from agentbus.contracts.errors import BrokerRejected, InstallationMismatch, TopologyMismatch, Unroutable
from agentbus.contracts.ids import Partition
from agentbus.contracts.installation import Installation
from agentbus.contracts.topology import MAX_PARTITIONS, Exchange, Topology
from agentbus.workers.bus.rabbit.connections import Link, called
from agentbus.workers.bus.rabbit.topology import declare_exchanges, on_channel
from agentbus.workers.concurrency import raise_if_cancelled

_ATTEMPTS: Final = 5
"""Times that somebody else may declare what was just withdrawn before we could."""


async def declare_installation(link: Link, topology: Topology) -> None:
    """Declare which installation this is. Raises InstallationMismatch if another one was declared."""
    installation, declaration = topology.marks()
    try:
        await declare_exchanges(link, (installation,))
    except TopologyMismatch as error:
        raise_if_cancelled()
        raise _mismatch(topology, str(error.details.get("there", ""))) from error
    await declare_exchanges(link, (declaration,))


async def check_installation(link: Link, topology: Topology) -> None:
    """Raise InstallationMismatch if another installation is declared, as `Bus.check` promises."""
    if await _exists(link, topology.declaration) or not await _exists(link, topology.installation):
        return
    try:
        await declare_installation(link, topology)
    except BrokerRejected:
        raise_if_cancelled()
        raise await _found(link, topology) from None


async def close_intake(link: Link, topology: Topology, moving_to: int) -> None:
    """Withdraw the installation's declaration and unbind its partitions, as `Bus.close_intake` promises."""
    moving = Installation.of(topology).model_copy(update={"moving_to": moving_to})
    mark = Exchange(name=topology.installation, type="fanout", alternate=f"{topology.installation}.{moving.words}")
    for attempt in range(_ATTEMPTS):
        try:
            await declare_exchanges(link, (mark,))
            break
        except TopologyMismatch:
            raise_if_cancelled()
            if attempt == _ATTEMPTS - 1:
                raise
            await _delete_exchange(link, topology.installation)
    await _delete_exchange(link, topology.declaration)
    await on_channel(link, "unbinding the partitions", lambda channel: _unbind(channel, topology))


async def open_intake(link: Link, topology: Topology) -> None:
    """Put a new declaration of the installation in the place of what is there, as `Bus.open_intake` promises.

    Whoever still has the old number may declare that in between, and bind its partitions: that is undone.
    """
    for attempt in range(_ATTEMPTS):
        await _delete_exchange(link, topology.installation)
        try:
            await declare_installation(link, topology)
            break
        except InstallationMismatch as error:
            raise_if_cancelled()
            there = Installation.read(str(error.details.get("there", "")))
            if attempt == _ATTEMPTS - 1 or there is None:
                raise
            old = topology.model_copy(update={"partitions": there.partitions, "scope": there.scope})
            await _delete_exchange(link, old.declaration)
            await on_channel(link, "unbinding the partitions", partial(_unbind, topology=old))


def _mismatch(topology: Topology, there: str) -> InstallationMismatch:
    """Return the error for the alternate that the installation's exchange has."""
    installation = Installation.read(there.removeprefix(f"{topology.installation}."))
    refusal = installation.refusal(topology) if installation else None
    return refusal or InstallationMismatch(
        f"the exchange {topology.installation!r} says {there!r}, this process {topology.declaration!r}: delete it if "
        "it was not AgentBus that declared it, or use another AGENTBUS_PREFIX"
    )


async def _found(link: Link, topology: Topology) -> InstallationMismatch:
    """Return the error for one that may not declare anything: look which installation it is, by what is there."""
    partitions = await _count_partitions(link, topology)
    for scope in Scope if partitions else ():
        there = topology.model_copy(update={"partitions": partitions, "scope": scope})
        if await _exists(link, there.declaration) and (refusal := Installation.of(there).refusal(topology)):
            return refusal
    return InstallationMismatch(
        f"the installation has other than {topology.partitions} partitions and scope {topology.scope}, or they are "
        "just being changed: ask whoever runs it (agentbus doctor says which it has), and set AGENTBUS_PARTITIONS and "
        "AGENTBUS_SCOPE"
    )


async def _count_partitions(link: Link, topology: Topology) -> int:
    """Return how many partition queues there are, counted from 0 without a gap."""
    least, most = 0, MAX_PARTITIONS
    while least < most:
        middle = (least + most) // 2
        if await _queue_exists(link, topology.partition_queue(Partition(middle))):
            least = middle + 1
        else:
            most = middle
    return least


async def _unbind(channel: Channel, topology: Topology) -> None:
    for partition in topology.all_partitions():
        queue = topology.partition_queue(partition)
        for binding in topology.partition_bindings(partition):
            await called(channel.queue_unbind(queue, binding.exchange, binding.routing_key))


async def _delete_exchange(link: Link, name: str) -> None:
    await on_channel(link, f"deleting {name}", lambda channel: called(channel.exchange_delete(name)))


async def _exists(link: Link, exchange: str) -> bool:
    async def ask(channel: Channel) -> None:
        await called(channel.exchange_declare(exchange, passive=True))

    return await _is_there(link, exchange, ask)


async def _queue_exists(link: Link, queue: str) -> bool:
    async def ask(channel: Channel) -> None:
        await called(channel.queue_declare(queue, passive=True))

    return await _is_there(link, queue, ask)


async def _is_there(link: Link, name: str, ask: Callable[[Channel], Awaitable[object]]) -> bool:
    try:
        await on_channel(link, f"looking for {name}", ask)
    except Unroutable:
        raise_if_cancelled()
        return False
    return True
