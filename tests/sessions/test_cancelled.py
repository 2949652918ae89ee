"""Each public call of the session manager, cancelled at its awaits in turn."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from agentbus.contracts.history import SessionFilter
from agentbus.sessions import SessionManager, SessionSystem, StorageType
from agentbus.sessions.config import make_config
from agentbus.testing.cancelling import DEADLINE, Call, When, cancel_everywhere
from tests.harness.sampling import sampled

_numbers = count(1)
_Row = Callable[[SessionSystem, str], Awaitable[Call]]


def _call(name: str, *args: Any, **kwargs: Any) -> _Row:
    """Return the row of a call on a session, its id coming first."""

    async def prepare(system: SessionSystem, session_id: str) -> Call:
        call: Call = getattr(system, name)(session_id, *args, **kwargs)
        return call

    return prepare


def _call_of_all(name: str, *args: Any, **kwargs: Any) -> _Row:
    """Return the row of a call that is not on a session."""

    async def prepare(system: SessionSystem, _: str) -> Call:
        call: Call = getattr(system, name)(*args, **kwargs)
        return call

    return prepare


async def _acquire_lock(system: SessionSystem, session_id: str) -> Call:
    async def take_and_give_back() -> None:
        await system.release_lock(session_id, await system.acquire_lock(session_id))

    return take_and_give_back()


async def _held_lock(system: SessionSystem, session_id: str) -> Call:
    async def hold() -> None:
        async with system.lock(session_id):
            await asyncio.sleep(0)

    return hold()


async def _renew_lock(system: SessionSystem, session_id: str) -> Call:
    token = await system.acquire_lock(session_id, lease=0.001)
    return system.renew_lock(session_id, token, lease=0.001)


async def _release_lock(system: SessionSystem, session_id: str) -> Call:
    return system.release_lock(session_id, await system.acquire_lock(session_id))


async def _get_all_active_sessions(system: SessionSystem, _: str) -> Call:
    async def read() -> None:
        async for _ in system.get_all_active_sessions():
            pass

    return read()


async def _add_message_to_session(system: SessionSystem, session_id: str) -> Call:
    message = await system.add_message(session_id, None, "user", "hello")
    return system.add_message_to_session(session_id, message)


async def _update_session(system: SessionSystem, session_id: str) -> Call:
    context = await system.get_session(session_id)
    assert context is not None
    context.set_data("key", "value")
    return system.update_session(context)


async def _restore_checkpoint(system: SessionSystem, session_id: str) -> Call:
    saved = await system.save_checkpoint(session_id, {"key": "value"})
    return system.restore_checkpoint(session_id, saved)


ROWS: Final[dict[str, _Row]] = {
    "acquire_lock": _acquire_lock,
    "add_message": _call("add_message", None, "user", "hello"),
    "add_message_to_session": _add_message_to_session,
    "apply_template": _call("apply_template", "template"),
    "batch_cleanup": _call_of_all("batch_cleanup"),
    "cleanup_all_expired": _call_of_all("cleanup_all_expired"),
    "clear_checkpoints": _call("clear_checkpoints"),
    "close_session": _call("close_session"),
    "create_session": _call_of_all("create_session", "cancelled", "ann", "web"),
    "create_sessions": _call_of_all("create_sessions", [{"user_id": "bob"}, {"user_id": "cid"}]),
    "delete_agent_sessions": _call_of_all("delete_agent_sessions", "agent"),
    "delete_checkpoint": _call_of_all("delete_checkpoint", "checkpoint"),
    "delete_session": _call("delete_session"),
    "delete_sessions": _call_of_all("delete_sessions", ["unknown"]),
    "delete_template": _call_of_all("delete_template", "other"),
    "delete_user_sessions": _call_of_all("delete_user_sessions", "bob"),
    "extend_session_lifetime": _call("extend_session_lifetime", 60),
    "find_sessions": _call_of_all("find_sessions", SessionFilter(owner="bob")),
    "get_active_session_count": _call_of_all("get_active_session_count", "bob"),
    "get_all_active_sessions": _get_all_active_sessions,
    "get_audit_log": _call("get_audit_log"),
    "get_checkpoint": _call_of_all("get_checkpoint", "checkpoint"),
    "get_latest_checkpoint": _call("get_latest_checkpoint"),
    "get_session": _call("get_session"),
    "get_session_messages": _call("get_session_messages"),
    "get_session_state": _call("get_session_state"),
    "get_session_tree": _call("get_session_tree"),
    "get_sessions_by_user": _call_of_all("get_sessions_by_user", "bob"),
    "get_statistics": _call_of_all("get_statistics"),
    "get_template": _call_of_all("get_template", "template"),
    "get_user_session": _call_of_all("get_user_session", "bob", "chat", "web"),
    "get_user_sessions": _call_of_all("get_user_sessions", "bob"),
    "health_check": _call_of_all("health_check"),
    "list_checkpoints": _call("list_checkpoints"),
    "list_children": _call("list_children"),
    "list_templates": _call_of_all("list_templates"),
    "list_user_sessions": _call_of_all("list_user_sessions", "bob"),
    "lock": _held_lock,
    "refresh_session": _call("refresh_session"),
    "release_lock": _release_lock,
    "renew_lock": _renew_lock,
    "reset_session_history": _call("reset_session_history"),
    "restore_checkpoint": _restore_checkpoint,
    "restore_or_create_session": _call_of_all("restore_or_create_session", "ann"),
    "revoke_share": _call("revoke_share", "ann", "bob"),
    "save_checkpoint": _call("save_checkpoint", {"key": "value"}),
    "save_template": _call_of_all("save_template", "template"),
    "session_exists": _call("session_exists"),
    "set_session_state": _call("set_session_state", "suspended"),
    "set_visibility": _call("set_visibility", "ann", "public"),
    "share_session": _call("share_session", "ann", "bob"),
    "update_session": _update_session,
    "update_session_metadata": _call("update_session_metadata", {"key": "value"}),
}


def test_every_public_call_is_cancelled_here() -> None:
    calls = {name for name, _ in inspect.getmembers(SessionManager, inspect.isfunction) if name[0] != "_"}

    assert set(ROWS) == calls


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[SessionSystem]:
    """Start a system on SQLite."""
    place = {"db_path": str(tmp_path / "sessions.db")}
    config = make_config(enable_cleanup=False, partitions=8, storage_type=StorageType.DATABASE, storage_config=place)
    async with SessionSystem(config) as started:
        yield started


async def _sweep(system: SessionSystem, name: str, when: When, step: int) -> None:
    """Cancel a call at every `step`th await: by itself, and with another one on the same session after it."""
    await system.save_template("template")
    ids: list[str] = []

    async def prepare() -> Call:
        ids.append((await system.create_session(f"chat-{next(_numbers)}", "ann", "web")).session_id)
        return await ROWS[name](system, ids[-1])

    async def works() -> None:
        async with asyncio.timeout(DEADLINE):
            another = await system.create_session("works", "ann", "web", keep_live=True)
            assert await system.get_session(another.session_id)
            if await system.session_exists(ids[-1]):
                assert await system.release_lock(ids[-1], await system.acquire_lock(ids[-1], timeout=5))

    await cancel_everywhere(prepare, works, when=when, step=step, owns_tasks=False)


@pytest.mark.parametrize("when", [When.THERE, When.INSISTING])
@pytest.mark.parametrize("name", ROWS)
async def test_call_cancelled_in_memory_leaves_nothing_behind(system: SessionSystem, name: str, when: When) -> None:
    await _sweep(system, name, when, step=1)


@sampled("name", each=3)  # in memory each of them is cancelled, at each await
@pytest.mark.parametrize("name", ROWS)
async def test_call_cancelled_on_sqlite_leaves_nothing_behind(embedded: SessionSystem, name: str) -> None:
    await _sweep(embedded, name, When.THERE, step=23)  # Each await of the store is its own contract's affair.
