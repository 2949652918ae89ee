"""What is left in the queues."""

import asyncio
import time
from typing import Final

from agentbus.contracts.errors import BusError, StoreError
from agentbus.contracts.records import RecordKind
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.testing import QueueLeft
from agentbus.workers.bus.port import Bus
from agentbus.workers.session.arrears import GROUP as UNANNOUNCED
from tests.harness.system.recorder import SUBSCRIPTION
from tests.services import RabbitMQ

_PATIENCE: Final = 90.0
_LOOKS: Final = 20


async def until_settled(bus: Bus, store: Store) -> None:
    """Wait until no announcement is owed and nothing waits in any queue, or for as long as anyone would.

    What could not be announced for some seconds, as the broker was away, is announced some seconds after its return,
    when the inputs that caused it are gone from their queues.
    """
    topology = bus.topology
    queues = [queue.name for queue in topology.queues()] + [topology.subscription_queue(SUBSCRIPTION)]
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if not await is_owed(store) and not any([(await bus.depth(queue)).ready for queue in queues]):
                return
        except (BusError, StoreError):
            continue
        finally:
            await asyncio.sleep(0.1)


async def is_owed(store: Store) -> bool:
    async for _ in iter_records(store, RecordKind.UNANNOUNCED, UNANNOUNCED):
        return True
    return False


async def left_in(broker: RabbitMQ, vhost: str) -> list[QueueLeft]:
    """Return what every queue of a virtual host holds, once nothing is unacknowledged or after some more looks."""
    for _ in range(_LOOKS):
        columns = ("name", "messages_ready", "messages_unacknowledged")
        output = await asyncio.to_thread(broker.ctl, "list_queues", "-p", vhost, *columns)
        rows = [line.split("\t") for line in output.splitlines()]
        queues = [QueueLeft(name, int(ready), int(unacked)) for name, ready, unacked in rows]
        if not any(one.ready or one.unacked for one in queues):
            break
        await asyncio.sleep(0.5)
    return queues
