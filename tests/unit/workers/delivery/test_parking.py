"""Parking: what is written into headers and read out of them, and what is acknowledged when."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

import agentbus.workers.delivery.retry
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import PublishUnconfirmed, SchemaViolation, StoreUnavailable
from agentbus.contracts.parked import ParkedInput, parked_id_for
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.parked import MemoryParked
from agentbus.storage.reading import iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.delivery.failures import Failure
from agentbus.workers.delivery.parking import DEAD_LETTERED, Failed, ParkingRecorder, park, park_all, read_parked
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.outages import SAID_AT_ONCE
from tests.harness.conversations import CONVERSATION, message
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE

CLOCK = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
BODY = b'{"broken": "\xff'


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        agentbus.workers.delivery.retry, "OUTAGES", replace(agentbus.workers.delivery.retry.OUTAGES, longest_wait=0)
    )


class Doubtful(MemoryBus):
    """A bus whose first publishes are not confirmed."""

    doubts = 0

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool = True) -> None:
        if self.doubts:
            self.doubts -= 1
            raise PublishUnconfirmed
        await super().publish(exchange, routing_key, message, mandatory=mandatory)


class Recording(MemoryStore):
    """A store that tells when something was parked, after some failures."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.recorded: asyncio.Queue[ParkedInput] = asyncio.Queue()
        self.parked = _RecordingParked(self)


class _RecordingParked(MemoryParked):
    def __init__(self, store: Recording) -> None:
        super().__init__()
        self._store = store

    async def put(self, parked: ParkedInput) -> None:
        if self._store.failures:
            self._store.failures -= 1
            raise StoreUnavailable
        await super().put(parked)
        self._store.recorded.put_nowait(parked)


@pytest.fixture
async def bus() -> AsyncIterator[Doubtful]:
    async with Doubtful(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


async def parked_in(bus: MemoryBus) -> Delivery:
    """Take the one message that is in the parking queue."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    consumer = await bus.consume(bus.topology.parked, arrived.put_nowait, prefetch=10)
    async with asyncio.timeout(PATIENCE):
        delivery = await arrived.get()
    await delivery.ack()
    await consumer.close()
    assert arrived.empty()
    assert (await bus.depth(bus.topology.parked)).ready == 0
    return delivery


async def test_what_is_parked_reads_as_it_was(bus: Doubtful) -> None:
    delivery = Handed(BODY, message_id="m7", queue="agentbus.inbound.3", attempts=4)
    await park(bus, delivery, Failure(SchemaViolation("no such field: [x]"), "Traceback: ä"))
    assert delivery.acked == 1
    parked = read_parked(await parked_in(bus), CLOCK)
    assert parked == ParkedInput(
        parked_id=parked_id_for("m7", BODY),
        message_id="m7",
        queue="agentbus.inbound.3",
        code="schema_violation",
        reason="no such field: [x]",
        stack="Traceback: ä",
        attempts=4,
        parked_at=CLOCK.now(),
        position=parked.position,
        size=len(BODY),
        body=BODY,
    )


async def test_positions_tell_the_order_of_parking(bus: Doubtful) -> None:
    positions = []
    for number in range(3):
        await park(bus, Handed(b"x", message_id=str(number)), Failure(SchemaViolation()))
        positions.append(read_parked(await parked_in(bus), CLOCK).position)
    assert 0 < positions[0] < positions[1] < positions[2]


async def test_headers_stay_small_and_keep_what_tells_most(bus: Doubtful) -> None:
    """A message's headers have to fit into one frame: the beginning of a reason, the end of a stack."""
    failure = Failure(SchemaViolation("first" + "r" * 50_000), "s" * 200_000 + "last line")
    await park(bus, Handed(BODY), failure)
    delivery = await parked_in(bus)
    assert sum(len(str(value)) for value in delivery.headers.values()) < 20_000
    parked = read_parked(delivery, CLOCK)
    assert len(parked.reason) == 2_000
    assert parked.reason.startswith("first")
    assert len(parked.stack) == 16_000
    assert parked.stack.endswith("last line")


async def test_an_unconfirmed_parking_is_made_again_before_the_acknowledgement(bus: Doubtful) -> None:
    bus.doubts, delivery = 3, Handed(BODY)
    await park(bus, delivery, Failure(SchemaViolation()))
    assert bus.doubts == 0
    assert delivery.acked == 1
    assert (await parked_in(bus)).body == BODY


async def test_of_many_those_alone_are_published_again_that_were_not_confirmed(bus: Doubtful) -> None:
    many = [Handed(b"%d" % number, message_id=str(number)) for number in range(20)]
    bus.doubts = 5
    with capture_logs() as said:
        await park_all(bus, [Failed(one, Failure(SchemaViolation())) for one in many])
    assert [one.acked for one in many] == [1] * 20
    assert (await bus.depth(bus.topology.parked)).ready == 20
    parked = [line for line in said if line["event"] == Action.INPUT_PARKED]
    assert len(parked) == SAID_AT_ONCE, "a flood of bad inputs is no flood of lines"


async def test_what_cannot_be_parked_is_not_acknowledged(bus: Doubtful) -> None:
    delivery = Handed(BODY)
    bus.doubts = 1_000_000
    parking = asyncio.create_task(park(bus, delivery, Failure(SchemaViolation())))
    async with asyncio.timeout(PATIENCE):
        while bus.doubts > 999_990:
            await asyncio.sleep(0)
    parking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parking
    assert delivery.acked == 0


async def test_the_conversation_is_told_by_who_read_the_body_and_nobody_reads_it_again(bus: Doubtful) -> None:
    body = InputEnvelope(id="i1", partitionkey=CONVERSATION, data=message()).to_bytes()
    await park(bus, Handed(body), Failure(SchemaViolation()), CONVERSATION)
    assert read_parked(await parked_in(bus), CLOCK).conversation_id == CONVERSATION
    await park(bus, Handed(body), Failure(SchemaViolation()))
    assert read_parked(await parked_in(bus), CLOCK).conversation_id is None


def test_what_the_broker_dead_lettered_tells_where_it_was() -> None:
    headers = {"x-first-death-queue": "agentbus.inbound.5", "x-first-death-reason": "delivery_limit"}
    parked = read_parked(Handed(BODY, queue="agentbus.parked", headers=headers), CLOCK)
    assert (parked.queue, parked.code) == ("agentbus.inbound.5", DEAD_LETTERED)
    assert parked.reason == "dead-lettered by the broker: delivery_limit"
    assert (parked.attempts, parked.position, parked.stack) == (1, 0, "")


def test_headers_like_ours_on_what_is_dead_lettered_are_the_publishers_and_do_not_count() -> None:
    """Whoever publishes with an expiration decides when their message is dead-lettered, and with which headers."""
    forged: dict[str, str | int] = {
        "x-agentbus-queue": "somebody.elses",
        "x-agentbus-conversation": CONVERSATION,
        "x-agentbus-code": "killed_worker",
        "x-agentbus-reason": "pay to this account",
        "x-agentbus-stack": "no trace",
        "x-agentbus-attempts": 7,
        "x-agentbus-position": 8,
    }
    deaths: dict[str, str | int] = {
        "x-first-death-queue": "agentbus.inbound.5",
        "x-first-death-reason": "expired",
    }
    parked = read_parked(Handed(BODY, queue="agentbus.parked", headers=forged | deaths), CLOCK)
    assert parked == read_parked(Handed(BODY, queue="agentbus.parked", headers=deaths), CLOCK)


def test_without_any_header_the_parking_queue_is_named() -> None:
    parked = read_parked(Handed(BODY, queue="agentbus.parked"), CLOCK)
    assert (parked.queue, parked.reason) == ("agentbus.parked", "dead-lettered by the broker: unknown")


@pytest.mark.parametrize("nonsense", [0, -5, "many", ""])
def test_nonsense_numbers_are_brought_into_range(nonsense: str | int) -> None:
    parked = read_parked(
        Handed(BODY, headers={"x-agentbus-attempts": nonsense, "x-agentbus-position": nonsense}), CLOCK
    )
    assert (parked.attempts, parked.position) == (1, 0)


def test_numbers_beyond_what_is_counted_are_brought_into_range() -> None:
    """One more is added when the same is parked again: no store may run over at that."""
    parked = read_parked(Handed(BODY, headers={"x-agentbus-attempts": 2**63 - 1}), CLOCK)
    assert parked.attempts == 2**31


@pytest.mark.parametrize("forged", ["nobody's", "A" * 26, "a" * 27, "a" * 26 + "\n", 7])
async def test_forged_headers_do_not_stop_the_recorder(bus: Doubtful, forged: str | int) -> None:
    """Raised at in the recorder, such a message would hold its place among those in hand for ever."""
    store = Recording()
    recorder = ParkingRecorder(bus, store, CLOCK)
    await recorder.start()
    headers: dict[str, str | int] = {"x-agentbus-conversation": forged, "x-agentbus-attempts": 2**63 - 1}
    for _ in range(2):
        await bus.publish(bus.topology.parked, "", Message(body=BODY, message_id="m", headers=headers))
    async with asyncio.timeout(PATIENCE):
        recorded = [await store.recorded.get() for _ in range(2)]
    await recorder.close()
    assert [one.conversation_id for one in recorded] == [None, None]


async def test_the_recorder_moves_what_is_parked_into_the_store(bus: Doubtful) -> None:
    store = Recording(failures=2)
    metrics = WorkerMetrics(registry := CollectorRegistry())
    recorder = ParkingRecorder(bus, store, CLOCK, metrics=metrics)
    await recorder.start()
    for number in range(3):
        await park(bus, Handed(BODY, message_id=str(number)), Failure(SchemaViolation()))
    async with asyncio.timeout(PATIENCE):
        recorded = [(await store.recorded.get()).message_id for _ in range(3)]
    assert recorded == ["0", "1", "2"]
    await recorder.close()
    assert len([one async for one in iter_parked(store)]) == 3
    assert registry.get_sample_value("agentbus_parked_total") == 3
    assert store.failures == 0


async def test_what_is_not_recorded_stays_in_the_queue(bus: Doubtful) -> None:
    store = Recording(failures=1_000_000)
    recorder = ParkingRecorder(bus, store, CLOCK)
    await recorder.start()
    await park(bus, Handed(BODY), Failure(SchemaViolation()))
    async with asyncio.timeout(PATIENCE):
        while store.failures > 999_990:
            await asyncio.sleep(0)
    await recorder.close()
    assert (await bus.depth(bus.topology.parked)).ready == 1
    assert (await parked_in(bus)).redelivered
