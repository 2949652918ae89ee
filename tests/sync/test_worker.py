"""The sync worker as a whole: events, what is due by time, and the session API on top."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import SchemaViolation, StoreDamaged
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.sessions import (
    AccessDenied,
    ConflictStrategy,
    FeatureNotEnabled,
    SessionContext,
    SessionNotFound,
    SessionSystem,
    SessionSystemConfig,
    SyncMode,
    SyncPolicy,
    session_context,
)
from agentbus.storage.archive import open_archive
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.reactive.batches import BatchedEvents
from agentbus.workers.sync.handler import TOPICS
from agentbus.workers.sync.worker import SUBSCRIPTION, SyncWorker
from tests.harness.builders import NOON
from tests.harness.patience import PATIENCE
from tests.sync.world import World


@pytest.fixture
async def system() -> AsyncIterator[SessionSystem]:
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, enable_sync=True, partitions=4)) as started:
        yield started


def worker_of(world: World) -> SyncWorker:
    events = BatchedEvents(world.bus, SUBSCRIPTION, TOPICS, world.sync.handler)
    tasks = world.sync.tasks
    return SyncWorker(world.store, events, tasks, clock=world.clock, topology=Topology(partitions=4), interval=0.01)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await happened():
            await asyncio.sleep(0.01)


async def test_two_workers_share_events_and_what_is_due(world: World) -> None:
    await world.policy(mode=SyncMode.DELAYED, delay=5)
    first, second = await world.people(2)
    workers = [worker_of(world) for _ in range(2)]
    for worker in workers:
        await worker.start()
    await world.write(first, city="Paris")

    async def waits() -> bool:
        return await world.store.records.get(RecordKind.SYNC_TASK, first) is not None

    async def arrived() -> bool:
        return await world.data(second) == [{"city": "Paris"}]

    async def gone() -> bool:
        return not await waits()

    await until(waits)
    assert not await arrived()
    world.clock.advance(timedelta(seconds=5))
    await until(arrived)
    await until(gone)
    for worker in workers:
        await worker.close()


async def test_a_session_that_is_restored_learns_what_it_missed(tmp_path: Path) -> None:
    archive = open_archive(tmp_path.as_uri())
    async with SessionSystem(SessionSystemConfig(enable_sync=True, partitions=4)) as system:
        store, commands = system._engine.store, Inputs(system._engine.client._bus)
        gone = await system.create_session("one", "ann", "telegram", custom_data={"city": "Rome"})
        stays = await system.create_session("two", "ann", "slack")
        await system.link_identities("ann", [gone.session_id, stays.session_id])

        async def data(session: SessionContext) -> dict[str, Any]:
            found = await system.get_session(session.session_id)
            assert found is not None
            return found.data

        async def has_city() -> bool:
            return await data(stays) == {"city": "Rome"}

        await until(has_city)
        await system.set_session_state(gone.session_id, "expired")
        head = await store.heads.get(gone.session_id)
        assert head is not None
        await archive_session(store, archive, commands, head)
        async with session_context(system, chat_id="two", user_id="ann", platform="slack") as session:
            session.set_data("city", "Oslo")
        await restore_session(store, archive, commands, gone.session_id, clock=SystemClock())

        async def has_learnt() -> bool:
            return await data(gone) == {"city": "Oslo"}

        await until(has_learnt)
        assert await data(stays) == {"city": "Oslo"}


@pytest.mark.parametrize("error", [KeyError("no session"), StoreDamaged("the head is damaged")])
async def test_a_task_that_can_not_be_carried_out_is_not_in_the_way_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await world.policy(mode=SyncMode.DELAYED, delay=5)
    first, second = await world.people(2)
    await world.write(first, city="Paris")
    await world.settle()
    bad = Record(kind=RecordKind.SYNC_TASK, key="no session", group="0", created_at=NOON, data={}, due_at=NOON)
    await world.store.records.put(bad)
    world.clock.advance(timedelta(seconds=5))
    worker = worker_of(world)
    await worker._share.start()
    carry_out = world.sync.tasks.carry_out

    async def fail(task: Record) -> None:
        if task.key == bad.key:
            raise error
        await carry_out(task)

    monkeypatch.setattr(world.sync.tasks, "carry_out", fail)
    assert await worker.turn() is False
    await world.quiet()
    await worker.close()
    assert await world.data(second) == [{"city": "Paris"}]
    kept = await world.store.records.get(RecordKind.SYNC_TASK, bad.key)
    assert kept is not None
    assert kept.due_at is not None
    assert kept.due_at > world.clock.now()


async def test_codes_are_forgotten_a_day_after_their_time(world: World) -> None:
    session = await world.talk()
    code = await world.sync.claims.issue(session)
    secret = await world.store.records.get(RecordKind.CLAIM_CODE, "secret")
    worker = worker_of(world)
    await worker._share.start()
    for hours, kept in ((1, True), (25, False)):
        world.clock.advance(timedelta(hours=hours))
        await worker.turn()
        number = code.code.replace("-", "")[:8]
        assert (await world.store.records.get(RecordKind.CLAIM_CODE, number) is not None) is kept
    assert secret is not None
    assert await world.store.records.get(RecordKind.CLAIM_CODE, "secret") == secret
    await worker.close()


def test_every_event_that_the_worker_is_for_reaches_it() -> None:
    queue = Topology().subscription(SUBSCRIPTION, TOPICS)
    assert {binding.routing_key for binding in queue.bindings} >= set(TOPICS)


async def test_calls_say_what_is_wrong_with_them(system: SessionSystem) -> None:
    made = await system.create_session("chat", "ann", "telegram")
    with pytest.raises(SessionNotFound):
        await system.sync_sessions("nonsense")
    with pytest.raises(SessionNotFound):
        await system.link_identities("ann", ["nonsense"])
    with pytest.raises(SchemaViolation):
        await system.link_identities("", [made.session_id])
    with pytest.raises(AccessDenied):
        await system.link_identities("bob", [made.session_id], user_id="bob")
    with pytest.raises(AccessDenied):
        await system.create_claim_code(made.session_id, user_id="bob")
    for wrong in (0, -1, float("inf"), 1e300):
        with pytest.raises(SchemaViolation, match="good for"):
            await system.create_claim_code(made.session_id, valid_for=wrong)
    for ways in ({}, {"strategy": "manual"}, {"strategy": "best"}, {"strategy": "merge", "take_offered": True}):
        with pytest.raises(SchemaViolation):
            await system.resolve_session_conflicts([made.session_id], **ways)
    with pytest.raises(SchemaViolation):
        await system.resolve_session_conflicts([made.session_id], ConflictStrategy.MERGE, fields=["city"])
    for session, key in ((None, None), (made.session_id, "ann")):
        with pytest.raises(ValueError, match="a session, or an identity"):
            await system.get_sync_history(session, identity_key=key)
    with pytest.raises(ValueError, match="not a cursor"):
        await system.get_sync_history(made.session_id, cursor="nonsense")


async def test_without_enable_sync_calls_say_how_to_switch_it_on() -> None:
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=4)) as system:
        with pytest.raises(FeatureNotEnabled, match="enable_sync=True"):
            await system.set_sync_policy(SyncPolicy())


async def test_the_status_names_the_worker(system: SessionSystem) -> None:
    status = await system.get_system_status()
    assert status["components"]["sync_worker"]["state"] == "running"
    assert status["features"]["sync"] is True
