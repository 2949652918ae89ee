"""The bus contract of cancellations: each public call, cancelled at each of its awaits in turn."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import pytest

from agentbus.contracts.commands import CommandReply, SetData
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import BrokerRejected
from agentbus.contracts.ids import InputId
from agentbus.testing.cancelling import DEADLINE, Call, When, cancel_everywhere
from agentbus.testing.conformance.store_cancelled_suite import MOMENTS, places
from agentbus.workers.bus.port import Bus, Consumer, Delivery, HandedOver
from tests.contract.bus_suite import FIRST, TOPOLOGY, Inbox, eventually, message
from tests.harness.conversations import CONVERSATION

_STEPS: Final = {"declare": 11, "close_intake": 11, "open_intake": 11}
"""Calls that do the same for one queue after the other: of their hundreds of awaits each eleventh is tried."""
_ANSWER: Final = CommandReply(command_id=InputId("answered"))
_numbers = count(1)
ROWS: Final[dict[str, Callable[["Stage"], Awaitable[Call]]]] = {}


@dataclass
class Stage:
    """A bus whose call is cancelled, and what it gets."""

    bus: Bus
    inbox: Inbox = field(default_factory=Inbox)
    answers: set[asyncio.Future[None]] = field(default_factory=set)

    def answer(self, delivery: Delivery) -> None:
        """Reply to a request that was delivered."""
        told = self.bus.answer(delivery, _ANSWER) if delivery.handed else self.bus.reply(delivery, b"answer")
        self.answers.add(asyncio.ensure_future(told))

    async def hand_over(self) -> None:
        """Hand a command over, where a bus does so."""
        given = Input(InputId(str(next(_numbers))), SetData())
        handed = HandedOver(given, CONVERSATION, "/test")
        if self.bus.hands_over:
            assert await self.bus.hand_over(TOPOLOGY.inbound, "0", handed, timeout=DEADLINE) == _ANSWER
            return
        with pytest.raises(BrokerRejected):
            await self.bus.hand_over(TOPOLOGY.inbound, "0", handed, timeout=DEADLINE)

    async def request(self) -> None:
        """Ask the first partition."""
        await self.bus.request(TOPOLOGY.inbound, "0", message(next(_numbers)), timeout=DEADLINE)


def _row(prepare: Callable[[Stage], Awaitable[Call]]) -> Callable[[Stage], Awaitable[Call]]:
    """Let a function prepare, and give, the call that it is named after."""
    ROWS[prepare.__name__] = prepare
    return prepare


async def _opened_and_closed(opening: Awaitable[Consumer]) -> None:
    await (await opening).close()


@_row
async def start(stage: Stage) -> Call:
    return stage.bus.start()


@_row
async def close(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.consume(FIRST, stage.inbox, prefetch=10)
    await stage.bus.publish(TOPOLOGY.inbound, "0", message(next(_numbers)))
    return stage.bus.close()


@_row
async def info(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.info()


@_row
async def declare(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.declare()


@_row
async def check(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.check()


@_row
async def close_intake(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.close_intake(TOPOLOGY.partitions + 1)


@_row
async def open_intake(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.close_intake(TOPOLOGY.partitions + 1)
    return stage.bus.open_intake()


@_row
async def declare_queue(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.declare_queue(TOPOLOGY.moving_queue())


@_row
async def delete_queue(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.declare_queue(TOPOLOGY.moving_queue())
    return stage.bus.delete_queue(TOPOLOGY.moving)


@_row
async def declare_subscription(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.declare_subscription("cancelled", ("#",))


@_row
async def depth(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.depth(FIRST)


@_row
async def publish(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.publish(TOPOLOGY.inbound, "0", message(next(_numbers)))


@_row
async def publish_many(stage: Stage) -> Call:
    await stage.bus.start()
    return stage.bus.publish_many(TOPOLOGY.inbound, [("0", message(next(_numbers))) for _ in range(3)])


@_row
async def request(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.consume(FIRST, stage.answer, prefetch=10)
    return stage.request()


@_row
async def reply(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.consume(FIRST, stage.inbox, prefetch=10)
    asking = asyncio.create_task(stage.request())
    asking.add_done_callback(lambda done: done.cancelled() or done.exception())
    (delivery,) = await stage.inbox.first(1)
    return stage.bus.reply(delivery, b"answer")


@_row
async def hand_over(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.consume(FIRST, stage.answer, prefetch=10)
    return stage.hand_over()


@_row
async def answer(stage: Stage) -> Call:
    await stage.bus.start()
    await stage.bus.consume(FIRST, stage.inbox, prefetch=10)
    asking = asyncio.create_task(stage.request())
    asking.add_done_callback(lambda done: done.cancelled() or done.exception())
    (delivery,) = await stage.inbox.first(1)
    return stage.bus.answer(delivery, _ANSWER)


@_row
async def consume(stage: Stage) -> Call:
    await stage.bus.start()
    return _opened_and_closed(stage.bus.consume(FIRST, stage.inbox, prefetch=10))


@_row
async def subscribe(stage: Stage) -> Call:
    await stage.bus.start()
    return _opened_and_closed(stage.bus.subscribe(("#",), stage.inbox, durable="cancelled"))


async def _delivers(bus: Bus) -> None:
    """Check that a message which is published now is delivered."""
    delivered = asyncio.Event()
    last = message(f"last-{next(_numbers)}")
    acks: set[asyncio.Future[None]] = set()

    def take(delivery: Delivery) -> None:
        acks.add(asyncio.ensure_future(delivery.ack()))
        if delivery.message_id == last.message_id:
            delivered.set()

    consumer = await bus.consume(FIRST, take, prefetch=10)
    await bus.publish(TOPOLOGY.inbound, "0", last)
    async with asyncio.timeout(DEADLINE):
        await delivered.wait()
    await asyncio.gather(*acks)
    await consumer.close()


class BusCancelledSuite:
    """What every bus must do when a call is cancelled. A test module gives the fixtures `connect` and `bus`."""

    @pytest.mark.parametrize("when", MOMENTS)
    @pytest.mark.parametrize("name", ROWS)
    async def test_call_cancelled_at_any_await_leaves_nothing_behind(
        self, bus: Bus, make: Callable[[], Bus], name: str, when: When, request: pytest.FixtureRequest
    ) -> None:
        step, first = places(request.config, name, when)
        stages: list[Stage] = []

        async def prepare() -> Call:
            stages.append(Stage(make()))
            return await ROWS[name](stages[-1])

        async def works() -> None:
            await bus.start()
            if name in {"consume", "subscribe", "close"}:
                await eventually(nobody_consumes)
            await stages[-1].bus.close()
            await bus.start()
            await eventually(nobody_consumes)
            if name in {"close_intake", "open_intake"}:
                await bus.open_intake()  # done again, it ends what was cut short
            await _delivers(bus)

        async def nobody_consumes() -> bool:
            return (await bus.depth(FIRST)).consumers == 0

        await _delivers(bus)  # Its channels are open from here on.
        await cancel_everywhere(prepare, works, when=when, step=_STEPS.get(name, step), first=first)
