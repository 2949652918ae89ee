"""What every bus must do. A test module gives the fixture `connect`: a way to a new, started bus on one broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.address import Scope
from agentbus.contracts.errors import (
    BrokerUnavailable,
    BusError,
    InstallationMismatch,
    ReplyTimeout,
    TopologyMismatch,
    Unroutable,
)
from agentbus.contracts.ids import Partition
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import DEATH_EXCHANGE, DEATH_QUEUE, DEATH_REASON, SHORT_STRING, Bus, Delivery, Message
from tests.harness.patience import PATIENCE

SECONDS = 15.0
TOPOLOGY = Topology(prefix="suite", partitions=2, delivery_limit=40)
FIRST = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])

Connect = Callable[[], Awaitable[Bus]]


def message(number: int | str) -> Message:
    """Make a message that is told apart by its id and body."""
    return Message(body=str(number).encode(), message_id=f"m{number}")


def numbers(deliveries: Sequence[Delivery]) -> list[int]:
    """Read the numbers that the messages were made with."""
    return [int(delivery.body) for delivery in deliveries]


async def declared(bus: Bus) -> None:
    """Declare the topology, as workers do: a broker revived a moment ago refuses some queues (INTERNAL_ERROR)."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await bus.declare()
            except BusError:
                await asyncio.sleep(0.1)


class Inbox:
    """A consumer's callback: keeps what was delivered, for a test to wait on."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._changed = asyncio.Event()

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._changed.set()

    async def first(self, count: int) -> list[Delivery]:
        """Wait until `count` were delivered, and return these."""
        async with asyncio.timeout(SECONDS):
            while len(self.deliveries) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.deliveries[:count]


def failing_at_first(times: int, inbox: Inbox) -> Callable[[Delivery], None]:
    """Return a callback that fails with the first deliveries, and keeps the later ones."""
    left = iter(range(times))

    def take(delivery: Delivery) -> None:
        if next(left, None) is not None:
            raise ZeroDivisionError(delivery.body)
        inbox(delivery)

    return take


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask a broker until it says so."""
    async with asyncio.timeout(SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def fill(bus: Bus, count: int, start: int = 0) -> None:
    """Publish numbered messages to the first partition."""
    numbered = [("0", message(number)) for number in range(start, start + count)]
    assert await bus.publish_many(TOPOLOGY.inbound, numbered) == [None] * count


async def ready_is(bus: Bus, count: int, queue: str = FIRST) -> None:
    """Wait until so many messages wait in a queue."""

    async def as_told() -> bool:
        return (await bus.depth(queue)).ready == count

    await eventually(as_told)


@pytest.fixture
async def bus(connect: Connect) -> AsyncIterator[Bus]:
    async with await connect() as opened:
        await opened.declare()
        yield opened


class Publishing:
    async def test_what_is_published_is_delivered_as_it_was(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        sent = Message(body=b"\x00\xff{}", message_id="id-1", content_type="a/b", headers={"x": "y", "n": 7})
        await bus.publish(TOPOLOGY.inbound, "0", sent)
        (delivery,) = await inbox.first(1)
        assert (delivery.body, delivery.message_id, delivery.queue) == (sent.body, "id-1", FIRST)
        assert dict(delivery.headers) == {"x": "y", "n": 7}
        assert (delivery.attempts, delivery.redelivered, delivery.reply_to) == (1, False, None)

    async def test_a_message_names_the_user_who_published_it(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        await bus.publish(TOPOLOGY.inbound, "0", message(1))
        await bus.publish_many("", [(FIRST, message(2))])
        with pytest.raises(ReplyTimeout):
            await bus.request(TOPOLOGY.inbound, "0", message(3), timeout=0.2)
        assert bus.user
        assert [delivery.user for delivery in await inbox.first(3)] == [bus.user] * 3

    async def test_an_empty_and_a_large_body_arrive(self, bus: Bus) -> None:
        inbox, large = Inbox(), b"0123456789" * 60_000
        await bus.consume(FIRST, inbox, prefetch=10)
        await bus.publish(TOPOLOGY.inbound, "0", Message(body=b"", message_id="empty"))
        await bus.publish(TOPOLOGY.inbound, "0", Message(body=large, message_id="large"))
        assert [delivery.body for delivery in await inbox.first(2)] == [b"", large]

    async def test_declaring_again_changes_nothing(self, bus: Bus) -> None:
        await fill(bus, 3)
        await bus.declare()
        await ready_is(bus, 3)

    async def test_no_queue_for_a_mandatory_message(self, bus: Bus) -> None:
        with pytest.raises(Unroutable):
            await bus.publish(TOPOLOGY.inbound, "99", message(1))
        await bus.publish(TOPOLOGY.inbound, "99", message(1), mandatory=False)

    async def test_no_such_exchange(self, bus: Bus) -> None:
        with pytest.raises(Unroutable):
            await bus.publish("suite.nowhere", "0", message(1))
        await bus.publish(TOPOLOGY.inbound, "0", message(2))

    async def test_nothing_is_there_before_it_is_declared(self, connect: Connect) -> None:
        async with await connect() as undeclared:
            with pytest.raises(Unroutable):
                await undeclared.publish(TOPOLOGY.inbound, "0", message(1))
            with pytest.raises(Unroutable):
                await undeclared.consume(FIRST, Inbox(), prefetch=1)
            with pytest.raises(Unroutable):
                await undeclared.depth(FIRST)

    @pytest.mark.parametrize("durable", ["early", None])
    async def test_who_subscribes_need_not_wait_for_the_topology(self, connect: Connect, durable: str | None) -> None:
        async with await connect() as first, await connect() as worker:
            early = Inbox()
            await first.subscribe(("session.#",), early, durable=durable)
            await first.declare_subscription("kept", ("session.#",))
            await worker.declare()
            await worker.publish(TOPOLOGY.events, "session.message.web", message(1))
            assert numbers(await early.first(1)) == [1]

    async def test_many_may_fail_one_by_one(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        keys = ("0", "99", "0", "98", "0")
        outcomes = await bus.publish_many(TOPOLOGY.inbound, [(key, message(number)) for number, key in enumerate(keys)])
        assert [type(outcome) for outcome in outcomes] == [type(None), Unroutable, type(None), Unroutable, type(None)]
        assert numbers(await inbox.first(3)) == [0, 2, 4]

    async def test_an_id_of_more_than_255_bytes_travels_as_a_digest(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        long = Message(body=b"1", message_id="ж" * 200)
        outcomes = await bus.publish_many(TOPOLOGY.inbound, [("0", long), ("99", long), ("0", message(2))])
        assert [type(outcome) for outcome in outcomes] == [type(None), Unroutable, type(None)]
        ids = [delivery.message_id for delivery in await inbox.first(2)]
        assert ids == [long.message_id, "m2"]
        assert len(ids[0].encode()) <= SHORT_STRING
        assert Message(body=b"1", message_id="ж" * 127).message_id == "ж" * 127

    async def test_many_of_none(self, bus: Bus) -> None:
        assert await bus.publish_many(TOPOLOGY.inbound, []) == []

    async def test_many_of_one_id_each_have_their_outcome(self, bus: Bus) -> None:
        keys = ("99", "99", "0", "99")
        outcomes = await bus.publish_many(TOPOLOGY.inbound, [(key, message("same")) for key in keys])
        assert [type(outcome) for outcome in outcomes] == [Unroutable, Unroutable, type(None), Unroutable]

    async def test_concurrent_publishers_each_keep_their_order(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=50)

        async def publish(publisher: int) -> None:
            for number in range(publisher, publisher + 40):
                await bus.publish(TOPOLOGY.inbound, "0", message(number))

        async def publish_many(publisher: int) -> None:
            await fill(bus, 260, start=publisher)

        async def acknowledge() -> None:
            for count in range(1, 2 * 40 + 2 * 260 + 1):
                await (await inbox.first(count))[-1].ack()

        await asyncio.gather(publish(1000), publish_many(2000), publish(3000), publish_many(4000), acknowledge())
        for start, count in ((1000, 40), (2000, 260), (3000, 40), (4000, 260)):
            mine = [number for number in numbers(inbox.deliveries) if start <= number < start + 1000]
            assert mine == list(range(start, start + count))

    async def test_tasks_started_in_order_publish_in_order(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=200)
        await asyncio.gather(*(bus.publish(TOPOLOGY.inbound, "0", message(number)) for number in range(150)))
        assert numbers(await inbox.first(150)) == list(range(150))


class Consuming:
    async def test_deliveries_come_in_order(self, bus: Bus) -> None:
        inbox = Inbox()
        await fill(bus, 100)
        await bus.consume(FIRST, inbox, prefetch=10)
        await fill(bus, 100, start=100)
        for count in range(1, 201):
            await (await inbox.first(count))[-1].ack()
        assert numbers(inbox.deliveries) == list(range(200))

    async def test_prefetch_bounds_what_is_unacknowledged(self, bus: Bus) -> None:
        inbox = Inbox()
        await fill(bus, 10)
        await bus.consume(FIRST, inbox, prefetch=3)
        await inbox.first(3)
        await ready_is(bus, 7)
        assert len(inbox.deliveries) == 3
        await inbox.deliveries[1].ack()
        await inbox.first(4)
        await ready_is(bus, 6)
        assert numbers(inbox.deliveries) == [0, 1, 2, 3]

    async def test_acknowledging_in_any_order(self, bus: Bus) -> None:
        inbox = Inbox()
        await fill(bus, 20)
        consumer = await bus.consume(FIRST, inbox, prefetch=20)
        deliveries = await inbox.first(20)
        for number in (7, 3, 0, 1, 19, 2, 5, 4, 6, 12, 11, 10, 9, 8, 18):
            await deliveries[number].ack()
            if number % 3 == 0:
                await bus.depth(FIRST)
        await consumer.close()
        again = Inbox()
        await bus.consume(FIRST, again, prefetch=20)
        assert numbers(await again.first(5)) == [13, 14, 15, 16, 17]
        await ready_is(bus, 0)
        assert len(again.deliveries) == 5

    async def test_acknowledging_twice_is_once(self, bus: Bus) -> None:
        inbox = Inbox()
        await fill(bus, 2)
        await bus.consume(FIRST, inbox, prefetch=1)
        (first,) = await inbox.first(1)
        await first.ack()
        await first.ack()
        await first.requeue()
        await inbox.first(2)
        assert numbers(inbox.deliveries) == [0, 1]

    async def test_closing_hands_back_in_order_and_counts(self, bus: Bus) -> None:
        first, second = Inbox(), Inbox()
        await fill(bus, 6)
        consumer = await bus.consume(FIRST, first, prefetch=4)
        held = await first.first(4)
        await held[1].ack()
        await first.first(5)
        await consumer.close()
        await consumer.close()
        assert not consumer.lost.is_set()
        await bus.consume(FIRST, second, prefetch=10)
        deliveries = await second.first(5)
        assert numbers(deliveries) == [0, 2, 3, 4, 5]
        assert [delivery.attempts for delivery in deliveries] == [2, 2, 2, 2, 1]
        assert deliveries[0].redelivered
        assert not deliveries[4].redelivered

    async def test_settling_after_the_consumer_is_gone_does_nothing(self, bus: Bus) -> None:
        first, second = Inbox(), Inbox()
        await fill(bus, 2)
        consumer = await bus.consume(FIRST, first, prefetch=2)
        held = await first.first(2)
        await consumer.close()
        await held[0].ack()
        await held[1].requeue()
        await bus.consume(FIRST, second, prefetch=2)
        assert numbers(await second.first(2)) == [0, 1]

    async def test_requeued_goes_back_to_its_place(self, bus: Bus) -> None:
        inbox = Inbox()
        await fill(bus, 6)
        await bus.consume(FIRST, inbox, prefetch=3)
        held = await inbox.first(3)
        await held[1].requeue()
        assert numbers(await inbox.first(4)) == [0, 1, 2, 1]
        assert inbox.deliveries[3].attempts == 2
        for delivery in (held[0], held[2], inbox.deliveries[3]):
            await delivery.ack()
        assert numbers(await inbox.first(7)) == [0, 1, 2, 1, 3, 4, 5]

    async def test_the_oldest_consumer_alone_is_active(self, bus: Bus, connect: Connect) -> None:
        first, second = Inbox(), Inbox()
        async with await connect() as other:
            consumer = await bus.consume(FIRST, first, prefetch=2)
            await other.consume(FIRST, second, prefetch=2)
            await fill(bus, 5)
            await first.first(2)
            assert (await bus.depth(FIRST)).consumers == 1
            assert second.deliveries == []
            await consumer.close()
            assert numbers(await second.first(2)) == [0, 1]

    async def test_who_has_a_higher_priority_waits_for_what_is_in_hand(self, bus: Bus, connect: Connect) -> None:
        first, second = Inbox(), Inbox()
        async with await connect() as other:
            await bus.consume(FIRST, first, prefetch=2)
            await fill(bus, 2)
            held = await first.first(2)
            await other.consume(FIRST, second, prefetch=2, priority=10)
            await held[1].ack()
            await fill(bus, 1, start=2)
            await asyncio.sleep(0.1)
            assert second.deliveries == []

    async def test_handing_over_under_load_repeats_and_inverts_nothing(self, bus: Bus, connect: Connect) -> None:
        handled: list[int] = []
        total, finished = 600, asyncio.Event()

        def take(delivery: Delivery) -> None:
            waiting.put_nowait(delivery)

        async def work() -> None:
            while True:
                delivery = await waiting.get()
                handled.append(int(delivery.body))
                await delivery.ack()
                if len(handled) == total:
                    finished.set()

        async with await connect() as other:
            publishing = asyncio.create_task(fill(bus, total))
            buses, waiting = (bus, other), asyncio.Queue[Delivery]()
            current = await bus.consume(FIRST, take, prefetch=20)
            for turn in range(1, 7):
                worker = asyncio.create_task(work())
                target = turn * 80
                await eventually(lambda target=target: _reached(handled, target))  # type: ignore[misc]  # a default argument binds the loop's value
                worker.cancel()
                await asyncio.wait({worker})
                following = await buses[turn % 2].consume(FIRST, take, prefetch=20)
                waiting = asyncio.Queue()
                await current.close()
                current = following
            worker = asyncio.create_task(work())
            async with asyncio.timeout(SECONDS):
                await finished.wait()
            await publishing
            worker.cancel()
            await asyncio.wait({worker})
        assert handled == list(range(total))

    async def test_over_the_delivery_limit_a_message_is_parked(self, bus: Bus) -> None:
        parked, deliveries = Inbox(), 0
        forged = dict.fromkeys((DEATH_QUEUE, DEATH_REASON, DEATH_EXCHANGE), "forged")
        await bus.publish(TOPOLOGY.inbound, "0", replace(message(1), headers=forged))
        await bus.consume(TOPOLOGY.parked, parked, prefetch=10)
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=1)
        for deliveries in range(1, TOPOLOGY.delivery_limit + 2):
            await inbox.first(deliveries)
            assert inbox.deliveries[-1].attempts == deliveries
            assert not inbox.deliveries[-1].headers.keys() & forged.keys()
            await inbox.deliveries[-1].requeue()
        (dead,) = await parked.first(1)
        assert (dead.body, dead.message_id, dead.attempts) == (b"1", "m1", 1)
        assert dead.headers[DEATH_QUEUE] == FIRST
        assert dead.headers[DEATH_REASON] == "delivery_limit"
        assert dead.headers[DEATH_EXCHANGE] == TOPOLOGY.inbound
        assert dead.user == bus.user
        assert deliveries == len(inbox.deliveries) == TOPOLOGY.delivery_limit + 1

    async def test_what_a_callback_fails_with_is_parked_and_the_next_ones_come(self, bus: Bus) -> None:
        """One for each place that there is would stop a queue for good."""
        inbox = Inbox()
        with capture_logs() as said:
            consumer = await bus.consume(FIRST, failing_at_first(2, inbox), prefetch=1)
            await fill(bus, 3)
            (good,) = await inbox.first(1)
            await ready_is(bus, 2, TOPOLOGY.parked)
        assert good.body == b"2"
        assert [(line["event"], line["fate"]) for line in said] == [("delivery_refused", "dead_lettered")] * 2
        await consumer.close()
        parked = Inbox()
        consumer = await bus.consume(TOPOLOGY.parked, parked, prefetch=2)
        assert {one.headers[DEATH_REASON] for one in await parked.first(2)} == {"rejected"}
        await consumer.close()

    async def test_what_is_parked_comes_again_to_a_callback_that_fails(self, bus: Bus) -> None:
        inbox = Inbox()
        with capture_logs() as said:
            consumer = await bus.consume(TOPOLOGY.parked, failing_at_first(2, inbox), prefetch=1)
            await bus.publish(TOPOLOGY.parked, "", message("parked"))
            assert [one.body for one in await inbox.first(1)] == [b"parked"]
        assert [line["fate"] for line in said] == ["handed_back"] * 2
        await consumer.close()

    async def test_what_the_callback_of_a_live_subscription_fails_with_is_dropped_and_said(self, bus: Bus) -> None:
        inbox = Inbox()
        with capture_logs() as said:
            consumer = await bus.subscribe(("#",), failing_at_first(2, inbox), prefetch=1)
            for number in range(3):
                await bus.publish(TOPOLOGY.events, "session.started.web", message(number), mandatory=False)
            (good,) = await inbox.first(1)
        assert good.body == b"2"
        assert [line["fate"] for line in said] == ["dropped"] * 2
        await good.ack()
        await consumer.close()
        assert (await bus.depth(TOPOLOGY.parked)).ready == 0

    async def test_what_was_settled_before_its_callback_failed_stays_so(self, bus: Bus) -> None:
        """Settled twice, it would cost the channel with all that is in hand."""
        done = Inbox()
        pending: set[asyncio.Task[None]] = set()

        def settles_and_fails(delivery: Delivery) -> None:
            done(delivery)
            pending.add(asyncio.ensure_future(delivery.ack()))
            raise ZeroDivisionError

        with capture_logs():
            consumer = await bus.consume(FIRST, settles_and_fails, prefetch=1)
            await fill(bus, 3)
            await done.first(3)
            await asyncio.gather(*pending)
            await ready_is(bus, 3, TOPOLOGY.parked)
        assert not consumer.lost.is_set()
        await consumer.close()

    async def test_a_callback_is_not_called_from_inside_a_publish(self, bus: Bus) -> None:
        publishing, nested = False, []

        def on_delivery(delivery: Delivery) -> None:
            nested.append(publishing)
            inbox(delivery)

        inbox = Inbox()
        await bus.consume(FIRST, on_delivery, prefetch=10)
        call = bus.publish(TOPOLOGY.inbound, "0", message(1))
        publishing = True
        step = asyncio.ensure_future(call)
        publishing = False
        await step
        await inbox.first(1)
        assert nested == [False]


class Subscribing:
    async def test_a_durable_subscription_keeps_while_away(self, bus: Bus) -> None:
        first, second = Inbox(), Inbox()
        consumer = await bus.subscribe(("session.#",), first, durable="crm")
        await bus.publish(TOPOLOGY.events, "session.started.slack", message(1))
        await (await first.first(1))[0].ack()
        await consumer.close()
        await bus.publish(TOPOLOGY.events, "session.started.slack", message(2))
        await bus.subscribe(("session.#",), second, durable="crm")
        assert numbers(await second.first(1)) == [2]

    async def test_consumers_of_one_name_share(self, bus: Bus, connect: Connect) -> None:
        first, second = Inbox(), Inbox()
        async with await connect() as other:
            await bus.subscribe(("#",), first, durable="crm", prefetch=2)
            await other.subscribe(("#",), second, durable="crm", prefetch=2)
            await bus.publish_many(TOPOLOGY.events, [("session.started.slack", message(n)) for n in range(4)])
            both = await first.first(2) + await second.first(2)
        assert sorted(numbers(both)) == [0, 1, 2, 3]

    async def test_an_ordered_subscription_has_one_consumer_at_a_time(self, bus: Bus, connect: Connect) -> None:
        first, second = Inbox(), Inbox()
        async with await connect() as other:
            oldest = await bus.subscribe(("#",), first, durable="crm", ordered=True, prefetch=3)
            await other.subscribe(("#",), second, durable="crm", ordered=True, prefetch=3)
            await bus.publish_many(TOPOLOGY.events, [("session.started.slack", message(n)) for n in range(4)])
            await (await first.first(3))[0].ack()
            await first.first(4)
            assert second.deliveries == []
            await oldest.close()
            assert numbers(await second.first(3)) == [1, 2, 3]

    async def test_a_subscription_stays_ordered_or_not(self, bus: Bus) -> None:
        await bus.subscribe(("#",), Inbox(), durable="crm", ordered=True)
        with pytest.raises(TopologyMismatch, match=r"subscription\.crm"):
            await bus.subscribe(("#",), Inbox(), durable="crm")

    # The installation

    async def test_another_number_or_scope_is_refused_with_both(self, bus: Bus) -> None:
        await bus.declare()
        await bus.check()
        bus.topology = TOPOLOGY.model_copy(update={"partitions": 3, "scope": Scope.PER_CHAT})
        for refused in (bus.declare, bus.check):
            with pytest.raises(InstallationMismatch, match="has 2 partitions and scope per_chat_user") as caught:
                await refused()
            assert (caught.value.details["there"], caught.value.details["here"]) == ("2.per_chat_user", "3.per_chat")
            assert "has 3 and per_chat: set AGENTBUS_PARTITIONS=2 and AGENTBUS_SCOPE=per_chat_user" in str(caught.value)
        bus.topology = TOPOLOGY.model_copy(update={"scope": Scope.PER_CHAT})
        with pytest.raises(InstallationMismatch, match=r"set AGENTBUS_PARTITIONS=2 and AGENTBUS_SCOPE=per_chat_user$"):
            await bus.check()

    async def test_what_a_stale_sender_publishes_reaches_no_partition(self, bus: Bus) -> None:
        await bus.declare()
        other = TOPOLOGY.model_copy(update={"partitions": 4})
        for partition in other.all_partitions():
            with pytest.raises(Unroutable):
                await bus.publish(TOPOLOGY.inbound, other.routing_key(partition), message(1))
        for key in (TOPOLOGY.routing_key(Partition(1)), "1"):  # publishers in other languages give the number alone
            await bus.publish(TOPOLOGY.inbound, key, message(2))
        assert (await bus.depth(TOPOLOGY.partition_queue(Partition(1)))).ready == 2

    async def test_a_closed_intake_takes_nothing_until_it_is_opened_with_another_number(self, bus: Bus) -> None:
        await fill(bus, 1)
        for _ in range(2):
            await bus.close_intake(3)
            for key in ("0", TOPOLOGY.routing_key(Partition(0))):
                with pytest.raises(Unroutable):
                    await bus.publish(TOPOLOGY.inbound, key, message(1))
            for refused in (bus.declare, bus.check):
                with pytest.raises(InstallationMismatch, match=r"2 partitions, being changed to 3, .* repartition 3`"):
                    await refused()
        assert (await bus.depth(FIRST)).ready == 1
        bus.topology = TOPOLOGY.model_copy(update={"partitions": 3})
        for _ in range(2):
            await bus.open_intake()
            await bus.check()
        for partition in bus.topology.all_partitions():
            await bus.publish(TOPOLOGY.inbound, bus.topology.routing_key(partition), message(2))
        bus.topology = TOPOLOGY
        with pytest.raises(InstallationMismatch, match="has 3 partitions and scope"):
            await bus.check()

    async def test_a_deleted_queue_is_gone(self, bus: Bus) -> None:
        await bus.declare_queue(TOPOLOGY.moving_queue())
        await bus.publish("", TOPOLOGY.moving, message(1))
        for _ in range(2):
            await bus.delete_queue(TOPOLOGY.moving)
        with pytest.raises(Unroutable):
            await bus.depth(TOPOLOGY.moving)

    async def test_a_declared_subscription_keeps_for_whoever_comes(self, bus: Bus) -> None:
        await bus.declare_subscription("crm", ("session.message.*",))
        await bus.declare_subscription("crm", ("session.message.*",))
        await bus.publish(TOPOLOGY.events, "session.message.web", message(1))
        inbox = Inbox()
        await bus.consume(TOPOLOGY.subscription_queue("crm"), inbox, prefetch=5)
        assert numbers(await inbox.first(1)) == [1]

    async def test_a_live_subscription_is_from_now_on_and_gone_with_its_consumer(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.publish(TOPOLOGY.events, "session.started.slack", message(1), mandatory=False)
        consumer = await bus.subscribe(("session.#",), inbox)
        await bus.publish(TOPOLOGY.events, "session.started.slack", message(2))
        (delivery,) = await inbox.first(1)
        assert int(delivery.body) == 2
        await delivery.ack()
        assert (await bus.depth(delivery.queue)).consumers == 1
        await consumer.close()
        await eventually(lambda: _is_gone(bus, delivery.queue))
        with pytest.raises(Unroutable):
            await bus.publish(TOPOLOGY.events, "session.started.slack", message(3))

    @pytest.mark.parametrize(
        ("pattern", "taken"),
        [
            ("#", [0, 1, 2, 3]),
            ("session.*.slack", [0]),
            ("session.#", [0, 1, 2]),
            ("*.started.#", [0, 1, 3]),
            ("#.slack", [0, 3]),
            ("session", [2]),
        ],
    )
    async def test_patterns_choose_topics(self, bus: Bus, pattern: str, taken: list[int]) -> None:
        inbox, rest = Inbox(), Inbox()
        keys = ["session.started.slack", "session.started.line.eu", "session", "other.started.slack"]
        await bus.subscribe((pattern,), inbox)
        await bus.subscribe(("#",), rest)
        await bus.publish_many(TOPOLOGY.events, [(key, message(n)) for n, key in enumerate(keys)])
        await rest.first(len(keys))
        assert numbers(await inbox.first(len(taken))) == taken

    async def test_overlapping_patterns_deliver_once(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.subscribe(("session.#", "#.slack"), inbox)
        await bus.publish_many(TOPOLOGY.events, [("session.started.slack", message(n)) for n in range(2)])
        assert numbers(await inbox.first(2)) == [0, 1]

    async def test_two_live_subscriptions_both_get_all(self, bus: Bus) -> None:
        first, second = Inbox(), Inbox()
        await bus.subscribe(("#",), first)
        await bus.subscribe(("#",), second)
        await bus.publish(TOPOLOGY.events, "session.started.slack", message(1))
        assert numbers(await first.first(1)) == numbers(await second.first(1)) == [1]


class Requesting:
    async def test_a_request_gets_its_reply(self, bus: Bus, connect: Connect) -> None:
        async with await connect() as worker:
            answering = _Echo(worker)
            await worker.consume(FIRST, answering, prefetch=50)
            asked = [bus.request(TOPOLOGY.inbound, "0", message(n), timeout=SECONDS) for n in range(30)]
            assert await asyncio.gather(*asked) == [f"re: {n}".encode() for n in range(30)]
            await answering.finish()

    async def test_a_reply_goes_to_a_queue_for_replies_and_nowhere_else(self, bus: Bus) -> None:
        inbox, replies = Inbox(), Inbox()
        own = TOPOLOGY.reply_queue("mine")
        addresses = [TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[1]), TOPOLOGY.parked, "somebody.elses", own]
        await bus.consume(FIRST, inbox, prefetch=10)
        with capture_logs() as said:
            for number, address in enumerate(addresses):
                await bus.publish(TOPOLOGY.inbound, "0", replace(message(number), reply_to=address))
            asked = await inbox.first(len(addresses))
        assert [delivery.reply_to for delivery in asked] == [None, None, None, own]
        assert [(line["event"], line["reply_to"]) for line in said] == [("reply_address_refused", addresses[0])]
        for delivery in asked[:-1]:
            await bus.reply(delivery, b"not for you")
        for queue in addresses[:2]:
            await bus.consume(queue, replies, prefetch=10)
        await bus.publish("", addresses[1], message(9))
        assert numbers(await replies.first(1)) == [9], "a reply before it would have come first"

    async def test_no_reply_in_time(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        with pytest.raises(ReplyTimeout):
            await bus.request(TOPOLOGY.inbound, "0", message(1), timeout=0.1)
        (late,) = await inbox.first(1)
        await bus.reply(late, b"too late")
        await late.ack()

    async def test_a_request_that_nobody_can_take(self, bus: Bus) -> None:
        with pytest.raises(Unroutable):
            await bus.request(TOPOLOGY.inbound, "99", message(1), timeout=SECONDS)

    async def test_a_reply_to_a_caller_that_is_gone_is_dropped(self, bus: Bus, connect: Connect) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        async with await connect() as caller:
            asking = asyncio.create_task(caller.request(TOPOLOGY.inbound, "0", message(1), timeout=SECONDS))
            (delivery,) = await inbox.first(1)
            asking.cancel()
            await asyncio.wait({asking})
            await bus.reply(delivery, b"hello?")
            await bus.publish(TOPOLOGY.inbound, "0", message(2))
            await inbox.first(2)

    async def test_closing_ends_open_requests(self, bus: Bus, connect: Connect) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        caller = await connect()
        asking = asyncio.create_task(caller.request(TOPOLOGY.inbound, "0", message(1), timeout=60))
        await inbox.first(1)
        await caller.close()
        async with asyncio.timeout(SECONDS):
            with pytest.raises(ReplyTimeout):
                await asking

    async def test_a_reply_to_no_request_is_dropped(self, bus: Bus) -> None:
        inbox = Inbox()
        await bus.consume(FIRST, inbox, prefetch=10)
        await bus.publish(TOPOLOGY.inbound, "0", message(1))
        await bus.reply((await inbox.first(1))[0], b"nobody asked")


class Living:
    async def test_it_says_what_it_is(self, bus: Bus) -> None:
        info = await bus.info()
        assert info.kind
        assert info.version

    async def test_closing_twice_and_using_it_afterwards(self, connect: Connect) -> None:
        closed = await connect()
        await closed.start()
        await closed.declare()
        consumer = await closed.consume(FIRST, Inbox(), prefetch=1)
        await closed.close()
        await closed.close()
        await consumer.close()
        assert not consumer.lost.is_set()
        for call in (
            closed.publish(TOPOLOGY.inbound, "0", message(1)),
            closed.consume(FIRST, Inbox(), prefetch=1),
            closed.declare(),
            closed.depth(FIRST),
            closed.request(TOPOLOGY.inbound, "0", message(1), timeout=1),
        ):
            with pytest.raises(BrokerUnavailable):
                await call


class BusContract(Publishing, Consuming, Subscribing, Requesting, Living):
    """The whole contract."""


class _Echo:
    """Answers each request from a task of its own."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, delivery: Delivery) -> None:
        self._tasks.add(asyncio.create_task(self._answer(delivery)))

    async def finish(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _answer(self, delivery: Delivery) -> None:
        await self._bus.reply(delivery, b"re: " + delivery.body)
        await delivery.ack()


async def _reached(handled: Sequence[int], target: int) -> bool:
    return len(handled) >= target


async def _is_gone(bus: Bus, queue: str) -> bool:
    try:
        await bus.depth(queue)
    except Unroutable:
        return True
    return False
