"""Having a partition go to another worker: who may get it, and what is refused."""

from collections.abc import Sequence

import pytest

from agentbus.composition.app import App, make_bus
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import HandBackRefused, PartitionNotFound, Refused, SchemaViolation, WorkerNotFound
from agentbus.contracts.members import MAX_HANDED_SECONDS, WorkerKind, WorkerStatus
from agentbus.operations.workers import hand_back, hand_backs, partitions, session_workers
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from tests.harness.builders import NOON, a_member

OF_MANY = load_settings(amqp_url="amqp://nowhere", store_url="memory://", partitions=4)


@pytest.fixture
def app() -> App:
    return App(settings=OF_MANY, bus=make_bus(OF_MANY), store=MemoryStore(), clock=ManualClock(NOON))


async def at_work(
    app: App, name: str, owns: Sequence[int] = (), *, kind: WorkerKind = WorkerKind.SESSION, draining: bool = False
) -> None:
    member = a_member(name, owns=list(owns))
    member = member.model_copy(update={"status": WorkerStatus.DRAINING if draining else WorkerStatus.RUNNING})
    await app.store.members.heartbeat(kind.group("agentbus"), member, ttl=60)


async def test_it_goes_to_who_stands_next_or_is_named(app: App) -> None:
    for name, owns in (("a", [0, 1]), ("b", [2]), ("c", [3])):
        await at_work(app, name, owns)
    asked = await hand_back(app, 0)
    assert (asked.owner, asked.to in {"b", "c"}) == ("a", True)
    other = {"b": "c", "c": "b"}[asked.to]
    assert (await hand_back(app, 0, to=other)).to == other  # on second thoughts
    [held] = await hand_backs(app)
    assert held.to == other
    shown = await partitions(app, await session_workers(app))
    assert [(one.partition, one.owners, one.hand_back) for one in shown[:2]] == [(0, ["a"], held), (1, ["a"], None)]


async def test_what_cant_be_is_refused_and_nothing_is_kept(app: App) -> None:
    with pytest.raises(HandBackRefused, match="nobody owns partition 0"):
        await hand_back(app, 0)
    await at_work(app, "a", [0, 1, 2])
    await at_work(app, "ends", draining=True)
    await at_work(app, "syncs", kind=WorkerKind.SYNC)
    refused: list[tuple[int, str | None, type[Refused], str]] = [
        (0, None, HandBackRefused, "no other session worker"),
        (0, "a", HandBackRefused, "owns partition 0 already"),
        (0, "gone", WorkerNotFound, "gone"),
        (0, "ends", WorkerNotFound, "about to end"),
        (0, "syncs", WorkerNotFound, "syncs"),
        (3, None, HandBackRefused, "nobody owns partition 3"),
        (4, None, PartitionNotFound, "0 to 3"),
        (-1, None, PartitionNotFound, "0 to 3"),
    ]
    for partition, to, error, words in refused:
        with pytest.raises(error, match=words):
            await hand_back(app, partition, to=to)
    for seconds in (0, 0.5, float("nan"), float("inf"), MAX_HANDED_SECONDS + 1):
        with pytest.raises(SchemaViolation, match="lasts"):
            await hand_back(app, 0, seconds=seconds)
    assert await hand_backs(app) == []


async def test_one_to_a_worker_that_is_gone_by_now_is_asked_for_anew(app: App) -> None:
    await at_work(app, "a", [0])
    await at_work(app, "b")
    assert (await hand_back(app, 0)).to == "b"
    await app.store.members.leave("agentbus", a_member("b").worker_id)
    with pytest.raises(HandBackRefused, match="no other session worker"):
        await hand_back(app, 0)
    await at_work(app, "c")
    assert (await hand_back(app, 0)).to == "c"


async def test_in_one_process_there_is_nobody_else() -> None:
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=4)
    app = App(settings=settings, bus=MemoryBus(settings.topology), store=MemoryStore(), clock=ManualClock(NOON))
    with pytest.raises(HandBackRefused, match="one process"):
        await hand_back(app, 0)
