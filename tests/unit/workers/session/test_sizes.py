"""A session at its limits: whoever operates is told once, in time, and what is small costs nothing."""

from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue
from structlog.testing import capture_logs

from agentbus.client import AgentBus
from agentbus.contracts.commands import SetData
from agentbus.contracts.errors import LimitExceeded
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.checks.limits import MAX_SESSION_BYTES
from agentbus.workers.session import sizes
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.sizes import LargeSessions
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation, a_head
from tests.harness.conversations import message

PIECE = "x" * 200_000


def counted(metrics: WorkerMetrics) -> float:
    (metric,) = metrics.large_sessions.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_total"))


@pytest.fixture(params=[False, True], ids=["states held", "states read anew"])
async def running(request: pytest.FixtureRequest) -> AsyncIterator[tuple[AgentBus, WorkerMetrics]]:
    metrics = WorkerMetrics()
    async with MemoryStore() as store, MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(embedded=request.param), metrics=metrics)
        await worker.start()
        yield AgentBus(bus), metrics
        await worker.close()


async def test_a_session_that_grows_is_told_once_before_it_is_refused(
    running: tuple[AgentBus, WorkerMetrics],
) -> None:
    client, metrics = running
    receipt = await client.publish(message(1))
    session = session_id_for(receipt.conversation_id, 1)
    told: list[float] = []
    with capture_logs() as lines:
        for number in range(5):
            await client.send(SetData(session_id=session, values={f"piece{number}": PIECE}))
            told.append(counted(metrics))
        with pytest.raises(LimitExceeded):
            await client.send(SetData(session_id=session, values={"one more": PIECE}))
    assert told == [0, 0, 1, 1, 1], "at more than half, once"
    (line,) = [line for line in lines if line["event"] == Action.SESSION_LARGE]
    assert (line["session"], line["part"], line["limit"]) == (session, "data", MAX_SESSION_BYTES)
    assert line["bytes"] > MAX_SESSION_BYTES / 2


def test_each_of_several_is_told_and_what_did_not_change_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = WorkerMetrics()
    large = LargeSessions(metrics)
    full: dict[str, JsonValue] = {str(number): PIECE for number in range(4)}
    states = [a_head(a_conversation(), data=full) for _ in range(3)]
    for state in states * 2:
        large.look(state.model_copy(update={"data": {}}), state)
    assert counted(metrics) == 3
    monkeypatch.setattr(sizes, "json_size", lambda _: pytest.fail("measured"))
    large.look(states[0], states[0].model_copy(update={"message_count": 9}))


def test_memory_of_who_was_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "_MOST_KNOWN", 2)
    large = LargeSessions(WorkerMetrics())
    for _ in range(5):
        state = a_head(a_conversation(), data={str(number): PIECE for number in range(4)})
        large.look(state.model_copy(update={"data": {}}), state)
    assert len(large._known) == 2
