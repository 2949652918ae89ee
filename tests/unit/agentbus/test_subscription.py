"""A subscription: what is acknowledged when, and what becomes of events that can't be handled."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

import agentbus.workers.delivery.retry
import agentbus.workers.reactive.handler
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import (
    BrokerBlocked,
    BrokerUnavailable,
    PublishUnconfirmed,
    Reject,
    ReplyTimeout,
    StoreUnavailable,
    TopologyMismatch,
)
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.topology import Topology
from agentbus.subscription import Subscription
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.reactive.handler import HANDLER_ATTEMPTS, EventHandler
from tests.harness.builders import a_conversation, appended
from tests.harness.patience import PATIENCE

ADA = a_conversation("ada")
QUEUE = "agentbus.subscription.archive"
OUTAGES = (BrokerBlocked, BrokerUnavailable, PublishUnconfirmed, ReplyTimeout, StoreUnavailable)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((agentbus.workers.reactive.handler, "FAILING"), (agentbus.workers.delivery.retry, "AWAY")):
        monkeypatch.setattr(module, name, replace(getattr(module, name), longest_wait=0))


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


class Handler:
    """Fails as often as it is told, and notes what it was given."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.failures = failures
        self.error = error or LookupError("the database is away")
        self.calls: list[str] = []
        self.handled: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, event: EventEnvelope) -> None:
        self.calls.append(event.id)
        if self.failures:
            self.failures -= 1
            raise self.error
        self.handled.put_nowait(event.id)

    async def next(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.handled.get()


async def announce(bus: MemoryBus, number: int, body: bytes | None = None) -> str:
    event = appended(ADA, number, f"m{number}")
    envelope = EventEnvelope.of(event)
    message = Message(body=envelope.to_bytes() if body is None else body, message_id=envelope.id)
    await bus.publish(bus.topology.events, event.routing_key, message, mandatory=False)
    return envelope.id


Subscribe = Callable[..., Awaitable[Subscription]]


@pytest.fixture
async def subscribe(bus: MemoryBus) -> AsyncIterator[Subscribe]:
    started: list[Subscription] = []

    async def begin(handler: EventHandler, *, durable: str | None = None) -> Subscription:
        subscription = Subscription(bus, ("session.message.*",), handler, durable=durable)
        started.append(subscription)
        await subscription.start()
        return subscription

    yield begin
    for subscription in started:
        await subscription.close()


async def parked(bus: MemoryBus) -> list[ParkedInput]:
    """Return what is in the parking queue, and empty it."""
    waiting, found = (await bus.depth(bus.topology.parked)).ready, []
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await bus.consume(bus.topology.parked, arrived.put_nowait, prefetch=100)
    async with asyncio.timeout(PATIENCE):
        for _ in range(waiting):
            delivery = await arrived.get()
            found.append(read_parked(delivery, SystemClock()))
            await delivery.ack()
    await consumer.close()
    return found


async def nothing_is_left(bus: MemoryBus, subscription: Subscription) -> None:
    """Check that everything was acknowledged: what was not would be back in the queue."""
    await subscription.close()
    assert (await bus.depth(QUEUE)).ready == 0


async def test_events_are_handled_in_order_and_acknowledged(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler()
    subscription = await subscribe(handler, durable="archive")
    ids = [await announce(bus, number) for number in range(1, 6)]
    assert [await handler.next() for _ in ids] == ids
    await announce(bus, 6)
    await handler.next()
    await asyncio.sleep(0)
    await nothing_is_left(bus, subscription)


async def test_a_handler_that_fails_and_then_succeeds_costs_nothing(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler(failures=HANDLER_ATTEMPTS - 1)
    subscription = await subscribe(handler, durable="archive")
    first, second = await announce(bus, 1), await announce(bus, 2)
    assert [await handler.next(), await handler.next()] == [first, second]
    assert handler.calls == [first] * HANDLER_ATTEMPTS + [second]
    await asyncio.sleep(0)
    await nothing_is_left(bus, subscription)
    assert await parked(bus) == []


@pytest.mark.parametrize("error", OUTAGES)
@pytest.mark.parametrize("durable", ["archive", None])
async def test_a_handler_that_fails_by_an_outage_is_no_failure_however_long_that_lasts(
    bus: MemoryBus, subscribe: Subscribe, error: type[Exception], durable: str | None
) -> None:
    handler = Handler(failures=3 * HANDLER_ATTEMPTS, error=error("away"))
    await subscribe(handler, durable=durable)
    first, second = await announce(bus, 1), await announce(bus, 2)
    assert [await handler.next(), await handler.next()] == [first, second]
    assert await parked(bus) == []


async def test_what_a_durable_subscription_cannot_handle_is_parked(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler(failures=HANDLER_ATTEMPTS)
    subscription = await subscribe(handler, durable="archive")
    first, second = await announce(bus, 1), await announce(bus, 2)
    assert await handler.next() == second
    assert handler.calls == [first] * HANDLER_ATTEMPTS + [second]
    await asyncio.sleep(0)
    await nothing_is_left(bus, subscription)
    (found,) = await parked(bus)
    assert (found.message_id, found.code, found.queue) == (first, "handler_failed", QUEUE)
    assert found.reason == "LookupError('the database is away')"
    assert "Traceback" in found.stack


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such file: caf\udce9.txt"), r"ValueError('no such file: caf\udce9.txt')"),
        (ExceptionGroup("caf\udce9", [OSError("caf\udce9")]), r"ExceptionGroup('caf\udce9', [OSError('caf\udce9')])"),
        (asyncio.CancelledError(), "RuntimeError('the handler was cancelled from inside')"),
    ],
    ids=["surrogate", "group", "cancelled"],
)
async def test_a_subscription_goes_on_whatever_its_handler_raises(
    bus: MemoryBus, subscribe: Subscribe, error: BaseException, reason: str
) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()

    async def handle(event: EventEnvelope) -> None:
        if event.sequence.endswith("1"):
            raise error
        handled.put_nowait(event.id)

    await subscribe(handle, durable="archive")
    first, second = await announce(bus, 1), await announce(bus, 2)
    async with asyncio.timeout(PATIENCE):
        assert await handled.get() == second
    (found,) = await parked(bus)
    assert (found.message_id, found.code, found.reason) == (first, "handler_failed", reason)
    found.model_dump_json()


async def test_what_a_handler_rejects_is_parked_at_once_with_its_reason(bus: MemoryBus, subscribe: Subscribe) -> None:
    calls: list[str] = []

    async def handle(event: EventEnvelope) -> None:
        calls.append(event.id)
        raise Reject("no such product: caf\udce9")

    subscription = await subscribe(handle, durable="archive")
    first = await announce(bus, 1)
    async with asyncio.timeout(PATIENCE):
        while not (await bus.depth(bus.topology.parked)).ready:
            await asyncio.sleep(0)
    await nothing_is_left(bus, subscription)
    (found,) = await parked(bus)
    assert (found.code, found.reason) == ("reject", r"no such product: caf\udce9")
    assert calls == [first], "it is not tried again"


async def test_what_a_live_subscription_cannot_handle_is_dropped(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler(failures=HANDLER_ATTEMPTS)
    await subscribe(handler)
    await announce(bus, 1)
    second = await announce(bus, 2)
    assert await handler.next() == second
    assert await parked(bus) == []


@pytest.mark.parametrize(("durable", "kept"), [("archive", 1), (None, 0)])
async def test_an_event_that_cannot_be_read_stops_nothing(
    bus: MemoryBus, subscribe: Subscribe, durable: str | None, kept: int
) -> None:
    handler = Handler()
    await subscribe(handler, durable=durable)
    bad = await announce(bus, 1, b"not json")
    good = await announce(bus, 2)
    assert await handler.next() == good
    assert handler.calls == [good]
    assert [(one.message_id, one.code, one.body) for one in await parked(bus)] == [
        (bad, "undecodable", b"not json")
    ] * kept


@pytest.mark.parametrize("change", [{"type": "agentbus.event.v9"}, {"data": {"kind": "session_hibernated"}}])
async def test_what_a_later_release_announces_is_passed_over(
    bus: MemoryBus, subscribe: Subscribe, change: dict[str, object]
) -> None:
    handler = Handler()
    subscription = await subscribe(handler, durable="archive")
    known = json.loads(EventEnvelope.of(appended(ADA, 1, "m1")).to_bytes())
    await announce(bus, 1, json.dumps(known | change).encode())
    good = await announce(bus, 2)
    assert await handler.next() == good
    assert handler.calls == [good]
    await asyncio.sleep(0)
    await nothing_is_left(bus, subscription)
    assert await parked(bus) == []


async def test_a_handler_may_be_any_callable_that_gives_something_to_await(
    bus: MemoryBus, subscribe: Subscribe
) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()
    await subscribe(lambda event: handled.put(event.id))
    event_id = await announce(bus, 1)
    async with asyncio.timeout(PATIENCE):
        assert await handled.get() == event_id


async def test_only_what_matches_is_handled(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler()
    await subscribe(handler)
    await bus.publish(
        bus.topology.events, "session.reply.telegram", Message(body=b"?", message_id="x"), mandatory=False
    )
    first = await announce(bus, 1)
    assert await handler.next() == first


async def test_an_event_whose_handler_was_under_way_comes_again(bus: MemoryBus, subscribe: Subscribe) -> None:
    entered = asyncio.Event()

    async def endless(_: EventEnvelope) -> None:
        entered.set()
        await asyncio.Event().wait()

    subscription = await subscribe(endless, durable="archive")
    event_id = await announce(bus, 1)
    async with asyncio.timeout(PATIENCE):
        await entered.wait()
    await subscription.close()
    handler = Handler()
    await subscribe(handler, durable="archive")
    assert await handler.next() == event_id


async def test_a_durable_subscription_keeps_events_while_nobody_listens(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler()
    subscription = await subscribe(handler, durable="archive")
    await subscription.close()
    event_id = await announce(bus, 1)
    await subscription.start()
    assert await handler.next() == event_id


async def test_a_lost_connection_does_not_end_it(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler()
    await subscribe(handler, durable="archive")
    bus.disconnect()
    event_id = await announce(bus, 1)
    assert await handler.next() == event_id


async def test_starting_and_closing_twice_changes_nothing(bus: MemoryBus, subscribe: Subscribe) -> None:
    handler = Handler()
    subscription = await subscribe(handler, durable="archive")
    await subscription.start()
    assert (await bus.depth(QUEUE)).consumers == 1
    await subscription.close()
    await subscription.close()
    assert (await bus.depth(QUEUE)).consumers == 0


async def test_one_that_others_share_is_not_started_as_an_ordered_one(bus: MemoryBus, subscribe: Subscribe) -> None:
    await subscribe(Handler(), durable="crm")
    ordered = Subscription(bus, ("session.message.*",), Handler(), durable="crm", ordered=True)
    with pytest.raises(TopologyMismatch, match="use another name"):
        await ordered.start()
    await ordered.close()


async def test_a_start_that_failed_can_be_made_again() -> None:
    bus = MemoryBus(Topology(partitions=1))
    handler = Handler()
    subscription = Subscription(bus, ("session.message.*",), handler)
    with pytest.raises(BrokerUnavailable):
        await subscription.start()
    async with bus:
        await subscription.start()
        event_id = await announce(bus, 1)
        assert await handler.next() == event_id
        await subscription.close()
