"""Lists of sessions, families of sessions, and figures."""

import pytest

from agentbus.contracts.history import SessionFilter
from agentbus.sessions import AccessDenied, SessionNotFound, SessionStatus
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import World


@shows("Page")
async def show_page(world: World) -> None:
    user = world.name()
    made = {(await world.session(user)).session_id for _ in range(3)}
    first = await world.manager.list_user_sessions(user, limit=2)
    second = await world.manager.list_user_sessions(user, limit=2, cursor=first.cursor)
    assert (len(first.items), len(second.items), second.cursor) == (2, 1, None)
    assert {one.session_id for one in (*first.items, *second.items)} == made


@shows("SessionManager.list_user_sessions")
async def show_list_user_sessions(world: World) -> None:
    user = world.name()
    tagged = await world.session(user, tags=["vip", "beta"])
    await later()
    closed = await world.session(user, tags=["vip"])
    await world.manager.close_session(closed.session_id)
    await world.session()
    vip = await world.manager.list_user_sessions(user, tags=["vip"])
    assert [one.session_id for one in vip.items] == [closed.session_id, tagged.session_id]
    ended = await world.manager.list_user_sessions(user, "closed")
    assert [one.session_id for one in ended.items] == [closed.session_id]
    with pytest.raises(ValueError, match="limit"):
        await world.manager.list_user_sessions(user, limit=0)


@shows("SessionManager.get_user_sessions")
async def show_get_user_sessions(world: World) -> None:
    user = world.name()
    live, closed = await world.session(user), await world.session(user)
    await world.manager.close_session(closed.session_id)
    assert [one.session_id for one in await world.manager.get_user_sessions(user)] == [live.session_id]


@shows("SessionManager.get_sessions_by_user")
async def show_get_sessions_by_user(world: World) -> None:
    user, agent = world.name(), world.name("agent")
    first, second = await world.session(user, agent_id=agent), await world.session(user)
    await world.manager.close_session(first.session_id)
    found = await world.manager.get_sessions_by_user(user)
    assert {one.session_id for one in found} == {first.session_id, second.session_id}
    assert [one.session_id for one in await world.manager.get_sessions_by_user(user, agent)] == [first.session_id]


@shows("SessionManager.find_sessions")
async def show_find_sessions(world: World) -> None:
    made = await world.session(tags=["needle"])
    await world.session()
    found = await world.manager.find_sessions(SessionFilter(chat=made.chat_id, tags=("needle",)))
    assert [one.session_id for one in found] == [made.session_id]


@shows("SessionManager.get_all_active_sessions")
async def show_get_all_active_sessions(world: World) -> None:
    active, suspended = await world.session(), await world.session()
    await world.manager.set_session_state(suspended.session_id, SessionStatus.SUSPENDED)
    found = {one.session_id async for one in world.manager.get_all_active_sessions()}
    assert active.session_id in found
    assert suspended.session_id not in found


@shows("SessionManager.get_active_session_count")
async def show_get_active_session_count(world: World) -> None:
    user = world.name()
    first, _ = await world.session(user), await world.session(user)
    assert await world.manager.get_active_session_count(user) == 2
    await world.manager.close_session(first.session_id)
    assert await world.manager.get_active_session_count(user) == 1
    assert await world.manager.get_active_session_count() >= 1


@shows("SessionManager.get_statistics")
async def show_get_statistics(world: World) -> None:
    user, agent = world.name(), world.name("agent")
    closed, _ = await world.session(user), await world.session(user, agent_id=agent)
    await world.manager.add_message(closed.session_id, user, "user", "hello")
    await world.manager.close_session(closed.session_id)
    figures = await world.manager.get_statistics(user)
    assert (figures.total, figures.messages) == (2, 1)
    assert figures.by_status == {SessionStatus.ACTIVE: 1, SessionStatus.CLOSED: 1}
    assert (await world.manager.get_statistics(agent_id=agent)).total == 1


@shows("SessionStatistics")
async def show_session_statistics(world: World) -> None:
    figures = await world.manager.get_statistics(world.name())
    assert (figures.total, figures.by_status, figures.messages, figures.mean_seconds) == (0, {}, 0, 0)


@shows("SessionManager.list_children")
async def show_list_children(world: World) -> None:
    user = world.name()
    parent = await world.session(user)
    made = {(await world.session(user, parent_id=parent.session_id)).session_id for _ in range(2)}
    assert {one.session_id for one in await world.manager.list_children(parent.session_id)} == made
    with pytest.raises(SessionNotFound):
        await world.manager.list_children("no-such-session")


@shows("SessionManager.get_session_tree")
async def show_get_session_tree(world: World) -> None:
    user = world.name()
    parent = await world.session(user)
    child = await world.session(user, parent_id=parent.session_id)
    grandchild = await world.session(user, parent_id=child.session_id)
    tree = await world.manager.get_session_tree(parent.session_id)
    assert tree.children[0].children[0].session.session_id == grandchild.session_id
    with pytest.raises(AccessDenied):
        await world.manager.get_session_tree(parent.session_id, user_id="somebody else")


@shows("SessionTree")
async def show_session_tree(world: World) -> None:
    alone = await world.session()
    tree = await world.manager.get_session_tree(alone.session_id)
    assert (tree.session.session_id, tree.children) == (alone.session_id, [])
