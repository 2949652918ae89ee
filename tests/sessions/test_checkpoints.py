"""Checkpoints of sessions."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.records import Record, RecordKind, checkpoint_groups
from agentbus.contracts.telemetry import Action
from agentbus.sessions import (
    AccessDenied,
    CheckpointNotFound,
    Message,
    SessionNotFound,
    SessionSystem,
    SessionSystemConfig,
    session_context,
)
from agentbus.sessions.config import make_config


@pytest.fixture
async def automatic(clock: ManualClock) -> AsyncIterator[SessionSystem]:  # noqa: ARG001 -- it is set by then
    """Start a system that saves a checkpoint every 10 messages."""
    config = SessionSystemConfig(enable_cleanup=False, checkpoint_every=10, secret_keys=("Api-Key", "pin"))
    async with SessionSystem(config) as started:
        yield started


async def test_of_a_deleted_session_no_checkpoint_is_shown_though_one_is_left(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web")
    checkpoint_id = await any_system.save_checkpoint(session.session_id, {"diary": "private"})
    kept = await any_system._store.records.get(RecordKind.CHECKPOINT, checkpoint_id)
    assert kept is not None
    assert await any_system.delete_session(session.session_id)
    assert await any_system._store.records.get(RecordKind.CHECKPOINT, checkpoint_id) is None

    await any_system._store.records.put(kept)  # as if it had not gone yet

    assert await any_system.get_checkpoint(checkpoint_id) is None
    assert not await any_system.delete_checkpoint(checkpoint_id)


@pytest.mark.parametrize(("user_id", "told"), [(None, SessionNotFound), ("ann", AccessDenied)])
async def test_a_checkpoint_that_comes_after_its_session_was_deleted_is_not_kept(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch, user_id: str | None, told: type[Exception]
) -> None:
    session = await system.create_session("chat", "ann", "web")
    put_record = system._store.records.put

    async def late(record: Record, *, replace: bool = True) -> bool:
        await system.delete_session(session.session_id)
        return await put_record(record, replace=replace)

    monkeypatch.setattr(system._store.records, "put", late)

    with pytest.raises(told):
        await system.save_checkpoint(session.session_id, {"diary": "private"}, user_id=user_id, checkpoint_id="late")

    assert await system._store.records.get(RecordKind.CHECKPOINT, "late") is None


async def test_a_checkpoint_is_read_by_attribute_and_by_key(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web")

    checkpoint_id = await any_system.save_checkpoint(session.session_id, {"step": 1, "list": [1, {"a": None}]})

    found = await any_system.get_checkpoint(checkpoint_id)
    assert found is not None
    assert (found.checkpoint_id, found["checkpoint_id"]) == (checkpoint_id, checkpoint_id)
    assert (found.session_id, found["session_id"]) == (session.session_id, session.session_id)
    assert found.data == found["data"] == {"step": 1, "list": [1, {"a": None}]}
    assert found.created_at == found["created_at"]
    with pytest.raises(KeyError):
        found["password"]


@pytest.mark.parametrize("passes", [0, -10], ids=["in one millisecond", "by a clock that is set back"])
async def test_the_latest_checkpoint_is_the_one_that_was_saved_last_whatever_clocks_say(
    timed: SessionSystem, clock: ManualClock, passes: float
) -> None:
    session = await timed.create_session("chat", "ann", "web")
    ids: list[str] = []
    for step in range(12):
        ids.append(await timed.save_checkpoint(session.session_id, {"step": step}))
        latest = await timed.get_latest_checkpoint(session.session_id)
        assert latest is not None
        assert latest.checkpoint_id == ids[-1]
        clock.advance(timedelta(seconds=passes))
    page = await timed.list_checkpoints(session.session_id, limit=12)
    assert [one.checkpoint_id for one in page.items] == ids[::-1]


async def test_checkpoints_are_listed_latest_first(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web")
    assert await timed.get_latest_checkpoint(session.session_id) is None
    ids = []
    for step in range(5):
        ids.append(await timed.save_checkpoint(session.session_id, {"step": step}))
        clock.advance(timedelta(seconds=1))

    latest = await timed.get_latest_checkpoint(session.session_id)
    first = await timed.list_checkpoints(session.session_id, limit=3)
    rest = await timed.list_checkpoints(session.session_id, limit=3, cursor=first.cursor)

    assert latest is not None
    assert latest.data == {"step": 4}
    assert [one.checkpoint_id for one in first.items + rest.items] == ids[::-1]
    assert rest.cursor is None
    assert await timed.delete_checkpoint(ids[4])
    assert not await timed.delete_checkpoint(ids[4])
    assert await timed.clear_checkpoints(session.session_id) == 4
    assert (await timed.list_checkpoints(session.session_id)).items == []


async def test_by_default_it_holds_the_sessions_data(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"step": 1, "api_key": "xyz"})

    checkpoint = await system.get_checkpoint(await system.save_checkpoint(session.session_id))

    assert checkpoint is not None
    assert checkpoint.data == {"step": 1, "api_key": "xyz"}


async def test_saving_again_under_its_id_changes_nothing(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    for step in (1, 2):
        assert await system.save_checkpoint(session.session_id, {"step": step}, checkpoint_id="mine") == "mine"

    [kept] = (await system.list_checkpoints(session.session_id)).items
    assert kept.data == {"step": 1}
    other = await system.create_session("other", "ann", "web")
    with pytest.raises(SchemaViolation, match="taken"):
        await system.save_checkpoint(other.session_id, {"step": 3}, checkpoint_id="mine")


async def test_restoring_replaces_the_data(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web", custom_data={"step": 1, "old": True})
    checkpoint_id = await any_system.save_checkpoint(session.session_id)
    session.set_data("step", 2)
    session.set_data("new", True)
    del session.data["old"]
    session.add_message(Message(content="stays", user_id="ann"))
    await any_system.update_session(session)

    restored = await any_system.restore_checkpoint(session.session_id, checkpoint_id, user_id="ann")

    kept = await any_system.get_session(session.session_id)
    assert kept is not None
    assert kept.data == restored.data == {"step": 1, "old": True}
    assert [one.content for one in kept.conversation_history] == ["stays"]


async def test_a_session_is_not_restored_to_anothers_checkpoint(system: SessionSystem) -> None:
    mine = await system.create_session("one", "ann", "web", custom_data={"a": 1})
    theirs = await system.create_session("two", "bob", "web", custom_data={"b": 1})
    checkpoint_id = await system.save_checkpoint(theirs.session_id)

    for wrong in (checkpoint_id, "missing", "", "a" * 300):
        with pytest.raises(CheckpointNotFound):
            await system.restore_checkpoint(mine.session_id, wrong, user_id="ann")
    with pytest.raises(AccessDenied):
        await system.restore_checkpoint(theirs.session_id, checkpoint_id, user_id="ann")
    assert not await system.delete_checkpoint("missing")


async def test_access_to_checkpoints_is_that_to_the_session(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    checkpoint_id = await system.save_checkpoint(session.session_id, {"a": 1}, user_id="ann")
    await system.share_session(session.session_id, "ann", "bob", "read")

    assert await system.get_checkpoint(checkpoint_id, user_id="bob") is not None
    for user, call in (("eve", system.get_checkpoint), ("eve", system.delete_checkpoint), ("bob", None)):
        with pytest.raises(AccessDenied) as refused:
            await (call or system.delete_checkpoint)(checkpoint_id, user_id=user)
        with pytest.raises(AccessDenied) as missing:
            await system.get_checkpoint("missing", user_id=user)
        assert str(refused.value) == str(missing.value)
    assert await system.delete_checkpoint(checkpoint_id, user_id="ann")


async def test_restoring_loses_no_secret(any_system: SessionSystem) -> None:
    data: dict[str, Any] = {"token": "t", "step": 1, "user": {"API-Key": "x", "list": [{"password": "p"}]}}
    session = await any_system.create_session("chat", "ann", "web", custom_data=data)
    checkpoint_id = await any_system.save_checkpoint(session.session_id)
    session.set_data("step", 2)
    await any_system.update_session(session)

    restored = await any_system.restore_checkpoint(session.session_id, checkpoint_id)

    kept = await any_system.get_session(session.session_id)
    assert kept is not None
    assert kept.data == restored.data == data


async def test_of_several_in_one_moment_the_last_is_the_latest(storage: dict[str, Any], clock: ManualClock) -> None:
    async with SessionSystem(make_config(enable_cleanup=False, **storage)) as system:
        session = await system.create_session(user_id="ann")
        for step in range(4):
            await system.save_checkpoint(session.session_id, {"step": step})
        clock.advance(timedelta(hours=-1))  # another machine's clock, or this one's set back
        await system.save_checkpoint(session.session_id, {"step": 4})

        listed = await system.list_checkpoints(session.session_id)
        latest = await system.get_latest_checkpoint(session.session_id)

    assert [one.data["step"] for one in listed] == [4, 3, 2, 1, 0]
    assert latest == listed[0]


async def test_both_ids_are_taken_by_name(system: SessionSystem) -> None:
    mine = await system.create_session("one", "ann", "web")
    other = await system.create_session("two", "ann", "web")
    session_id, checkpoint_id = mine.session_id, "first"
    await system.save_checkpoint(session_id=session_id, data={"a": 1}, checkpoint_id=checkpoint_id)

    found = await system.get_checkpoint(session_id=session_id, checkpoint_id=checkpoint_id)
    assert found is not None
    assert found.data == {"a": 1}
    await system.restore_checkpoint(session_id=session_id, checkpoint_id=checkpoint_id)
    assert await system.get_checkpoint(session_id=other.session_id, checkpoint_id=checkpoint_id) is None
    with pytest.raises(AccessDenied):
        await system.get_checkpoint(session_id=other.session_id, checkpoint_id=checkpoint_id, user_id="ann")
    assert not await system.delete_checkpoint(session_id=other.session_id, checkpoint_id=checkpoint_id)
    assert await system.delete_checkpoint(session_id=session_id, checkpoint_id=checkpoint_id)


async def test_data_too_large_for_an_automatic_one_costs_no_message(automatic: SessionSystem) -> None:
    session = await automatic.create_session("chat", "ann", "web")
    for part in range(3):
        session.set_data(f"part-{part}", "x" * 100_000)
        await automatic.update_session(session)

    with capture_logs() as lines:
        for number in range(10):
            await automatic.add_message(session.session_id, "ann", "user", str(number))

    assert [one["event"] for one in lines if one["log_level"] == "warning"] == [Action.CHECKPOINT_SKIPPED]
    assert not await automatic.list_checkpoints(session.session_id)


async def test_every_so_many_messages_one_is_saved_by_itself(automatic: SessionSystem, clock: ManualClock) -> None:
    session = await automatic.create_session("chat", "ann", "web")
    for number in range(1, 26):
        clock.advance(timedelta(seconds=1))
        async with session_context(automatic, chat_id="chat", user_id="ann", platform="web") as context:
            context.set_data("count", number)
            context.set_data("pin", 1234)
        await automatic.add_message(session.session_id, "ann", "user", str(number))

    kept = (await automatic.list_checkpoints(session.session_id)).items
    assert [one.data for one in kept] == [{"count": 20, "pin": 1234}, {"count": 10, "pin": 1234}]


async def test_messages_added_in_a_block_count_too(automatic: SessionSystem) -> None:
    async with session_context(automatic, chat_id="chat", user_id="ann", platform="web") as context:
        context.set_data("done", True)
        for number in range(10):
            context.add_message(Message(content=str(number), user_id="ann"))

    [kept] = (await automatic.list_checkpoints(context.session_id)).items
    assert kept.data == {"done": True}


async def test_of_many_messages_at_once_none_saves_a_second_checkpoint(automatic: SessionSystem) -> None:
    session = await automatic.create_session("chat", "ann", "web")

    await asyncio.gather(*(automatic.add_message(session.session_id, "ann", "user", str(n)) for n in range(50)))

    kept = [one.checkpoint_id for one in (await automatic.list_checkpoints(session.session_id)).items]
    assert len(kept) == len(set(kept)) <= 5
    # Those that were passed over in one commit have no moment of their own; the last one is always there.
    assert f"{session.session_id}/auto/5" in kept


@pytest.mark.parametrize("data", [{"a": object()}, {1: 2}, {"a": float("nan")}, {"a": "x" * 300_000}])
async def test_data_that_can_not_be_kept_is_refused(system: SessionSystem, data: dict[str, object]) -> None:
    session = await system.create_session("chat", "ann", "web")

    with pytest.raises(SchemaViolation, match="checkpoint can't be kept"):
        await system.save_checkpoint(session.session_id, data)
    with pytest.raises(SchemaViolation):
        await system.save_checkpoint(session.session_id, {}, checkpoint_id="")
    with pytest.raises(SessionNotFound):
        await system.save_checkpoint("missing", {})
    assert (await system.list_checkpoints(session.session_id)).items == []


async def test_of_two_who_delete_one_at_once_the_later_is_told_what_he_would_be_told_afterwards(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await system.create_session("chat", "ann", "web")
    checkpoint_id = await system.save_checkpoint(session.session_id, {"a": 1})
    records = system._store.records
    deleting = records.delete

    async def overtaken(kind: RecordKind, key: str) -> bool:
        await deleting(kind, key)
        return await deleting(kind, key)

    monkeypatch.setattr(records, "delete", overtaken)
    with pytest.raises(AccessDenied):
        await system.delete_checkpoint(checkpoint_id, user_id="ann")
    await system.save_checkpoint(session.session_id, {"a": 1}, checkpoint_id="again")
    assert not await system.delete_checkpoint("again")


async def test_what_was_cleared_does_not_come_back(automatic: SessionSystem) -> None:
    session = await automatic.create_session("chat", "ann", "web")

    async def say(number: int) -> list[str]:
        for one in range(number):
            await automatic.add_message(session.session_id, "ann", "user", str(one))
        return [one.checkpoint_id for one in (await automatic.list_checkpoints(session.session_id)).items]

    assert await say(10) == [f"{session.session_id}/auto/1"]
    assert await automatic.clear_checkpoints(session.session_id) == 1
    assert await say(9) == []
    assert await say(1) == [f"{session.session_id}/auto/2"]
    assert await automatic.delete_checkpoint(f"{session.session_id}/auto/2")
    assert await say(5) == []
    assert await automatic.get_checkpoint(f"{session.session_id}/auto") is None

    await automatic.delete_session(session.session_id)
    for group in checkpoint_groups(session.session_id):
        assert not (await automatic._store.records.page(RecordKind.CHECKPOINT, group)).items
