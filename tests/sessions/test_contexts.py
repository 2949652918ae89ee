"""Copies of a session: what several change at once, attribute by attribute, and tasks that share one."""

import asyncio
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.commands import AnyCommand, CommandReply
from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    ConflictPolicy,
    EditConflict,
    Message,
    SessionContext,
    SessionStatus,
    SessionSystem,
    SessionType,
    session_context,
)

HERE: Final[dict[str, Any]] = {"chat_id": "chat", "user_id": "ann", "platform": "web"}
ONE, TWO = (datetime(2040, 1, day, tzinfo=UTC) for day in (1, 2))

CONFLICTS: Final[dict[str, tuple[Any, Any]]] = {
    "session_type": (SessionType.GROUP, SessionType.THREAD),
    "status": (SessionStatus.SUSPENDED, SessionStatus.IDLE),
    "expires_at": (ONE, TWO),
    "data": ({"a": 1}, {"a": 2}),
    "metadata": ({"a": 1}, {"a": 2}),
    "ai_model": ("first", "second"),
    "agent_id": ("first", "second"),
    "parent_id": (None, None),
}
"""What is set, by one and by another."""
ADD_UP: Final = {"tags", "conversation_history"}
FIXED: Final[dict[str, Any]] = {
    "session_id": "a" * 26 + ".1",
    "chat_id": "other",
    "user_id": "eve",
    "platform": "slack",
    "created_at": ONE,
    "last_activity": ONE,
    "template": "other",
    "visibility": "public",
    "message_count": 7,
    "version": 7,
}


async def read(system: SessionSystem, session_id: str) -> SessionContext:
    found = await system.get_session(session_id)
    assert found is not None
    return found


def test_of_every_attribute_it_is_known_what_two_who_set_it_come_to() -> None:
    named = {one.name for one in fields(SessionContext) if not one.name.startswith("_")}
    assert CONFLICTS.keys() | ADD_UP | FIXED.keys() == named


@pytest.mark.parametrize("name", CONFLICTS)
async def test_of_two_who_set_the_same_the_second_is_told(any_system: SessionSystem, name: str) -> None:
    parent = await any_system.create_session(user_id="ann")
    first = await any_system.create_session(**HERE, parent_id=parent.session_id, ai_model="m", agent_id="a")
    second = await read(any_system, first.session_id)
    for session, value in zip((first, second), CONFLICTS[name], strict=True):
        setattr(session, name, value)
    assert await any_system.update_session(first)
    kept = await read(any_system, first.session_id)

    with pytest.raises(EditConflict):
        await any_system.update_session(second)
    assert await read(any_system, first.session_id) == kept
    assert getattr(kept, name) == CONFLICTS[name][0]

    assert await any_system.update_session(second, on_conflict=ConflictPolicy.OVERWRITE)
    assert getattr(await read(any_system, first.session_id), name) == CONFLICTS[name][1]


@pytest.mark.parametrize("name", CONFLICTS)
async def test_one_after_the_other_they_are_set(system: SessionSystem, name: str) -> None:
    parent = await system.create_session(user_id="ann")
    session = await system.create_session(**HERE, parent_id=parent.session_id, ai_model="m", agent_id="a")
    for value in dict.fromkeys(map(str, CONFLICTS[name])):
        chosen = next(one for one in CONFLICTS[name] if str(one) == value)
        setattr(session, name, chosen)
        assert await system.update_session(session)
        assert getattr(await read(system, session.session_id), name) == chosen


@pytest.mark.parametrize("name", FIXED)
async def test_what_saving_does_not_change_is_refused(system: SessionSystem, name: str) -> None:
    session = await system.create_session(**HERE)
    kept = await read(system, session.session_id)
    setattr(session, name, FIXED[name])

    with pytest.raises(SchemaViolation, match=name):
        await system.update_session(session)
    assert await read(system, kept.session_id) == kept


async def test_tags_that_several_add_and_take_out_add_up(any_system: SessionSystem) -> None:
    first = await any_system.create_session(**HERE, tags=["base", "old"])
    all_in = asyncio.Barrier(4)

    async def work(number: int) -> None:
        async with session_context(any_system, **HERE) as session:
            await all_in.wait()
            session.tags.append(f"tag-{number}")
            session.tags.append("same")
            if "old" in session.tags:
                session.tags.remove("old")

    await asyncio.gather(*map(work, range(4)))

    kept = await read(any_system, first.session_id)
    assert kept.tags[0] == "base"
    assert sorted(kept.tags) == ["base", "same", "tag-0", "tag-1", "tag-2", "tag-3"]


async def test_another_order_of_the_tags_is_a_change_of_all(system: SessionSystem) -> None:
    first = await system.create_session(**HERE, tags=["b", "a"])
    second = await read(system, first.session_id)
    first.tags.append("c")
    await system.update_session(first)
    second.tags.sort()

    with pytest.raises(EditConflict, match="tags"):
        await system.update_session(second)

    first.tags.sort(reverse=True)
    first.tags.append("c")
    await system.update_session(first)
    assert (await read(system, first.session_id)).tags == ["c", "b", "a", "c"]


async def test_what_is_set_while_another_task_saves_is_saved_next(
    any_system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await any_system.create_session(**HERE, custom_data={"gone": 1, "n": 1}, tags=["a"], ai_model="m")
    send = AgentBus.send

    async def beside(self: AgentBus, command: AnyCommand, **how: Any) -> CommandReply:
        reply = await send(self, command, **how)
        monkeypatch.setattr(AgentBus, "send", send)
        # Another task goes on meanwhile, and so does somebody else.
        theirs = await read(any_system, session.session_id)
        theirs.set_data("theirs", 1)
        theirs.tags.append("theirs")
        theirs.increment("n", 10)
        await any_system.update_session(theirs)
        session.set_data("b", 2)
        session.data["deep"]["x"] = 2
        del session.data["gone"]
        session.increment("n", 100)
        session.tags.append("b")
        session.ai_model = "later"
        session.add_message(Message(id="second", content="2", user_id="ann"))
        return reply

    session.set_data("deep", {"x": 1})
    session.increment("n", 1000)
    session.tags.append("first")
    session.add_message(Message(id="first", content="1", user_id="ann"))
    held = session.data
    monkeypatch.setattr(AgentBus, "send", beside)
    assert await any_system.update_session(session)
    assert session.data is held
    held["held"] = True

    assert await any_system.update_session(session)
    assert not await any_system.update_session(session)

    kept = await read(any_system, session.session_id)
    assert kept.data == {"deep": {"x": 2}, "b": 2, "n": 1111, "theirs": 1, "held": True}
    assert (kept.tags, kept.ai_model) == (["a", "first", "theirs", "b"], "later")
    assert [one.id for one in kept.conversation_history] == ["first", "second"]
    assert session == kept


async def test_what_others_wrote_between_two_saves_is_a_conflict(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a task sets while another saves was computed from what was sent, not from what is read back."""
    session = await system.create_session(**HERE, custom_data={"n": 0})
    send = AgentBus.send

    async def beside(self: AgentBus, command: AnyCommand, **how: Any) -> CommandReply:
        reply = await send(self, command, **how)
        monkeypatch.setattr(AgentBus, "send", send)
        theirs = await read(system, session.session_id)
        theirs.set_data("n", 10)
        theirs.ai_model = "theirs"
        await system.update_session(theirs)
        session.set_data("n", session.data["n"] + 1)
        session.ai_model = "mine"
        return reply

    session.set_data("n", 1)
    monkeypatch.setattr(AgentBus, "send", beside)
    await system.update_session(session)

    with pytest.raises(EditConflict, match="n"):
        await system.update_session(session)
    session.data["n"] = 1
    with pytest.raises(EditConflict, match="ai_model"):
        await system.update_session(session)
    assert (await read(system, session.session_id)).data == {"n": 10}


async def test_two_who_save_one_copy_take_turns(any_system: SessionSystem) -> None:
    session = await any_system.create_session(**HERE)
    session.set_data("a", 1)
    session.add_message(Message(id="once", content="once", user_id="ann"))

    saved = await asyncio.gather(any_system.update_session(session), any_system.update_session(session))

    assert list(saved) == [True, False]
    kept = await read(any_system, session.session_id)
    assert (kept.data, [one.id for one in kept.conversation_history]) == ({"a": 1}, ["once"])


async def test_tasks_share_the_session_of_a_block(system: SessionSystem) -> None:
    async with session_context(system, **HERE) as session:
        begun = asyncio.Event()

        async def one() -> None:
            session.set_data("a", 1)
            begun.set()
            await system.update_session(session)

        async def two() -> None:
            await begun.wait()
            session.set_data("b", 2)
            session.add_message(Message(id="m", content="said", user_id="ann"))

        await asyncio.gather(one(), two())

    kept = await read(system, session.session_id)
    assert (kept.data, [one.id for one in kept.conversation_history]) == ({"a": 1, "b": 2}, ["m"])


def test_moments_without_a_zone_are_local_time() -> None:
    now = datetime.now(UTC)
    session = SessionContext(session_id="x", created_at=now, last_activity=now, expires_at=ONE)  # type: ignore[arg-type]
    for moment in (ONE, ONE.astimezone().replace(tzinfo=None)):
        assert session.is_expired(moment)
    for moment in (now, now.astimezone().replace(tzinfo=None)):
        assert not session.is_expired(moment)
    session.expires_at = ONE.astimezone().replace(tzinfo=None)
    assert session.is_expired(TWO)
    assert not session.is_expired()
