"""A session system's ends: no task is left, whatever its store does; and what it keeps is still there."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.sessions import storage as storage_module
from agentbus.sessions import system as system_module
from contracts.errors import AgentBusError
from storage.memory import MemoryStore
from tests.endings.cutting import cut_everywhere
from tests.endings.outages import PATIENCE, Mode, Switch, nothing_left, quickly, switched_store


@dataclass
class Bench:
    system: SessionSystem
    switch: Switch

    async def stop_answering(self, mode: Mode) -> None:
        """Make the store fail, with something in hand."""
        session = await self.system.create_session(user_id="ann")
        self.switch.mode = mode
        session.set_data("x", 1)
        with pytest.raises(AgentBusError):
            await self.system.update_session(session)


@asynccontextmanager
async def bench(monkeypatch: pytest.MonkeyPatch, **given: Any) -> AsyncIterator[Bench]:
    """Give a system, not started, on a store that can be switched off."""
    switch = Switch()
    async with MemoryStore() as store:
        monkeypatch.setattr(storage_module, "_providers", {"switched": lambda _: switched_store(store, switch)})
        config = SessionSystemConfig(
            storage_type="switched", call_timeout=0.1, partitions=4, enable_sync=True, enable_expiry=True, **given
        )
        yield Bench(SessionSystem(config), switch)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_module, "_DRAIN_SECONDS", 0.1)


@pytest.mark.parametrize("mode", [Mode.DOWN, Mode.FROZEN])
async def test_stopped_while_the_store_does_not_answer_it_leaves_no_task(
    mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_left():
        async with bench(monkeypatch) as one:
            await one.system.start()
            await one.stop_answering(mode)
            async with quickly(10):
                await one.system.stop()


async def test_stopped_after_its_store_was_closed_it_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    with nothing_left():
        async with bench(monkeypatch) as one:
            await one.system.start()
            await one.system._store.close()
            async with quickly(10):
                await one.system.stop()


async def test_stopped_while_the_database_is_locked_it_leaves_no_task_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    config = SessionSystemConfig(storage_type="DATABASE", storage_config={"db_path": path}, call_timeout=0.5)
    before = asyncio.all_tasks()
    with nothing_left():
        system = SessionSystem(config)
        await system.start()
        session = await system.create_session(user_id="ann")
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        session.set_data("x", 1)
        with pytest.raises(AgentBusError):
            await system.update_session(session)
        async with quickly(20):
            await system.stop()
        lock.execute("ROLLBACK")
        lock.close()
        async with asyncio.timeout(PATIENCE):  # a call that was under way in the database ends by its own limit
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.05)
    async with SessionSystem(config) as again:
        found = await again.get_session(session.session_id)
        assert found is not None
        found.set_data("x", 2)
        await again.update_session(found)


async def test_cancelled_at_any_await_a_stop_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def make(_: int) -> AsyncIterator[Bench]:
        with nothing_left():
            async with bench(monkeypatch) as one:
                await one.system.start()
                yield one
                await one.system.stop()

    async def then(one: Bench) -> None:
        assert (await one.system.get_system_status())["system"]["status"] == "stopped"

    await cut_everywhere(make, lambda one: one.system.stop(), then, least=3)


async def test_cancelled_at_any_await_a_start_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def make(_: int) -> AsyncIterator[Bench]:
        with nothing_left():
            async with bench(monkeypatch) as one:
                yield one
                await one.system.stop()

    async def then(one: Bench) -> None:
        await one.system.start()
        await one.system.create_session(user_id="ann")

    await cut_everywhere(make, lambda one: one.system.start(), then, least=3)
