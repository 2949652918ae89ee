"""Creating sessions: alone, many, from templates, within limits."""

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    BatchResult,
    Count,
    LimitExceeded,
    LimitPolicy,
    SessionNotFound,
    SessionStatus,
    Template,
    TemplateNotFound,
)
from tests.tour.registry import shows
from tests.tour.world import World


@shows("SessionManager.create_session")
async def show_create_session(world: World) -> None:
    chat, user = world.name("chat"), world.name()
    first = await world.manager.create_session(chat, user, "telegram", custom_data={"a": 1}, request_id=chat)
    again = await world.manager.create_session(chat, user, "telegram", custom_data={"a": 1}, request_id=chat)
    second = await world.manager.create_session(chat, user, "telegram")
    assert again.session_id == first.session_id != second.session_id
    assert (await world.read(first.session_id)).status is SessionStatus.CLOSED
    assert (await world.read(second.session_id)).status is SessionStatus.ACTIVE
    with pytest.raises(SessionNotFound):
        await world.manager.create_session(parent_id="no-such-session")


@shows("SessionManager.restore_or_create_session")
async def show_restore_or_create_session(world: World) -> None:
    user, agent = world.name(), world.name("agent")
    made = await world.manager.restore_or_create_session(user, agent)
    assert (made.user_id, made.agent_id) == (user, agent)
    assert (await world.manager.restore_or_create_session(user, agent)).session_id == made.session_id
    await world.manager.close_session(made.session_id)
    assert (await world.manager.restore_or_create_session(user, agent)).session_id != made.session_id


@shows("LimitPolicy")
async def show_limit_policy(world: World) -> None:
    user = world.name()
    async with world.another(max_sessions_per_user=1, on_limit=LimitPolicy.REFUSE) as strict:
        first = await strict.create_session(user_id=user)
        with pytest.raises(LimitExceeded):
            await strict.create_session(user_id=user)
    async with world.another(max_sessions_per_user=1, on_limit=LimitPolicy.CLOSE_OLDEST) as lenient:
        kept = first if world.place.shared else await lenient.create_session(user_id=user)
        second = await lenient.create_session(user_id=user)
        assert await lenient.get_session_state(kept.session_id) is SessionStatus.CLOSED
        assert await lenient.get_session_state(second.session_id) is SessionStatus.ACTIVE


@shows("SessionManager.create_sessions")
async def show_create_sessions(world: World) -> None:
    users = [world.name() for _ in range(3)]
    results = await world.manager.create_sessions([{"user_id": user} for user in users])
    assert [result.value and result.value.user_id for result in results] == users
    for user in users:
        assert len(await world.manager.get_user_sessions(user)) == 1


@shows("BatchResult")
async def show_batch_result(world: World) -> None:
    good, bad = await world.manager.create_sessions([{"user_id": world.name()}, {"chat_id": "of nobody"}])
    assert good.value is not None
    assert await world.manager.session_exists(good.value.session_id)
    assert bad.value is None
    assert isinstance(bad.error, SchemaViolation)


@shows("BatchResult.ok")
async def show_ok(world: World) -> None:
    made = await world.session()
    results: list[BatchResult[bool]] = await world.manager.delete_sessions([made.session_id])
    assert [result.ok for result in results] == [True]
    refused = await world.manager.delete_sessions([(await world.session()).session_id], user_id=world.name())
    assert [result.ok for result in refused] == [False]


@shows("Count")
async def show_count(world: World) -> None:
    user = world.name()
    await world.session(user)
    count: Count = await world.manager.delete_user_sessions(user)
    assert (count, f"{count} deleted", count + 1, dict(count.failed)) == (1, "1 deleted", 2, {})


@shows("Count.and_more")
async def show_and_more(world: World) -> None:
    users = [world.name(), world.name()]
    for user in users:
        await world.session(user)
    first, second = [await world.manager.delete_user_sessions(user) for user in users]
    assert first.and_more(second) == 2


@shows("SessionManager.delete_sessions")
async def show_delete_sessions(world: World) -> None:
    first, second = await world.session(), await world.session()
    results = await world.manager.delete_sessions([first.session_id, "no-such-session", second.session_id])
    assert [result.value for result in results] == [True, False, True]
    assert not await world.manager.session_exists(first.session_id)


@shows("SessionManager.delete_user_sessions")
async def show_delete_user_sessions(world: World) -> None:
    user, other = world.name(), await world.session()
    closed = await world.session(user)
    await world.session(user)
    await world.manager.close_session(closed.session_id)
    assert await world.manager.delete_user_sessions(user) == 2
    assert await world.manager.get_sessions_by_user(user) == []
    assert await world.manager.session_exists(other.session_id)


@shows("SessionManager.delete_agent_sessions")
async def show_delete_agent_sessions(world: World) -> None:
    agent, user = world.name("agent"), world.name()
    await world.session(user, agent_id=agent)
    other = await world.session(agent_id=agent)
    assert await world.manager.delete_agent_sessions(agent, user) == 1
    assert await world.manager.session_exists(other.session_id)
    assert await world.manager.delete_agent_sessions(agent) == 1
    assert not await world.manager.session_exists(other.session_id)


@shows("Template")
async def show_template(world: World) -> None:
    name = world.name("template")
    saved = await world.manager.save_template(name, system_prompt="Be kind.", context={"a": 1}, capabilities=["search"])
    assert saved == await world.manager.get_template(name)
    assert (saved.name, saved.system_prompt, saved.context, saved.capabilities) == (
        name,
        "Be kind.",
        {"a": 1},
        ("search",),
    )


@shows("Template.metadata")
async def show_metadata(world: World) -> None:
    template = Template(name=world.name("template"), system_prompt="Be kind.", capabilities=("search",))
    assert template.metadata == {"system_prompt": "Be kind.", "capabilities": ["search"]}
    await world.manager.save_template(template.name, system_prompt="Be kind.", capabilities=("search",))
    made = await world.session(template=template.name, metadata={"own": 1})
    assert (await world.read(made.session_id)).metadata == {**template.metadata, "own": 1}


@shows("SessionManager.save_template")
async def show_save_template(world: World) -> None:
    name = world.name("template")
    await world.manager.save_template(name, context={"a": 1})
    await world.manager.save_template(name, context={"a": 2})
    made = await world.session(template=name, custom_data={"b": 3})
    assert (made.template, made.data) == (name, {"a": 2, "b": 3})


@shows("SessionManager.get_template")
async def show_get_template(world: World) -> None:
    name = world.name("template")
    assert await world.manager.get_template(name) is None
    await world.manager.save_template(name, context={"a": 1})
    found = await world.manager.get_template(name)
    assert found is not None
    assert found.context == {"a": 1}


@shows("SessionManager.list_templates")
async def show_list_templates(world: World) -> None:
    names = [world.name("template") for _ in range(2)]
    for name in names:
        await world.manager.save_template(name)
    listed = [one.name for one in await world.manager.list_templates()]
    assert {name for name in listed if name in names} == set(names)
    assert len(set(listed)) == len(listed)


@shows("SessionManager.delete_template")
async def show_delete_template(world: World) -> None:
    name = world.name("template")
    await world.manager.save_template(name)
    assert await world.manager.delete_template(name)
    assert not await world.manager.delete_template(name)
    with pytest.raises(TemplateNotFound):
        await world.session(template=name)


@shows("SessionManager.apply_template")
async def show_apply_template(world: World) -> None:
    name = world.name("template")
    await world.manager.save_template(name, system_prompt="Be brief.", context={"a": 1})
    made = await world.session(custom_data={"a": 0, "b": 2})
    await world.manager.apply_template(made.session_id, name)
    read = await world.read(made.session_id)
    assert (read.template, read.data, read.metadata) == (name, {"a": 1, "b": 2}, {"system_prompt": "Be brief."})
