"""Working on a session in a block."""

import asyncio
from typing import Any

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    EditConflict,
    LimitExceeded,
    Message,
    SessionContext,
    SessionNotFound,
    SessionStatus,
    SessionSystem,
    session_context,
    with_session,
)

HERE: dict[str, Any] = {"chat_id": "chat", "user_id": "ann", "platform": "telegram"}


async def the_session(system: SessionSystem) -> SessionContext:
    found = await system.get_user_session("ann", "chat", "telegram")
    assert found is not None
    return found


async def test_a_session_is_created_found_and_saved(any_system: SessionSystem) -> None:
    async with session_context(any_system, **HERE, custom_data={"first": True}) as created:
        created.set_data("step", 1)
        created.add_message(Message(content="hello", user_id="ann"))
    async with session_context(any_system, **HERE, custom_data={"first": False}) as found:
        found.set_data("step", found.get_data("step") + 1)

    kept = await the_session(any_system)
    assert kept.session_id == created.session_id
    assert kept.data == {"first": True, "step": 2}
    assert [one.content for one in kept.conversation_history] == ["hello"]


async def test_it_is_saved_once(system: SessionSystem) -> None:
    async with session_context(system, **HERE) as session:
        before = session.version
        for number in range(20):
            session.set_data(f"key-{number}", number)
            session.add_message(Message(content=str(number), user_id="ann"))
        assert (await the_session(system)).version == before

    assert (await the_session(system)).version == before + 1
    assert session == await the_session(system)


async def test_two_at_once_with_different_keys_both_count(any_system: SessionSystem) -> None:
    await any_system.create_session(**HERE)
    both_in = asyncio.Barrier(10)

    async def work(key: str) -> None:
        async with session_context(any_system, **HERE) as session:
            await both_in.wait()
            session.set_data(key, key)
            session.add_message(Message(content=key, user_id="ann"))

    names = [f"key-{number}" for number in range(10)]
    await asyncio.gather(*map(work, names))

    kept = await the_session(any_system)
    assert kept.data == {name: name for name in names}
    assert sorted(one.content for one in kept.conversation_history) == names


async def test_of_two_with_the_same_key_the_later_is_a_conflict(any_system: SessionSystem) -> None:
    async def work() -> None:
        async with session_context(any_system, **HERE) as later:
            async with session_context(any_system, **HERE) as earlier:
                earlier.set_data("key", "earlier")
            later.set_data("key", "later")
            later.set_data("other", 1)

    with pytest.raises(EditConflict):
        await work()

    assert (await the_session(any_system)).data == {"key": "earlier"}


async def test_the_later_overwrites_if_asked(system: SessionSystem) -> None:
    async with session_context(system, **HERE, on_conflict="overwrite") as later:
        async with session_context(system, **HERE) as earlier:
            earlier.set_data("key", "earlier")
        later.set_data("key", "later")

    assert (await the_session(system)).data == {"key": "later"}


async def test_first_contact_of_many_makes_one_session(system: SessionSystem) -> None:
    async def work(number: int) -> str:
        async with session_context(system, **HERE) as session:
            session.set_data(f"key-{number}", number)
        return session.session_id

    ids = await asyncio.gather(*(work(number) for number in range(20)))

    assert len(set(ids)) == 1
    assert len((await the_session(system)).data) == 20


async def test_nothing_is_saved_when_the_body_raises(system: SessionSystem) -> None:
    session = await system.create_session(**HERE, custom_data={"kept": 1})

    async def fail() -> None:
        async with session_context(system, **HERE) as context:
            context.set_data("lost", 1)
            context.add_message(Message(content="lost", user_id="ann"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    kept = await the_session(system)
    assert (kept.data, kept.conversation_history, kept.version) == ({"kept": 1}, [], session.version)


async def test_nothing_is_saved_when_the_body_is_cancelled(system: SessionSystem) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with session_context(system, **HERE) as session:
            session.set_data("lost", 1)
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await the_session(system)).data == {}


async def test_changes_to_a_session_that_ended_meanwhile_are_reported(system: SessionSystem) -> None:
    async def work() -> None:
        async with session_context(system, **HERE) as session:
            await system.close_session(session.session_id)
            session.set_data("lost", 1)

    with pytest.raises(SessionNotFound, match="closed"):
        await work()


async def test_a_body_may_end_its_session(system: SessionSystem) -> None:
    async with session_context(system, **HERE) as session:
        await system.close_session(session.session_id)
    async with session_context(system, **HERE) as next_one:
        await system.delete_session(next_one.session_id)

    assert next_one.session_id != session.session_id
    assert await system.get_session_state(session.session_id) is SessionStatus.CLOSED


async def test_a_handler_is_decorated(system: SessionSystem) -> None:
    @with_session(system, custom_data={"count": 0})
    async def handle(session: SessionContext, text: str, *, times: int = 1) -> str:
        """Count."""
        session.set_data("count", session.get_data("count") + times)
        return f"{session.user_id}: {text}"

    @with_session(system)
    async def fail(session: SessionContext) -> None:
        session.set_data("count", "lost")
        raise ValueError("no")

    assert await handle("hello", **HERE) == "ann: hello"
    assert await handle("again", times=2, **HERE) == "ann: again"
    assert (handle.__name__, handle.__doc__) == ("handle", "Count.")
    with pytest.raises(ValueError, match="no"):
        await fail(**HERE)
    assert (await the_session(system)).data == {"count": 3}


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), 2**70])
async def test_what_can_not_be_kept_is_refused_whole(system: SessionSystem, value: Any) -> None:
    async def work() -> None:
        async with session_context(system, **HERE) as session:
            session.set_data("good", 1)
            session.set_data("bad", value)

    with pytest.raises(SchemaViolation, match="data"):
        await work()
    assert (await the_session(system)).data == {}


async def test_the_loser_keeps_its_messages(any_system: SessionSystem) -> None:
    async def work() -> None:
        async with session_context(any_system, **HERE) as later:
            async with session_context(any_system, **HERE) as earlier:
                earlier.set_data("key", "earlier")
            later.add_message(Message(id="said", content="hello", user_id="ann"))
            later.set_data("key", "later")
            later.metadata["other"] = 1

    with pytest.raises(EditConflict):
        await work()

    kept = await the_session(any_system)
    assert (kept.data, kept.metadata) == ({"key": "earlier"}, {})
    assert [one.id for one in kept.conversation_history] == ["said"]


async def test_the_losers_changes_are_repeated_if_asked(any_system: SessionSystem) -> None:
    async with session_context(any_system, **HERE, custom_data={"gone": 1, "count": 1}, retries=1) as later:
        async with session_context(any_system, **HERE) as earlier:
            earlier.set_data("key", "earlier")
            earlier.set_data("theirs", 1)
            earlier.increment("count")
            earlier.tags.append("theirs")
        later.set_data("key", "later")
        later.increment("count", 0.5)
        later.metadata["other"] = 1
        del later.data["gone"]
        later.ai_model = "m"
        later.add_message(Message(id="said", content="hello", user_id="ann"))

    kept = await the_session(any_system)
    assert kept.data == {"key": "later", "theirs": 1, "count": 2.5}
    assert (kept.metadata, kept.ai_model, kept.tags) == ({"other": 1}, "m", ["theirs"])
    assert [one.id for one in kept.conversation_history] == ["said"]
    assert later == kept


async def test_it_is_repeated_as_often_as_asked(system: SessionSystem) -> None:
    turns = 0

    async def spoil(context: SessionContext, **how: Any) -> bool:
        """Have somebody else come first, each time."""
        nonlocal turns
        turns += 1
        async with session_context(system, **HERE) as earlier:
            earlier.set_data("key", turns)
        return await SessionSystem.update_session(system, context, **how)

    spoiled = SessionSystem(system.config)
    spoiled.create_session = system.create_session  # type: ignore[method-assign]
    spoiled.get_session = system.get_session  # type: ignore[method-assign]
    spoiled.update_session = spoil  # type: ignore[method-assign]

    async def work() -> None:
        async with session_context(spoiled, **HERE, retries=3) as session:
            session.set_data("key", "mine")
            session.add_message(Message(content="hello", user_id="ann"))

    with pytest.raises(EditConflict):
        await work()

    assert turns == 5  # four tries, and the messages
    kept = await the_session(system)
    assert (kept.data, [one.content for one in kept.conversation_history]) == ({"key": 5}, ["hello"])


async def test_a_handler_is_run_again_if_asked(any_system: SessionSystem) -> None:
    runs = 0

    @with_session(any_system, retries=50)
    async def count(session: SessionContext) -> None:
        nonlocal runs
        runs += 1
        session.set_data("count", session.get_data("count", 0) + 1)
        session.add_message(Message(content="hello", user_id="ann"))

    await asyncio.gather(*(count(**HERE) for _ in range(10)))

    kept = await the_session(any_system)
    assert kept.data == {"count": 10}
    assert len(kept.conversation_history) == 10
    assert runs >= 10


async def test_what_many_add_adds_up(any_system: SessionSystem) -> None:
    async def work(number: int) -> None:
        async with session_context(any_system, **HERE) as session:
            session.add_message(Message(content=str(number), user_id="ann"))
            assert session.increment("step") >= 1
            session.increment("step", 2)
            session.increment("halves", 0.5)

    await asyncio.gather(*(work(number) for number in range(20)))

    kept = await the_session(any_system)
    assert kept.data == {"step": 60, "halves": 10.0}
    assert sorted(int(one.content) for one in kept.conversation_history) == list(range(20))


async def test_adding_to_what_was_set_sets_it(system: SessionSystem) -> None:
    async with session_context(system, **HERE) as session:
        session.set_data("step", 5)
        assert session.increment("step") == 6
        session.increment("other", 3)
        session.set_data("other", 1)
        session.increment("none", 1)
        session.increment("none", -1)
        session.increment("gone")
        del session.data["gone"]
    assert (await the_session(system)).data == {"step": 6, "other": 1, "none": 0}

    async def late() -> None:
        async with session_context(system, **HERE) as later:
            async with session_context(system, **HERE) as earlier:
                earlier.increment("step")
            later.data["step"] = 0
            later.increment("step")

    with pytest.raises(EditConflict, match="step"):
        await late()
    assert (await the_session(system)).data["step"] == 7


@pytest.mark.parametrize("value", ["1", None, True, [1], {"a": 1}])
async def test_only_numbers_are_added_to(system: SessionSystem, value: Any) -> None:
    async with session_context(system, **HERE) as session:
        session.set_data("key", value)
    with pytest.raises(SchemaViolation, match="key"):
        session.increment("key")

    async with session_context(system, **HERE) as other:
        del other.data["key"]

    async def late() -> None:
        async with session_context(system, **HERE) as later:
            later.increment("key")
            async with session_context(system, **HERE) as earlier:
                earlier.set_data("key", value)

    with pytest.raises(EditConflict, match="key"):
        await late()


@pytest.mark.parametrize("by", [2**63 - 1, 1e308])
async def test_what_comes_to_no_number_is_refused(system: SessionSystem, by: float) -> None:
    async with session_context(system, **HERE) as session:
        session.increment("count", by)

    async def more() -> None:
        async with session_context(system, **HERE) as session:
            session.increment("count", by)

    with pytest.raises(LimitExceeded):
        await more()
    assert (await the_session(system)).data == {"count": by}
