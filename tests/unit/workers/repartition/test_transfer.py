"""A queue is moved on: nothing is let go of before it is known to be in the other one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentbus.contracts.errors import BusError, PublishUnconfirmed
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.repartition import transfer
from agentbus.workers.repartition.transfer import Transfer
from tests.harness.deliveries import Handed

QUEUE = "moved.to"


class Doubtful(MemoryBus):
    """A bus that does not confirm some messages, each so many times, and notes what it takes."""

    def __init__(self, doubts: dict[str, int]) -> None:
        super().__init__(Topology(partitions=1))
        self.doubts = Counter(doubts)
        self.taken: list[str] = []

    async def publish_many(
        self,
        exchange: str,  # noqa: ARG002 - the port's
        messages: Sequence[tuple[str, Message]],
        *,
        mandatory: bool = True,  # noqa: ARG002 - the port's
    ) -> list[BusError | None]:
        doubted = [self.doubts[message.message_id] > 0 for _, message in messages]
        self.doubts.subtract(message.message_id for _, message in messages)
        self.taken += [message.message_id for (_, message), one in zip(messages, doubted, strict=True) if not one]
        return [PublishUnconfirmed("no confirm came") if one else None for one in doubted]


def routed(delivery: Delivery) -> tuple[str, Message]:
    return QUEUE, Message(body=delivery.body, message_id=delivery.message_id)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_UNCONFIRMED", replace(transfer._UNCONFIRMED, first_wait=0.001, longest_wait=0.001))


async def test_what_is_not_confirmed_is_published_again_and_acknowledged_after_that_alone() -> None:
    bus, deliveries = Doubtful({"1": 1, "3": 2, "5": 1}), [Handed(message_id=str(number)) for number in range(6)]
    assert await Transfer(bus, "moved.from", routed)._pass_on(list(deliveries)) == 6
    assert bus.taken == ["0", "2", "4", "1", "5", "3"]
    assert [one.acked for one in deliveries] == [1] * 6


async def test_what_is_never_confirmed_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_UNCONFIRMED", replace(transfer._UNCONFIRMED, seconds=0.05))
    bus, deliveries = Doubtful({"1": 1_000_000}), [Handed(message_id=str(number)) for number in range(2)]
    with pytest.raises(PublishUnconfirmed):
        await Transfer(bus, "moved.from", routed)._pass_on(list(deliveries))
    assert [one.acked for one in deliveries] == [1, 0]
