"""Starting and stopping, the functions of the module, and what a session system tells about itself."""

import pytest

from agentbus.sessions import (
    Health,
    HealthStatus,
    Message,
    NotInitialized,
    SessionManager,
    SessionStatus,
    SessionSystem,
    add_message,
    create_default_session_system,
    create_session,
    get_session,
    get_session_manager,
    health_check,
    initialize_basic_sessions,
    initialize_sessions,
    shutdown_sessions,
)
from agentbus.sessions.config import make_config
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import World


@shows("initialize_sessions")
async def show_initialize_sessions(world: World) -> None:
    system = await initialize_sessions(**world.place.settings)
    try:
        made = await system.create_session(user_id=world.name())
        assert (await world.manager.session_exists(made.session_id)) == world.place.shared
        assert await system.session_exists(made.session_id)
    finally:
        await shutdown_sessions()


@shows("initialize_basic_sessions")
async def show_initialize_basic_sessions(world: World) -> None:
    manager = await initialize_basic_sessions()
    try:
        made = await manager.create_session(user_id=world.name())
        assert await manager.session_exists(made.session_id)
        assert not await world.manager.session_exists(made.session_id)
    finally:
        await shutdown_sessions()


@shows("create_default_session_system")
async def show_create_default_session_system(world: World) -> None:
    system = await create_default_session_system(**world.place.settings)
    try:
        assert system.config.enable_all_features
        made = await system.create_session(user_id=world.name())
        assert await system.session_exists(made.session_id)
    finally:
        await shutdown_sessions()


@shows("shutdown_sessions")
async def show_shutdown_sessions(world: World) -> None:
    first = await initialize_sessions(**world.place.settings)
    second = await initialize_basic_sessions()
    await shutdown_sessions()
    await shutdown_sessions()
    for manager in (first, second):
        with pytest.raises(NotInitialized):
            await manager.create_session(user_id=world.name())


@shows("get_session_manager")
async def show_get_session_manager(world: World) -> None:
    with pytest.raises(NotInitialized, match="initialize_sessions"):
        get_session_manager()
    system = await initialize_sessions(**world.place.settings)
    try:
        assert get_session_manager() is system
    finally:
        await shutdown_sessions()


@shows("Health")
@shows("HealthStatus")
@shows("health_check")
async def show_health_check(world: World) -> None:
    await initialize_sessions(**world.place.settings)
    try:
        health = await health_check()
        assert health
        assert health["status"] is HealthStatus.HEALTHY
        assert health["checks"]["store"]["kind"]
    finally:
        await shutdown_sessions()


@shows("create_session")
async def show_create_session(world: World) -> None:
    system = await initialize_sessions(**world.place.settings)
    try:
        made = await create_session(user_id=world.name(), custom_data={"step": 1})
        read = await system.get_session(made.session_id)
        assert read is not None
        assert read.data == {"step": 1}
    finally:
        await shutdown_sessions()


@shows("get_session")
async def show_get_session(world: World) -> None:
    system = await initialize_sessions(**world.place.settings)
    try:
        user = world.name()
        made = await system.create_session(user_id=user)
        read = await get_session(made.session_id, user_id=user)
        assert read is not None
        assert (read.session_id, read.user_id) == (made.session_id, user)
        assert await get_session("no-such-session") is None
    finally:
        await shutdown_sessions()


@shows("add_message")
async def show_add_message(world: World) -> None:
    system = await initialize_sessions(**world.place.settings)
    try:
        made = await system.create_session(user_id=world.name())
        await add_message(made.session_id, Message(content="hello", user_id="ann"))
        page = await system.get_session_messages(made.session_id)
        assert [one.content for one in page.items] == ["hello"]
    finally:
        await shutdown_sessions()


@shows("SessionManager")
async def show_session_manager(world: World) -> None:
    with pytest.raises(NotInitialized):
        await SessionManager(None).get_session("of-no-engine")
    assert isinstance(world.manager, SessionManager)


@shows("SessionSystem")
async def show_session_system(world: World) -> None:
    async with SessionSystem(make_config(**world.place.settings)) as system:
        made = await system.create_session(user_id=world.name())
        assert await system.session_exists(made.session_id)
    with pytest.raises(NotInitialized):
        await system.get_session(made.session_id)


@shows("SessionSystem.start")
async def show_start(world: World) -> None:
    system = SessionSystem(make_config(**world.place.settings))
    with pytest.raises(NotInitialized):
        await system.create_session(user_id=world.name())
    await system.start()
    await system.start()
    try:
        assert (await system.create_session(user_id=world.name())).status is SessionStatus.ACTIVE
    finally:
        await system.stop()


@shows("SessionSystem.stop")
async def show_stop(world: World) -> None:
    async with world.another() as system:
        made = await system.create_session(user_id=world.name())
        await system.stop()
        await system.stop()
        assert (await system.get_system_status())["system"]["status"] == "stopped"
    assert await world.manager.session_exists(made.session_id) == world.place.shared


@shows("SessionSystem.restart")
async def show_restart(world: World) -> None:
    async with world.another() as system:
        made = await system.create_session(user_id=world.name())
        await system.restart()
        assert await system.session_exists(made.session_id) == world.place.shared
        assert await system.health_check()


@shows("SessionSystem.cleanup_expired_sessions")
async def show_cleanup_expired_sessions(world: World) -> None:
    over = await world.session(expires_in=0.02)
    await later(0.02)
    assert over.session_id in (await world.manager.cleanup_expired_sessions(dry_run=True)).expired
    assert await world.manager.get_session_state(over.session_id) is SessionStatus.ACTIVE
    assert over.session_id in (await world.manager.cleanup_expired_sessions()).expired
    assert await world.manager.get_session_state(over.session_id) is SessionStatus.EXPIRED


@shows("CleanupReport")
async def show_cleanup_report(world: World) -> None:
    silent = await world.session(idle_timeout=0.02)
    await later(0.02)
    report = await world.manager.cleanup_expired_sessions()
    assert not report.dry_run
    assert silent.session_id in report.idle
    assert silent.session_id not in report.expired
    assert await world.manager.get_session_state(silent.session_id) is SessionStatus.IDLE


@shows("SessionSystem.get_system_status")
async def show_get_system_status(world: World) -> None:
    before = (await world.manager.get_system_status())["metrics"]
    await world.session()
    status = await world.manager.get_system_status()
    assert status["system"]["status"] == "running"
    assert (status["system"]["mode"] == "distributed") == (world.place.mode == "distributed")
    assert status["metrics"]["total_sessions"] == before["total_sessions"] + 1
    assert status["metrics"]["active_sessions"] == before["active_sessions"] + 1


@shows("SessionSystem.get_health_check")
async def show_get_health_check(world: World) -> None:
    health = await world.manager.get_health_check()
    assert health["status"] == "healthy"
    assert health["checks"]["store"]["milliseconds"] >= 0
    assert ("session_worker" in health["checks"]) == (world.place.mode != "distributed")


@shows("SessionManager.health_check")
async def show_manager_health_check(world: World) -> None:
    assert isinstance(await world.manager.health_check(), Health)
    assert await SessionManager.health_check(world.manager)
    assert not await SessionManager(None).health_check()
