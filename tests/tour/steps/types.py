"""The small types: every member goes through the store and back."""

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions import (
    Message,
    MessageType,
    Platform,
    Role,
    SessionStatus,
    SessionType,
    StorageType,
)
from agentbus.sessions.providers import store_for
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import World


@shows("MessageType")
async def show_message_type(world: World) -> None:
    made = await world.session()
    sent = [
        Message(content=f"/{kind}" if kind == "command" else f"x:{kind}", message_type=kind) for kind in MessageType
    ]
    for message in sent:
        made.add_message(message)
    await world.manager.update_session(made)
    kept = (await world.read(made.session_id)).conversation_history
    assert [(one.message_type, one.content) for one in kept] == [(one.message_type, one.content) for one in sent]


@shows("Platform")
async def show_platform(world: World) -> None:
    user = world.name()
    for platform in Platform:
        await world.manager.create_session(world.name("chat"), user, platform.upper())
    kept = await world.manager.get_user_sessions(user)
    assert {one.platform for one in kept} == set(Platform)
    with pytest.raises(ConfigurationError, match="pigeon"):
        await world.manager.get_user_session(user, "1", "carrier pigeon")
    teams = await world.manager.create_session(world.name("chat"), user, "teams")
    assert teams.platform == "teams", "any other word is a platform too"


@shows("Role")
async def show_role(world: World) -> None:
    made = await world.session()
    for role in Role:
        await world.manager.add_message(made.session_id, made.user_id, role, "said")
    assert [one.role for one in (await world.read(made.session_id)).conversation_history] == list(Role)


@shows("SessionStatus")
async def show_session_status(world: World) -> None:
    active, idle, suspended, expired, closed, archived = [await world.session() for _ in range(6)]
    del active
    move = world.manager.set_session_state
    await move(idle.session_id, SessionStatus.IDLE)
    await move(suspended.session_id, SessionStatus.SUSPENDED)
    await move(expired.session_id, SessionStatus.EXPIRED)
    await move(archived.session_id, SessionStatus.EXPIRED)
    await move(archived.session_id, SessionStatus.ARCHIVED)
    await world.manager.close_session(closed.session_id)
    wanted = {
        idle.session_id: SessionStatus.IDLE,
        suspended.session_id: SessionStatus.SUSPENDED,
        expired.session_id: SessionStatus.EXPIRED,
        archived.session_id: SessionStatus.ARCHIVED,
        closed.session_id: SessionStatus.CLOSED,
    }
    assert {one: (await world.read(one)).status for one in wanted} == wanted
    # By activity alone: a silent session is idle, a message wakes it.
    silent = await world.session(idle_timeout=0.02)
    await later(0.02)
    await world.manager.cleanup_all_expired()
    assert (await world.read(silent.session_id)).status is SessionStatus.IDLE
    await world.manager.add_message(silent.session_id, silent.user_id, Role.USER, "hello")
    assert (await world.read(silent.session_id)).status is SessionStatus.ACTIVE


@shows("SessionType")
async def show_session_type(world: World) -> None:
    for kind in SessionType:
        made = await world.session(session_type=kind.value)
        assert (await world.read(made.session_id)).session_type is kind


@shows("StorageType")
async def show_storage_type(world: World) -> None:
    kind = StorageType.of(world.place.settings["storage_type"])
    assert (await world.manager.get_system_status())["system"]["storage"] == kind
    with pytest.raises(ConfigurationError, match="needs storage_config"):
        store_for(StorageType.REDIS, {})


@shows("StorageType.of")
async def show_of(world: World) -> None:
    kind = world.place.settings["storage_type"]
    assert StorageType.of(kind.upper()) is StorageType(kind.lower())
    assert StorageType.of("my-own") == "my-own"
