"""A cluster of three brokers loses the node on which queues have their leaders."""

import asyncio
import time

from agentbus.contracts.ids import Partition
from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import Arena, Injection, Layout
from tests.harness.system.backends import Kind
from tests.services import LocalRabbitMQ


async def lose_leader(arena: Arena) -> Injection:
    """SIGKILL the node that leads some partition's queue; start it again once the partition goes on."""
    brokers = [broker for broker in arena.backends.brokers if isinstance(broker, LocalRabbitMQ)]
    partition = Partition(arena.random.randrange(arena.topology.partitions))
    leaders = await _leaders(arena, brokers[0])
    leader = leaders[arena.topology.partition_queue(partition)]
    node = next(broker for broker in brokers if broker.node == leader)
    at = time.monotonic()
    await asyncio.to_thread(node.kill)
    hit = {one for one in arena.topology.all_partitions() if leaders[arena.topology.partition_queue(one)] == leader}
    arena.expect_zombie(None, at, at + 60.0)
    injection = Injection(at, hit)
    await arena.recovered(injection)
    await asyncio.to_thread(node.start)
    return injection


async def _leaders(arena: Arena, broker: LocalRabbitMQ) -> dict[str, str]:
    output = await asyncio.to_thread(broker.ctl, "list_queues", "-p", arena.backends.vhost, "name", "leader")
    return dict(line.split("\t") for line in output.splitlines())


CLUSTER = (Fault(name="cluster_loses_leader", inject=lose_leader, layout=Layout(kind=Kind.RABBITMQ_CLUSTER), rest=4.0),)
