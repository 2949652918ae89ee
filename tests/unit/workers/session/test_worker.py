"""The session worker on the in-process bus: order, repeats, failures, parking."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

import agentbus.workers.session.plan
from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.base import MAX_INPUT_BYTES
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import (
    AppendMessage,
    CloseSession,
    CreateSession,
    ResetSession,
    SetData,
    UnblockSession,
)
from agentbus.contracts.envelope import EventEnvelope, Input, InputEnvelope
from agentbus.contracts.errors import (
    ConversationBlocked,
    ReplyTimeout,
    SessionNotCurrent,
    SessionNotFound,
    StoreRejected,
)
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.contracts.session import RECENT_INPUTS, SessionState
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.operations.parked import replay_parked
from agentbus.operations.unblocking import replay_conversation
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.port import Loaded
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.port import Bus, Message
from agentbus.workers.delivery.parking import Failed, park_all
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.decide import decide
from agentbus.workers.installation.joining import join_installation
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import NOW, address, message
from tests.harness.faults import FaultyBus, FaultyStore, outage
from tests.harness.patience import PATIENCE

SCOPE = Scope.PER_CHAT_USER


@dataclass
class Bench:
    bus: FaultyBus
    store: FaultyStore
    worker: SessionWorker
    client: AgentBus
    events: list[EventEnvelope] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def keep(self, event: EventEnvelope) -> None:
        async with self.arrived:
            self.events.append(event)
            self.arrived.notify_all()

    async def until(self, happened: Callable[["Bench"], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.arrived:
            await self.arrived.wait_for(lambda: happened(self))

    async def until_texts(self, count: int) -> list[str]:
        await self.until(lambda bench: len(bench.texts()) >= count)
        return self.texts()

    def texts(self) -> list[str]:
        """Return the texts of the announced messages; repeats of an event count once."""
        found = {event.id: event.data for event in self.events}
        return [
            event.message.content.text
            for event in found.values()
            if isinstance(event, MessageAppended) and isinstance(event.message.content, TextContent)
        ]

    async def log(self, conversation: ConversationId) -> list[Commit]:
        return [commit async for commit in iter_log(self.store, conversation)]

    async def parked(self, count: int = 1) -> list[ParkedInput]:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [parked async for parked in iter_parked(self.store)]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0)


@asynccontextmanager
async def running(store: FaultyStore | None = None, *, partitions: int = 4) -> AsyncIterator[Bench]:
    store = store or FaultyStore()
    async with FaultyBus(Topology(partitions=partitions)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=100))
        client = AgentBus(bus)
        bench = Bench(bus, store, worker, client)
        client.on("session.#")(bench.keep)
        try:
            await client.start()
            await worker.start()
            yield bench
        finally:
            await worker.close()
            await client.close()
        for queue in (*map(bus.topology.partition_queue, bus.topology.all_partitions()), bus.topology.parked):
            assert (await bus.depth(queue)).ready == 0, f"something was left in {queue}"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running() as bench:
        yield bench


def burst(count: int) -> list[InboundMessage]:
    return [message(number, f"m{number}") for number in range(count)]


async def test_messages_of_a_conversation_are_committed_and_announced_in_order(bench: Bench) -> None:
    receipts = await bench.client.publish_many(burst(300))
    assert await bench.until_texts(300) == [f"m{number}" for number in range(300)]
    log = await bench.log(receipts[0].conversation_id)
    assert [commit.version for commit in log] == list(range(1, len(log) + 1))
    assert [one for commit in log for one in commit.inputs] == [receipt.input_id for receipt in receipts]
    assert len(log) < 300, "a burst should be committed in batches"


async def test_conversations_are_committed_together_when_there_is_enough_to_do() -> None:
    messages = [message(number, user=f"user{number}") for number in range(50)]
    async with running() as bench:
        await bench.client.publish_many(messages)
        await bench.until_texts(50)
        assert max(bench.store.batches) > 1


async def test_nothing_waits_for_others_when_idle(bench: Bench) -> None:
    for number in range(5):
        await bench.client.publish(message(number, user=f"user{number}"))
        await bench.until_texts(number + 1)
    assert bench.store.batches == [1] * 5


async def test_a_repeat_is_dropped_and_its_events_are_announced_again(bench: Bench) -> None:
    receipt = await bench.client.publish(message(1))
    await bench.until(lambda bench: len(bench.events) == 2)
    assert await bench.client.publish(message(1)) == receipt
    await bench.until(lambda bench: len(bench.events) == 4)
    assert [event.id for event in bench.events[2:]] == [event.id for event in bench.events[:2]]
    assert len(await bench.log(receipt.conversation_id)) == 1


async def test_a_repeat_within_one_batch_is_dropped(bench: Bench) -> None:
    receipts = await bench.client.publish_many([message(1), message(1), message(2), message(1)])
    await bench.until_texts(2)
    log = await bench.log(receipts[0].conversation_id)
    assert [one for commit in log for one in commit.inputs] == [receipts[0].input_id, receipts[2].input_id]


async def test_a_repeat_that_memory_forgot_is_known_by_the_log() -> None:
    store = FaultyStore()
    async with running(store) as bench:
        await bench.client.publish_many(burst(200))
        await bench.until_texts(200)
    async with running(store) as bench:
        receipt = await bench.client.publish(message(0, "m0"))
        await bench.until(lambda bench: len(bench.events) >= 2)
        commits = await bench.log(receipt.conversation_id)
    assert sum(receipt.input_id in commit.inputs for commit in commits) == 1


async def test_an_outage_before_the_append_costs_nothing(bench: Bench) -> None:
    bench.store.fail_before = outage(3)
    await bench.client.publish_many(burst(20))
    assert await bench.until_texts(20) == [f"m{number}" for number in range(20)]
    assert not bench.store.fail_before


async def test_an_append_whose_answer_was_lost_is_not_made_twice(bench: Bench) -> None:
    bench.store.fail_after = outage(1)
    receipts = await bench.client.publish_many(burst(20))
    assert await bench.until_texts(20) == [f"m{number}" for number in range(20)]
    inputs = [one for commit in await bench.log(receipts[0].conversation_id) for one in commit.inputs]
    assert inputs == [receipt.input_id for receipt in receipts]


async def test_heads_that_a_crash_left_behind_are_brought_up_to_the_log() -> None:
    """The worker died after the append: its successor finds nothing to commit, and readers see heads alone."""
    store = FaultyStore()
    async with running(store) as bench:
        receipt = await bench.client.publish(message(1))
        await bench.client.send(SetData(address=address(), values={"a": 1}))
    conversation = receipt.conversation_id
    state = (await store.log.load([conversation]))[conversation].head
    assert state is not None
    reset = Input(InputId("reset"), ResetSession())
    commit = Commit(
        conversation_id=conversation,
        version=state.version + 1,
        epoch=state.epoch,
        at=NOW,
        inputs=(reset.id,),
        events=decide(state, reset, NOW),
    )
    assert await store.log.append([commit]) == [None]
    async with running(store) as bench:
        reply = await bench.client.send(ResetSession(address=address()), command_id="reset")
        assert reply.repeated
    ended, began = await store.heads.get(state.session_id), await store.heads.get(commit.events[-1].session_id)
    assert ended is not None
    assert not ended.is_live
    assert began is not None
    assert began.version == commit.version


async def test_a_head_that_could_not_be_written_is_written_later(bench: Bench) -> None:
    bench.store.fail_heads = outage(2)
    await bench.client.publish(message(1))
    (event, _) = (await _events(bench, 2))[:2]
    head = await bench.store.heads.get(event.data.session_id)
    assert head is not None
    assert head.message_count == 1


async def _events(bench: Bench, count: int) -> list[EventEnvelope]:
    await bench.until(lambda bench: len(bench.events) >= count)
    return bench.events


async def test_a_head_that_the_store_can_never_hold_stops_nobody(bench: Bench) -> None:
    large = message(1, "one")
    bench.store.refuse_heads[conversation_id_for(large.address, Scope.PER_CHAT_USER)] = StoreRejected("a head of 17 MB")
    others = [message(number, f"m{number}", user=f"user{number}") for number in range(5)]
    with capture_logs() as said:
        await bench.client.publish_many([large, *others])
        await bench.until_texts(6)
        await bench.client.publish(message(2, "two"))
        await bench.until_texts(7)
    refused = [line for line in said if line["event"] == Action.HEAD_REFUSED]
    assert [line["error"] for line in refused] == ["a head of 17 MB"] * 2


@pytest.mark.parametrize("routed", [False, True])
async def test_events_without_confirm_are_announced_again_in_order(bench: Bench, routed: bool) -> None:
    bench.bus.unconfirmed, bench.bus.routed_all_the_same = 7, routed
    await bench.client.publish_many(burst(10))
    assert await bench.until_texts(10) == [f"m{number}" for number in range(10)]


async def test_another_writer_was_first_and_both_writes_stand(bench: Bench) -> None:
    receipt = await bench.client.publish(message(1, "one"))
    await bench.until_texts(1)
    conversation = receipt.conversation_id
    state = (await bench.store.log.load([conversation]))[conversation].head
    assert state is not None
    foreign = Input(InputId("foreign"), SetData(values={"by": "another worker"}))
    commit = Commit(
        conversation_id=conversation,
        version=state.version + 1,
        at=NOW,
        inputs=(foreign.id,),
        events=decide(state, foreign, NOW),
    )
    assert await bench.store.log.append([commit]) == [None]
    await bench.client.publish(message(2, "two"))
    await bench.until_texts(2)
    log = await bench.log(conversation)
    assert [commit.version for commit in log] == [1, 2, 3]
    head = (await bench.store.log.load([conversation]))[conversation].head
    assert head is not None
    assert (head.data, head.message_count) == ({"by": "another worker"}, 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff\xfe not text", "undecodable"),
        (b'{"specversion": "1.0", "type": "agentbus.input.v9"}', "unsupported_type"),
        (b'{"specversion": "1.0", "type": "agentbus.input.v1", "id": "x", "data": {}}', "schema_violation"),
        (
            InputEnvelope(id="x", partitionkey=ConversationId("b" * 26), data=message(1)).to_bytes(),
            "wrong_partition",
        ),
        (b'{"specversion": "1.0", "x": "' + MAX_INPUT_BYTES * b"x" + b'"}', "too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_understood_is_parked_with_its_bytes(bench: Bench, body: bytes, code: str) -> None:
    topology = bench.bus.topology
    partition = (topology.partition_of(ConversationId("b" * 26)) + 1) % topology.partitions
    await bench.bus.publish(topology.inbound, str(partition), Message(body=body, message_id="bad"))
    (parked,) = await bench.parked()
    assert (parked.code, parked.size, parked.message_id) == (code, len(body), "bad")
    assert body.startswith(parked.body)  # a list gives the beginning of a large one
    whole = await bench.store.parked.get(parked.parked_id)
    assert whole is not None
    assert whole.body == body
    assert parked.queue == topology.inbound + f".{partition}"
    assert parked.reason


async def test_a_message_from_the_future_is_parked_and_its_neighbours_are_not(bench: Bench) -> None:
    late = message("late", sent_at=NOW + timedelta(days=3650))
    await bench.client.publish_many([message(1, "one"), late, message(2, "two")])
    assert await bench.until_texts(2) == ["one", "two"]
    (parked,) = await bench.parked()
    assert parked.code == "future_timestamp"
    assert parked.message_id == late.input_id()


async def test_a_fault_of_ours_parks_one_input_with_its_traceback(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide_but(state: SessionState, given: Input, now: object, *others: object, **more: object) -> object:
        if isinstance(given.data, InboundMessage) and given.data.message_id == "poison":
            raise ZeroDivisionError("poisoned")
        return decide(state, given, now, *others, **more)  # type: ignore[arg-type]  # what is passed through

    monkeypatch.setattr(agentbus.workers.session.plan, "decide", decide_but)
    await bench.client.publish_many([message(1, "one"), message("poison"), message(2, "two")])
    assert await bench.until_texts(2) == ["one", "two"]
    (parked,) = await bench.parked()
    assert "ZeroDivisionError" in parked.stack


async def test_a_fault_of_ours_while_taking_a_delivery_parks_it_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither handled nor parked it would stay in hand, and a few of its like would stop a partition."""
    read = InputEnvelope.from_bytes

    def read_but(body: bytes) -> InputEnvelope:
        if b"poison" in body:
            raise ZeroDivisionError("poisoned")
        return read(body)

    monkeypatch.setattr(InputEnvelope, "from_bytes", read_but)
    await bench.client.publish_many([message(1, "one"), message("poison"), message(2, "two")])
    assert await bench.until_texts(2) == ["one", "two"]
    (parked,) = await bench.parked()
    assert "ZeroDivisionError" in parked.stack


@pytest.fixture
def unrendered() -> Iterator[None]:
    """Keep log lines as data: writing out this traceback takes longer than a worker's loop may stand still."""
    with capture_logs():
        yield


@pytest.mark.usefixtures("unrendered")
async def test_an_input_that_the_store_can_never_take_is_parked_alone(bench: Bench) -> None:
    poison = message("poison")
    bench.store.refuse[poison.input_id()] = StoreRejected("too large for a document")
    others = [message(number, f"m{number}", user=f"user{number}") for number in range(5)]
    await bench.client.publish_many([message(1, "one"), poison, message(2, "two"), *others])
    assert sorted(await bench.until_texts(7)) == sorted(["one", "two", *(f"m{number}" for number in range(5))])
    (parked,) = await bench.parked()
    assert parked.message_id == poison.input_id()
    assert "too large" in parked.reason


async def test_what_the_store_never_takes_blocks_its_conversation_if_that_is_its_policy(bench: Bench) -> None:
    await bench.client.send(CreateSession(address=address(), metadata={"on_failure": "block"}))
    bench.store.refuse[message("bad").input_id()] = StoreRejected("too large for one commit")
    await bench.client.publish_many([message(1, "one"), message("bad"), message(2, "two")])
    parked = await bench.parked(2)
    assert {one.code for one in parked} == {"store_rejected", "conversation_blocked"}
    assert await bench.until_texts(1) == ["one"]
    bench.store.refuse.clear()
    replayed = await replay_conversation(bench.bus, bench.store, conversation_id_for(address(), SCOPE), scope=SCOPE)
    replayed.check()
    assert await bench.until_texts(3) == ["one", "hello", "two"]


async def test_an_input_that_cannot_even_be_parked_stops_nobody_and_comes_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.refuse["bad"] = StoreRejected("too large for one commit")
    tries = list[int]()

    async def unparkable(bus: Bus, failed: Sequence[Failed]) -> None:
        if failed and len(tries) < 2:
            tries.append(len(failed))
            raise ValueError("a header that nobody can write")
        await park_all(bus, failed)

    monkeypatch.setattr("agentbus.workers.session.committer.park_all", unparkable)
    await bench.client.publish(message("bad"), input_id="bad")
    await bench.client.publish(message(2, "two"))
    assert await bench.until_texts(1) == ["two"]
    (parked,) = await bench.parked()
    assert (parked.message_id, len(tries)) == ("bad", 2)


async def test_commands_are_answered(bench: Bench) -> None:
    created = await bench.client.send(CreateSession(address=address()))
    assert created.session_id
    reply = await bench.client.send(SetData(session_id=created.session_id, values={"a": 1}))
    assert reply.version == created.version + 1
    head = await bench.store.heads.get(created.session_id)
    assert head is not None
    assert head.data == {"a": 1}


async def test_a_refused_command_raises_at_the_caller_and_is_not_parked(bench: Bench) -> None:
    with pytest.raises(SessionNotFound, match="no session"):
        await bench.client.send(CloseSession(address=address()))
    assert not [parked async for parked in iter_parked(bench.store)]


async def test_a_command_that_was_carried_out_long_ago_is_not_refused_when_it_comes_again(bench: Bench) -> None:
    created = await bench.client.send(CreateSession(address=address()))
    once = CloseSession(session_id=created.session_id)
    closed = await bench.client.send(once, command_id="close-1")
    await bench.client.send(CreateSession(address=address()))
    for number in range(RECENT_INPUTS + 1):
        await bench.client.send(SetData(address=address(), values={"n": number}))
    again = await bench.client.send(once, command_id="close-1")
    assert (closed.repeated, again.repeated) == (False, True)
    with pytest.raises(SessionNotCurrent):
        await bench.client.send(once, command_id="close-2")


async def test_a_refused_command_that_nobody_waits_for_is_parked(bench: Bench) -> None:
    receipt = await bench.client.publish(message(1, user="someone"))
    envelope = InputEnvelope(id="c", partitionkey=receipt.conversation_id, data=CloseSession())
    outgoing = Message(body=envelope.to_bytes(), message_id="c")
    for _ in range(2):
        await bench.bus.publish(bench.bus.topology.inbound, str(receipt.partition), outgoing)
    again = InputEnvelope(id="d", partitionkey=receipt.conversation_id, data=CloseSession())
    await bench.bus.publish(
        bench.bus.topology.inbound, str(receipt.partition), Message(body=again.to_bytes(), message_id="d")
    )
    (parked,) = await bench.parked()
    assert (parked.message_id, parked.code) == ("d", "session_not_found")
    assert parked.conversation_id == receipt.conversation_id


async def test_a_command_asked_again_is_carried_out_once(bench: Bench) -> None:
    await bench.client.publish(message(1))
    said = AppendMessage(address=address(), message=OutboundMessage(content=TextContent(text="once")))
    first = await bench.client.send(said, command_id="say-1")
    second = await bench.client.send(said, command_id="say-1")
    assert (first.repeated, second.repeated) == (False, True)
    assert first.session_id == second.session_id
    assert bench.texts().count("once") == 1


async def test_a_blocking_conversation_waits_for_its_failed_input_and_goes_on_in_order(bench: Bench) -> None:
    await bench.client.send(CreateSession(address=address(), metadata={"on_failure": "block"}))
    late = message("late", "late", sent_at=NOW + timedelta(days=3650))
    receipts = await bench.client.publish_many([message(1, "one"), late, message(2, "two"), message(3, "three")])
    await bench.client.publish(message(9, "another conversation", user="grace"))
    assert sorted(await bench.until_texts(2)) == ["another conversation", "one"]
    parked = sorted(await bench.parked(3), key=lambda one: one.position)
    assert [one.code for one in parked] == ["future_timestamp", "conversation_blocked", "conversation_blocked"]
    assert [one.message_id for one in parked] == [receipt.input_id for receipt in receipts[1:]]
    with pytest.raises(ConversationBlocked):
        await bench.client.send(SetData(address=address(), values={"a": 1}))
    mended = InputEnvelope(id=late.input_id(), data=message("late", "late"), partitionkey=receipts[0].conversation_id)
    await replay_parked(bench.bus, bench.store, parked[0].parked_id, scope=SCOPE, corrected=mended.to_bytes())
    replayed = await replay_conversation(bench.bus, bench.store, receipts[0].conversation_id, scope=SCOPE)
    assert (replayed.waits_for, replayed.reason) == (None, "")
    texts = [text for text in await bench.until_texts(5) if text != "another conversation"]
    assert texts == ["one", "late", "two", "three"]
    kinds = [kind for kind, _ in {(event.data.kind, event.id) for event in bench.events}]
    assert kinds.count("session_blocked") == kinds.count("session_unblocked") == 3


async def test_a_blocked_session_can_be_unblocked_without_the_failed_input(bench: Bench) -> None:
    await bench.client.send(CreateSession(address=address(), metadata={"on_failure": "block"}))
    await bench.client.publish(message("late", sent_at=NOW + timedelta(days=3650)))
    await bench.parked()
    await bench.client.send(UnblockSession(address=address()))
    await bench.client.publish(message(2, "two"))
    assert await bench.until_texts(1) == ["two"]


async def test_a_reset_is_one_commit_for_two_sessions(bench: Bench) -> None:
    receipt = await bench.client.publish(message(1))
    reply = await bench.client.send(ResetSession(address=address()))
    log = await bench.log(receipt.conversation_id)
    assert [event.kind for event in log[-1].events] == ["session_closed", "session_started"]
    closed = await bench.store.heads.get(log[-1].events[0].session_id)
    assert closed is not None
    assert not closed.is_live
    assert reply.session_id == log[-1].events[1].session_id


async def test_without_a_worker_the_caller_is_told_what_to_do() -> None:
    async with FaultyBus(Topology(partitions=1)) as bus:
        await bus.declare()
        with pytest.raises(ReplyTimeout, match="is a session worker running") as caught:
            await AgentBus(bus).send(CreateSession(), to=ConversationId("a" * 26), command_id="c-1", timeout=0.01)
    assert caught.value.details["command_id"] == "c-1"


async def test_drained_in_the_middle_nothing_is_lost_or_doubled() -> None:
    store = FaultyStore()
    async with FaultyBus(Topology(partitions=2)) as bus:
        await bus.declare()
        client = AgentBus(bus)
        receipts = await client.publish_many(burst(400))
        for _ in range(20):
            worker = SessionWorker(bus, store, config=SessionWorkerConfig(prefetch=30))
            await worker.start()
            await asyncio.sleep(0)
            await worker.close()
        last = SessionWorker(bus, store)
        await last.start()
        queue = bus.topology.partition_queue(receipts[0].partition)
        async with asyncio.timeout(PATIENCE):
            while len(await store.log.commits_of_inputs(receipts[0].conversation_id, [receipts[-1].input_id])) < 1:
                await asyncio.sleep(0)
        await last.close()
        assert (await bus.depth(queue)).ready == 0
    inputs = [one async for commit in iter_log(store, receipts[0].conversation_id) for one in commit.inputs]
    assert inputs == [receipt.input_id for receipt in receipts]


async def test_discarded_stays_on_record(bench: Bench) -> None:
    await bench.bus.publish(bench.bus.topology.inbound, "0", Message(body=b"?", message_id="bad"))
    (parked,) = await bench.parked()
    assert await bench.store.parked.set_status(parked.parked_id, ParkedStatus.DISCARDED)
    kept = await bench.store.parked.get(parked.parked_id)
    assert kept is not None
    assert kept.status is ParkedStatus.DISCARDED


async def test_metrics_say_what_it_owns_how_old_its_oldest_input_is_and_how_long_commits_take() -> None:
    loading = asyncio.Event()

    class Slow(MemoryLog):
        async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
            await loading.wait()
            return await super().load(conversations)

    registry, store = CollectorRegistry(), MemoryStore()
    store.log = Slow(store.heads)
    async with MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, metrics=WorkerMetrics(registry))
        await worker.start()
        assert registry.get_sample_value("agentbus_owned_partitions", {"worker": "session"}) == 4
        assert registry.get_sample_value("agentbus_oldest_unacknowledged_seconds") == 0
        await AgentBus(bus).publish(message(1))
        async with asyncio.timeout(PATIENCE):
            while not registry.get_sample_value("agentbus_oldest_unacknowledged_seconds"):
                await asyncio.sleep(0)
            loading.set()
            while not registry.get_sample_value("agentbus_publish_to_commit_seconds_count"):
                await asyncio.sleep(0)
            while registry.get_sample_value("agentbus_oldest_unacknowledged_seconds"):
                await asyncio.sleep(0)
        await worker.close()
        assert registry.get_sample_value("agentbus_owned_partitions", {"worker": "session"}) == 0


async def test_a_worker_with_another_number_parks_nothing_of_the_installation() -> None:
    """Its number is wrong, not the inputs' partition: they wait for a worker that has the right one."""
    store, broker, stale = MemoryStore(), MemoryBroker(), Topology(partitions=2)
    async with MemoryBus(Topology(partitions=4), broker) as bus, MemoryBus(stale, broker) as other:
        await join_installation(store, bus, SystemClock())
        worker = SessionWorker(other, store, config=SessionWorkerConfig(prefetch=100))
        await worker.start()
        sent = await AgentBus(bus).publish_many([message(number, user=f"user{number}") for number in range(40)])
        belongs = {one: stale.partition_of(one.conversation_id) == one.partition for one in sent}
        async with asyncio.timeout(PATIENCE):
            for one in (one for one, right in belongs.items() if right):
                while not await store.log.commits_of_inputs(one.conversation_id, [one.input_id]):
                    await asyncio.sleep(0)
        await worker.close()
        assert len(set(belongs.values())) == 2
        assert [one async for one in iter_parked(store)] == []
        depths = [(await bus.depth(queue.name)).ready for queue in bus.topology.queues()]
        assert sum(depths) == list(belongs.values()).count(False)


async def test_what_was_parked_for_its_partition_gets_home_by_todays_number() -> None:
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store)
        await worker.start()
        envelopes = [InputEnvelope(id=f"i{n}", source="/test", data=message(n, user=f"user{n}")) for n in range(20)]
        for envelope in envelopes:
            partition = bus.topology.partition_of(envelope.conversation(SCOPE))
            sent = Message(body=envelope.to_bytes(), message_id=envelope.id)
            await bus.publish(bus.topology.inbound, str((partition + 1) % 4), sent)
        async with asyncio.timeout(PATIENCE):
            while len(parked := [one async for one in iter_parked(store)]) < len(envelopes):
                await asyncio.sleep(0)
        assert {one.code for one in parked} == {"wrong_partition"}
        queues = [await replay_parked(bus, store, one.parked_id, scope=SCOPE) for one in parked]
        assert all(queue != one.queue for queue, one in zip(queues, parked, strict=True))
        async with asyncio.timeout(PATIENCE):
            for envelope in envelopes:
                while not await store.log.commits_of_inputs(envelope.conversation(SCOPE), [envelope.input_id]):
                    await asyncio.sleep(0)
        await worker.close()
        assert [one async for one in iter_parked(store, ParkedStatus.PARKED)] == []


async def test_while_one_input_is_tried_alone_nothing_else_is_read_or_carried_out(bench: Bench) -> None:
    """Else the end of the process by what came in meanwhile would be charged to it."""
    await bench.client.publish(message(0, "before"))
    assert await bench.until_texts(1) == ["before"]
    async with bench.worker._company.exclusive():
        for said in [message(1, "one"), message(2, "two", user="bob")]:
            await bench.client.publish(said)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(bench.worker._lanes) == 0, "nothing was read"
        assert bench.texts() == ["before"]
    assert sorted(await bench.until_texts(3)) == ["before", "one", "two"]
    await bench.client.publish(message(3, "after"))
    assert (await bench.until_texts(4))[-1] == "after"
