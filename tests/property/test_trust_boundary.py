"""Whatever a stranger publishes, by whichever way, no command takes effect: neither at once nor when it is replayed."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import Enum, auto

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentbus.contracts.address import Scope
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import InvalidInput, Unroutable
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.queries import AnyQuery, ReadHistory, ReadSession, TellWriting
from agentbus.contracts.topology import Topology
from agentbus.contracts.writing import Writing
from agentbus.operations.parked import ReplayRefused, replay_parked
from agentbus.storage.memory import MemoryStore
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.memory.broker import MemoryBroker
from agentbus.workers.bus.port import Headers, Message
from agentbus.workers.ingress.router import IngressRouter
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import NOW, message
from tests.harness.patience import PATIENCE
from tests.property.test_contracts import _commands, _conversations, _inbound, _sessions

TOPOLOGY = Topology(partitions=2)
SCOPE = Scope.PER_CHAT_USER
LISTED = ("worker", "operator")
THERE = (a_conversation("one"), a_conversation("two"))
"""Conversations with a live session, of a user like any other."""


class Way(Enum):
    INGRESS = auto()
    PARTITION = auto()
    PARKING = auto()


@dataclass(frozen=True)
class Attempt:
    envelope: InputEnvelope
    way: Way
    headers: Headers
    reply_to: str | None


_names = st.sampled_from(["worker", "operator\nworker", "", "x" * 2000])
_queues = st.sampled_from(
    [TOPOLOGY.ingress, TOPOLOGY.parked, "elsewhere", *map(TOPOLOGY.partition_queue, TOPOLOGY.all_partitions())]
)
_queries = st.one_of(
    st.builds(ReadSession, session_id=_sessions),
    st.builds(ReadHistory, session_id=_sessions),
    st.builds(TellWriting, session_id=_sessions, writing=st.just(Writing(id="w", text="so far"))),
)
_headers: st.SearchStrategy[Headers] = st.fixed_dictionaries(
    {},
    optional={
        "x-agentbus-queue": _queues,
        "x-agentbus-code": st.just("killed_worker"),
        "x-agentbus-senders": _names,
        "x-first-death-queue": _queues,
        "x-first-death-reason": st.just("expired"),
        "x-delivery-count": st.integers() | st.text(),
    },
)


@st.composite
def _envelopes(draw: st.DrawFn) -> InputEnvelope:
    """Draw an input; what is no message is mostly aimed at a session that is there, by somebody with every right."""
    data = draw(_inbound | st.one_of(*_commands.values()) | _queries)
    conversation = draw(st.sampled_from(THERE) | _conversations)
    if isinstance(data, InboundMessage):
        return InputEnvelope(
            id="an input",
            partitionkey=draw(st.none() | st.just(conversation)),
            data=data.model_copy(update={"sent_at": NOW}),
        )
    session: SessionId | None = session_id_for(conversation, 1)
    if not isinstance(data, AnyQuery) and draw(st.booleans()):
        session = None
    aimed = {"session_id": session, "actor": None, "address": None, "fence": None}
    known = {name: value for name, value in aimed.items() if name in type(data).model_fields}
    return InputEnvelope(id="an input", partitionkey=conversation, data=data.model_copy(update=known))


def attempts(*ways: Way) -> st.SearchStrategy[list[Attempt]]:
    one = st.builds(
        Attempt,
        _envelopes(),
        st.sampled_from(ways),
        _headers,
        st.none() | _queues | st.just("amq.rabbitmq.reply-to.token"),
    )
    return st.lists(one, min_size=1, max_size=8)


def named(attempt: Attempt, number: int) -> InputEnvelope:
    kind = "message" if isinstance(attempt.envelope.data, InboundMessage) else "other"
    return attempt.envelope.model_copy(update={"id": f"{kind}-{number}"})


async def publish(bus: MemoryBus, attempt: Attempt, number: int) -> None:
    envelope = named(attempt, number)
    sent = Message(body=envelope.to_bytes(), message_id=envelope.id, headers=attempt.headers, reply_to=attempt.reply_to)
    match attempt.way:
        case Way.INGRESS:
            await bus.publish(TOPOLOGY.ingress, "anything", sent)
        case Way.PARKING:
            await bus.publish(TOPOLOGY.parked, "", sent)
        case Way.PARTITION:
            with suppress(InvalidInput):
                partition = TOPOLOGY.partition_of(envelope.conversation(SCOPE))
                await bus.publish(TOPOLOGY.inbound, str(partition), sent)


async def until_quiet(broker: MemoryBroker) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(queue.ready or any(consumer.held for consumer in queue.consumers) for queue in broker.queues):
            await asyncio.sleep(0)


async def causes(given: list[Attempt], listed: tuple[str, ...]) -> set[str]:
    """Let a stranger try, and an operator replay all that was parked; return what had an effect."""
    broker, store = MemoryBroker(), MemoryStore()
    async with AsyncExitStack() as stack:
        worker_bus, stranger, operator = [
            await stack.enter_async_context(MemoryBus(TOPOLOGY, broker, user=user))
            for user in ("worker", "stranger", "operator")
        ]
        await worker_bus.declare()
        clock = ManualClock(NOW)
        worker = SessionWorker(worker_bus, store, config=SessionWorkerConfig(command_users=listed), clock=clock)
        stack.push_async_callback(worker.close)
        await worker.start()
        router = IngressRouter(worker_bus)
        stack.push_async_callback(router.close)
        await router.start()
        for conversation in THERE:
            first = InputEnvelope(id=f"message-{conversation}", partitionkey=conversation, data=message())
            await operator.publish(TOPOLOGY.ingress, "", Message(body=first.to_bytes(), message_id=first.id))
        await until_quiet(broker)
        for number, attempt in enumerate(given):
            await publish(stranger, attempt, number)
        await until_quiet(broker)
        for parked in [one async for one in iter_parked(store)]:
            with suppress(ReplayRefused, Unroutable):
                await replay_parked(operator, store, parked.parked_id, scope=SCOPE)
        await until_quiet(broker)
        logs = {commit.conversation_id for log in store.log._log.values() for commit in log.values()}
        return {event.cause for one in logs async for commit in iter_log(store, one) for event in commit.events}


@pytest.mark.parametrize(
    ("ways", "listed"), [((Way.INGRESS,), ()), (tuple(Way), LISTED)], ids=["by the ingress", "by any way"]
)
@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_command_of_a_stranger_ever_takes_effect(
    ways: tuple[Way, ...], listed: tuple[str, ...], data: st.DataObject
) -> None:
    effects = asyncio.run(causes(data.draw(attempts(*ways)), listed))
    assert all(cause.startswith("message-") for cause in effects)
