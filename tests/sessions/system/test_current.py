"""The session system of the process, and the functions that act on it."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentbus import sessions
from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions import Message, NotInitialized, SessionManager, StorageType

PROGRAM = """
import asyncio
from agentbus.sessions import Message, initialize_sessions, session_context, shutdown_sessions

async def main():
    system = await initialize_sessions("DATABASE", storage_config={"db_path": "sessions.db"}, enable_cleanup=False)
    async with session_context(system, chat_id="42", user_id="ann", platform="telegram") as session:
        session.add_message(Message(content="hello", user_id="ann"))
    try:
        await system.add_message("missing", "eve", "user", "hi")
    except Exception:
        pass
    await system.restart()
    assert len((await system.get_session_messages(session.session_id)).items) == 1
    await shutdown_sessions()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
async def afterwards() -> AsyncIterator[None]:
    yield
    await sessions.shutdown_sessions()


async def test_before_there_is_a_system_the_error_says_what_to_do() -> None:
    with pytest.raises(NotInitialized, match="initialize_sessions"):
        sessions.get_session_manager()
    for call in (
        sessions.create_session(user_id="ann"),
        sessions.get_session("x"),
        sessions.add_message("x", Message(content="")),
        sessions.health_check(),
    ):
        with pytest.raises(NotInitialized, match="initialize_sessions"):
            await call
    await sessions.shutdown_sessions()


async def test_the_functions_act_on_the_system_that_was_initialized_last() -> None:
    first = await sessions.initialize_sessions(StorageType.MEMORY)
    second = await sessions.initialize_sessions("MEMORY", enable_cleanup=False)
    assert sessions.get_session_manager() is second

    created = await sessions.create_session("chat", "ann", "web", custom_data={"a": 1})
    await sessions.add_message(created.session_id, Message(content="hi", user_id="ann"))
    found = await sessions.get_session(created.session_id, user_id="ann")

    assert found is not None
    assert [one.content for one in found.conversation_history] == ["hi"]
    assert await first.get_session(created.session_id) is None
    assert (await sessions.health_check())["status"] == "healthy"

    await sessions.shutdown_sessions()
    for system in (first, second):
        assert (await system.get_system_status())["system"]["status"] == "stopped"
    with pytest.raises(NotInitialized):
        await sessions.get_session(created.session_id)


async def test_other_ways_to_start() -> None:
    basic = await sessions.initialize_basic_sessions()
    assert isinstance(basic, SessionManager)
    assert (await basic.create_session(user_id="ann")).is_active()
    assert sessions.get_session_manager() is basic
    default = await sessions.create_default_session_system(storage_type="MEMORY", enable_all_features=True)
    assert await default.health_check()


async def test_what_fails_to_start_is_not_the_current_system() -> None:
    first = await sessions.initialize_sessions()
    with pytest.raises(ConfigurationError):
        await sessions.initialize_sessions("FILE")
    with pytest.raises(ConfigurationError, match="colour"):
        await sessions.initialize_sessions(colour="red")
    with pytest.raises(ConfigurationError, match="backup_dir"):
        await sessions.initialize_sessions(enable_persistence=True)

    assert sessions.get_session_manager() is first


async def test_every_name_that_is_promised_is_there() -> None:
    assert all(hasattr(sessions, name) for name in sessions.__all__)
    assert len(set(sessions.__all__)) == len(sessions.__all__)


def test_used_as_a_library_it_prints_nothing(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
