"""A session system's ends: no task is left, whatever its store does; and what it keeps is still there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from agentbus.contracts.errors import AgentBusError
from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.sessions import providers as providers_module
from agentbus.sessions import running as running_module
from agentbus.storage.memory import MemoryStore
from tests.endings.cutting import cut_everywhere
from tests.endings.outages import Mode, Switch, nothing_left, quickly, switched_store
from tests.harness.faults import given_up_after
from tests.harness.patience import PATIENCE


@dataclass
class Bench:
    system: SessionSystem
    switch: Switch

    async def stop_answering(self, mode: Mode) -> None:
        """Make the store fail, with something in hand."""
        session = await self.system.create_session(user_id="ann")
        self.switch.mode = mode
        session.set_data("x", 1)
        with pytest.raises(AgentBusError), given_up_after(0.1, self.system):
            await self.system.update_session(session)


@asynccontextmanager
async def bench(monkeypatch: pytest.MonkeyPatch, **given: Any) -> AsyncIterator[Bench]:
    """Give a system, not started, on a store that can be switched off."""
    switch = Switch()
    async with MemoryStore() as store:
        monkeypatch.setattr(providers_module, "_providers", {"switched": lambda _: switched_store(store, switch)})
        config = SessionSystemConfig(
            storage_type="switched", call_timeout=PATIENCE, partitions=4, enable_sync=True, enable_expiry=True, **given
        )
        yield Bench(SessionSystem(config), switch)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "_DRAIN_SECONDS", 0.1)


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
