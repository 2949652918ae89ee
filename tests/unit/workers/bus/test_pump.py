"""The pump: it goes on, whatever a handler raises, and tells what it could not get rid of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.telemetry import Action
from agentbus.workers.bus.port import Delivery
from agentbus.workers.bus.pump import Pump
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE


class Line:
    """A handler that fails with some deliveries, in the ways that it is told."""

    def __init__(self, bad: dict[str, BaseException], *, stubborn: bool = False) -> None:
        self.bad = bad
        self.stubborn = stubborn
        self.given_up: list[tuple[str, str]] = []
        self.last = asyncio.Event()

    async def handle(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            if error := self.bad.get(delivery.message_id):
                raise error
            await delivery.ack()
            if delivery.message_id == "last":
                self.last.set()

    async def give_up(self, delivery: Delivery, error: Exception) -> None:
        if self.stubborn:
            raise LookupError("nowhere to put it")
        self.given_up.append((delivery.message_id, type(error).__name__))
        await delivery.ack()


Pumped = Callable[[Line, list[Handed]], Awaitable[Pump]]


@pytest.fixture
async def pumped() -> AsyncIterator[Pumped]:
    pumps: list[Pump] = []

    async def pump(line: Line, deliveries: list[Handed]) -> Pump:
        pumps.append(Pump(line.handle, line.give_up))
        for delivery in deliveries:
            pumps[-1].push(delivery)
        await pumps[-1].start()
        async with asyncio.timeout(PATIENCE):
            await line.last.wait()
        return pumps[-1]

    yield pump
    for one in pumps:
        await one.close()


def deliveries(*names: str) -> list[Handed]:
    return [Handed(message_id=name) for name in names]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("caf\udce9"), "ValueError"),
        (ExceptionGroup("several", [OSError()]), "ExceptionGroup"),
        (asyncio.CancelledError(), "RuntimeError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_a_failed_batch_is_handled_one_by_one_and_the_culprit_given_up(
    pumped: Pumped, error: BaseException, kind: str
) -> None:
    line, given = Line({"bad": error}), deliveries("first", "bad", "second", "last")
    await pumped(line, given)
    assert line.given_up == [("bad", kind)]
    assert [one.acked for one in given] == [1, 1, 1, 1]


async def test_what_cannot_even_be_given_up_is_left_and_told(pumped: Pumped) -> None:
    line, given = Line({"bad": ValueError("?")}, stubborn=True), deliveries("bad", "last")
    with capture_logs() as logs:
        await pumped(line, given)
    assert [one.settled for one in given] == [False, True]
    (left,) = [log for log in logs if log["event"] == Action.DELIVERY_LEFT]
    assert (left["message_id"], left["error"]) == ("bad", "LookupError")


async def test_closing_ends_a_handler_under_way() -> None:
    begun = asyncio.Event()

    async def handle(_: list[Delivery]) -> None:
        begun.set()
        await asyncio.Event().wait()

    line = Line({})
    pump = Pump(handle, line.give_up)
    (given,) = deliveries("long")
    pump.push(given)
    await pump.start()
    await begun.wait()
    await pump.close()
    await pump.close()
    assert not given.settled
    assert line.given_up == []
