"""Creating, finding, changing and ending sessions."""

import pytest
from pydantic import JsonValue

from agentbus.contracts.errors import ConfigurationError, SchemaViolation, TransitionForbidden
from agentbus.sessions import (
    AccessDenied,
    EditConflict,
    Message,
    Platform,
    SessionNotCurrent,
    SessionNotFound,
    SessionStatus,
    SessionSystem,
    SessionType,
)
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext

MISSING = "aaaaaaaaaaaaaaaaaaaaaaaaaa.1"


async def again(system: SessionManager, context: SessionContext) -> SessionContext:
    """Return a session as it is kept."""
    found = await system.get_session(context.session_id)
    assert found is not None
    return found


async def test_a_session_is_found_as_it_was_created(any_system: SessionSystem) -> None:
    created = await any_system.create_session(
        "chat",
        "ann",
        "Telegram",
        session_type="group",
        max_history=7,
        ai_model="model-1",
        custom_data={"step": 1, "deep": {"list": [1, 2.5, None, "ü"]}},
        metadata={"source": "test"},
        tags=["a", "b"],
        agent_id="agent",
    )

    found = await again(any_system, created)

    assert found == created
    assert (found.chat_id, found.user_id, found.platform) == ("chat", "ann", Platform.TELEGRAM)
    assert (found.session_type, found.status, found.is_active()) == (SessionType.GROUP, SessionStatus.ACTIVE, True)
    assert found.data == {"step": 1, "deep": {"list": [1, 2.5, None, "ü"]}}
    assert (found.metadata, found.tags, found.ai_model, found.agent_id) == (
        {"source": "test"},
        ["a", "b"],
        "model-1",
        "agent",
    )
    assert found.get_data("step") == 1
    assert found.get_data("none", "otherwise") == "otherwise"
    by_chat = await any_system.get_user_session("ann", "chat", "telegram")
    assert by_chat is not None
    assert by_chat.session_id == created.session_id


async def test_the_story_of_a_session(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "slack")
    session.set_data("step", 1)
    session.add_message(Message(content="hello", user_id="ann", id="m1"))
    assert await any_system.update_session(session)
    await any_system.add_message(session.session_id, None, "assistant", "hi", message_id="m2")

    kept = await again(any_system, session)
    assert [(one.id, one.content, one.role) for one in kept.conversation_history] == [
        ("m1", "hello", "user"),
        ("m2", "hi", "assistant"),
    ]
    assert (kept.data, kept.message_count) == ({"step": 1}, 2)

    await any_system.close_session(session.session_id, reason="done")
    closed = await again(any_system, session)
    assert closed.status is SessionStatus.CLOSED
    assert await any_system.get_user_session("ann", "chat", "slack") is None
    assert await any_system.delete_session(session.session_id)
    assert await any_system.get_session(session.session_id) is None
    assert not await any_system.delete_session(session.session_id)
    assert not await any_system.session_exists(session.session_id)


async def test_without_a_chat_each_call_makes_a_session(system: SessionSystem) -> None:
    one = await system.create_session(user_id="ann", agent_id="agent", metadata={"k": 1})
    two = await system.create_session(user_id="ann", agent_id="agent")

    assert one.session_id != two.session_id
    assert (one.chat_id, one.platform, one.user_id) == (None, None, "ann")
    assert {one.status, two.status} == {SessionStatus.ACTIVE}


async def test_a_chat_needs_a_user(system: SessionSystem) -> None:
    with pytest.raises(SchemaViolation, match="user_id"):
        await system.create_session("chat")


async def test_a_new_session_of_a_chat_supersedes_the_live_one(system: SessionSystem) -> None:
    first = await system.create_session("chat", "ann", "web", custom_data={"n": 1})
    await system.add_message_to_session(first.session_id, Message(content="old", user_id="ann"))
    second = await system.create_session("chat", "ann", "web")

    earlier = await again(system, first)
    assert (earlier.status, earlier.data) == (SessionStatus.CLOSED, {"n": 1})
    assert [one.content for one in earlier.conversation_history] == ["old"]
    assert (second.data, second.conversation_history) == ({}, [])
    live = await system.get_user_session("ann", "chat", "web")
    assert live is not None
    assert live.session_id == second.session_id


async def test_keep_live_gives_the_live_session_with_its_messages(system: SessionSystem) -> None:
    first = await system.create_session("chat", "ann", "web", custom_data={"n": 1})
    await system.add_message_to_session(first.session_id, Message(content="old", user_id="ann"))

    second = await system.create_session("chat", "ann", "web", keep_live=True, custom_data={"n": 2})

    assert (second.session_id, second.data) == (first.session_id, {"n": 1})
    assert [one.content for one in second.conversation_history] == ["old"]


async def test_users_accounts_and_threads_have_their_own_sessions(system: SessionSystem) -> None:
    ann = await system.create_session("chat", "ann", "web")
    bob = await system.create_session("chat", "bob", "web")
    thread = await system.create_session("chat", "ann", "web", thread_id="t")

    assert len({ann.session_id, bob.session_id, thread.session_id}) == 3
    assert (await again(system, ann)).status is SessionStatus.ACTIVE
    found = await system.get_user_session("ann", "chat", "web", thread_id="t")
    assert found is not None
    assert found.session_id == thread.session_id


async def test_a_missing_session_and_one_that_is_refused_look_alike(system: SessionSystem) -> None:
    mine = await system.create_session("chat", "ann", "web")

    assert await system.get_session(MISSING) is None
    messages = []
    for session_id in (mine.session_id, MISSING, "no such id", ""):
        with pytest.raises(AccessDenied) as refused:
            await system.get_session(session_id, user_id="eve")
        with pytest.raises(AccessDenied) as not_closed:
            await system.close_session(session_id, user_id="eve")
        with pytest.raises(AccessDenied) as not_added:
            await system.add_message(session_id, "eve", "user", "hi")
        messages += [str(one.value) for one in (refused, not_closed, not_added)]
        assert not await system.session_exists(session_id, user_id="eve")
    assert len(set(messages)) == 1


async def test_only_what_was_changed_is_saved(system: SessionSystem) -> None:
    created = await system.create_session("chat", "ann", "web", custom_data={"a": 1, "b": 1, "c": 1})
    mine, theirs = await again(system, created), await again(system, created)
    mine.set_data("a", 2)
    del mine.data["c"]
    mine.metadata["m"] = [1]
    mine.tags.append("t")
    theirs.set_data("b", 3)
    theirs.ai_model = "other"

    assert await system.update_session(mine)
    assert await system.update_session(theirs)

    kept = await again(system, created)
    assert (kept.data, kept.metadata, kept.tags, kept.ai_model) == ({"a": 2, "b": 3}, {"m": [1]}, ["t"], "other")
    assert theirs == kept  # A saved context is as the session is kept.


async def test_nothing_changed_is_nothing_saved(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"a": {"b": [1]}})
    session.data["a"]["b"] = [1]

    assert not await system.update_session(session)
    assert (await again(system, session)).version == session.version


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ({"x": 0}, {"x": False})]
)
async def test_values_that_python_takes_for_equal_are_saved(
    system: SessionSystem, before: JsonValue, after: JsonValue
) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"value": before})
    session.data["value"] = after

    assert await system.update_session(session)
    assert repr((await again(system, session)).data["value"]) == repr(after)


async def test_a_change_deep_inside_is_saved(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"a": {"b": [1]}})
    session.data["a"]["b"].append(2)

    assert await system.update_session(session)
    assert (await again(system, session)).data == {"a": {"b": [1, 2]}}


async def test_a_field_that_both_changed_is_a_conflict(any_system: SessionSystem) -> None:
    created = await any_system.create_session("chat", "ann", "web", custom_data={"a": 1})
    mine, theirs = await again(any_system, created), await again(any_system, created)
    mine.set_data("a", 2)
    assert await any_system.update_session(mine)

    theirs.set_data("a", 3)
    theirs.set_data("b", 3)
    with pytest.raises(EditConflict, match="a"):
        await any_system.update_session(theirs)
    assert (await again(any_system, created)).data == {"a": 2}

    assert await any_system.update_session(theirs, on_conflict="overwrite")
    assert (await again(any_system, created)).data == {"a": 3, "b": 3}


@pytest.mark.parametrize("change", ["add", "remove"])
async def test_keys_added_and_removed_conflict_too(system: SessionSystem, change: str) -> None:
    data: dict[str, JsonValue] = {} if change == "add" else {"a": 1}
    created = await system.create_session("chat", "ann", "web", custom_data=data)
    mine, theirs = await again(system, created), await again(system, created)
    mine.set_data("a", 5)
    await system.update_session(mine)
    if change == "add":
        theirs.set_data("a", 6)
    else:
        del theirs.data["a"]

    with pytest.raises(EditConflict):
        await system.update_session(theirs)


async def test_what_saving_does_not_change_is_refused_rather_than_lost(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    session.user_id, session.chat_id, session.parent_id = "eve", "other", session.session_id

    with pytest.raises(SchemaViolation, match="chat_id, user_id, parent_id"):
        await system.update_session(session)


async def test_a_status_is_changed_as_the_rules_say(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    session_id = session.session_id

    await system.set_session_state(session_id, "idle")
    assert await system.get_session_state(session_id) is SessionStatus.IDLE
    await system.set_session_state(session_id, SessionStatus.ACTIVE)
    session.status = SessionStatus.SUSPENDED
    await system.update_session(session)
    assert await system.get_session_state(session_id) is SessionStatus.SUSPENDED
    await system.set_session_state(session_id, "archived", reason="old")
    with pytest.raises(TransitionForbidden, match="from archived to active"):
        await system.set_session_state(session_id, "active")
    assert await system.get_session_state(MISSING) is None


async def test_an_ended_session_is_not_changed(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await system.close_session(session.session_id)
    session.set_data("a", 1)

    with pytest.raises(SessionNotFound, match="closed"):
        await system.update_session(session)
    await system.create_session("chat", "ann", "web")
    with pytest.raises(SessionNotCurrent):
        await system.update_session(session)


async def test_metadata_is_set_key_by_key(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", metadata={"a": 1, "b": 1})

    changed = await system.update_session_metadata(session.session_id, {"b": 2, "c": 3}, user_id="ann")

    assert changed.metadata == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(AccessDenied):
        await system.update_session_metadata(session.session_id, {"b": 3}, user_id="eve")


async def test_an_unknown_platform_is_named(system: SessionSystem) -> None:
    with pytest.raises(ConfigurationError, match="carrier pigeon"):
        await system.create_session("chat", "ann", "carrier pigeon")
