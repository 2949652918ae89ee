"""The heartbeat goes on, whatever one of them meets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.members import Member
from agentbus.contracts.outages import Cause, Outage
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers import outages
from agentbus.workers.delivery.membership import Membership
from tests.harness.builders import a_member

SECONDS = 10.0


@pytest.fixture(autouse=True)
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_OUTAGES", {cause: Outage(lambda: 0.0) for cause in Cause})


async def nothing(*_: Any) -> None:
    """Do nothing."""


def membership(store: Store, on_members: Callable[[list[Member]], Awaitable[None]]) -> Membership:
    return Membership(
        store, "group", describe=a_member, on_members=on_members, on_silence=nothing, interval=0.001, ttl=60
    )


@pytest.mark.parametrize(
    ("error", "cause"),
    [(StoreUnavailable("gone"), "store"), (ValueError("a row of a later release"), "fault")],
)
async def test_it_goes_on_after_any_error(monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str) -> None:
    async with MemoryStore() as store:
        beats, again = 0, asyncio.Event()
        heartbeat = store.members.heartbeat

        async def failing(*args: Any, **kwargs: Any) -> list[Member]:
            nonlocal beats
            beats += 1
            if 2 <= beats <= 4:
                raise error
            if beats > 6:
                again.set()
            return await heartbeat(*args, **kwargs)

        monkeypatch.setattr(store.members, "heartbeat", failing)
        beating = membership(store, nothing)
        with capture_logs() as lines:
            await beating.start()
            async with asyncio.timeout(SECONDS):
                await again.wait()
            await beating.stop()
    assert [(line["event"], line["cause"]) for line in lines] == [("outage_began", cause), ("outage_over", cause)]


async def test_it_goes_on_when_what_follows_a_beat_fails() -> None:
    calls, again = 0, asyncio.Event()

    async def on_members(_: list[Member]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ValueError("a surprise")
        if calls > 2:
            again.set()

    async with MemoryStore() as store:
        beating = membership(store, on_members)
        await beating.start()
        async with asyncio.timeout(SECONDS):
            await again.wait()
        await beating.stop()
