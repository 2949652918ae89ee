"""Figures of the session API that are promised.

Creation in memory waits for nothing, so that its processor time is the time it takes when nothing else is at work.
"""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.sessions import SessionManager, SessionSystem, SessionSystemConfig
from agentbus.sessions.engine import Engine
from agentbus.storage.factory import open_store
from agentbus.storage.mongo import MongoStore
from agentbus.storage.mongo.codec import head_document
from tests.benchmarks.test_imports import slower_now
from tests.harness.conversations import NOW

CREATIONS: Final = 100
CREATION_LIMITS: Final = {False: 0.12, True: 0.3}
"""Processor seconds for creating so many sessions one after the other, in memory: without and with every feature.

With every feature an expiry and a sync worker read each creation's event in this process: measured 0.12 to 0.17 on a
slow machine, where creating alone takes 0.08. The aim is 0.1 for all. A machine that is slower now has as much more.
"""

SESSIONS: Final = 100_000
OWNERS: Final = 100
LIST_LIMIT: Final = 0.020
"""Seconds for a page of one owner's sessions, at the median."""

_CHUNK: Final = 5000


@pytest.mark.parametrize("every_feature", CREATION_LIMITS)
async def test_a_hundred_sessions_are_created_in_time(every_feature: bool, tmp_path: Path) -> None:
    async with SessionSystem(SessionSystemConfig(enable_all_features=every_feature)) as system:
        seconds = [await _create(system, f"run{run}") for run in range(7)]
    assert min(seconds) / slower_now(tmp_path) < CREATION_LIMITS[every_feature], seconds


async def _create(system: SessionSystem, run: str) -> float:
    begun = time.process_time()
    for number in range(CREATIONS):
        await system.create_session(f"{run}-{number}", "ann", "telegram", custom_data={"step": 1}, tags=["new"])
    return time.process_time() - begun


@pytest.fixture
async def manager(mongo_url: str) -> AsyncIterator[SessionManager]:
    async with open_store(mongo_url) as store:
        assert isinstance(store, MongoStore)
        for start in range(0, SESSIONS, _CHUNK):
            heads = [head_document(_head(number)) for number in range(start, start + _CHUNK)]
            await store._database.collection("heads").insert_many(heads, ordered=False)
        # Listing sends no command: the manager needs no bus for it.
        client: object = None
        yield SessionManager(Engine(client, store, Scope.PER_CHAT_USER, 1.0))  # type: ignore[arg-type]  # as said


def _head(number: int) -> SessionState:
    owner = f"user{number % OWNERS}"
    address = Address(platform=Platform.TELEGRAM, chat=str(number), user=owner)
    moment = NOW + timedelta(seconds=number)
    return SessionState(
        conversation_id=conversation_id_for(address, Scope.PER_CHAT_USER),
        generation=1,
        version=1,
        sequence=1,
        first_version=1,
        status=SessionStatus.ACTIVE if number % 3 else SessionStatus.CLOSED,
        address=address,
        profile=Profile(owner=owner, tags=("even",) if number % 2 == 0 else ()),
        created_at=moment,
        last_activity=moment,
    )


async def test_a_users_sessions_are_listed_in_twenty_milliseconds_among_a_hundred_thousand(
    manager: SessionManager,
) -> None:
    took: list[float] = []
    for number in range(60):
        begun = time.perf_counter()
        page = await manager.list_user_sessions(f"user{number}")
        took.append(time.perf_counter() - begun)
        assert [session.user_id for session in page.items] == [f"user{number}"] * 10
        activities = [session.last_activity for session in page.items]
        assert activities == sorted(activities, reverse=True)
    assert median(took) < LIST_LIMIT, took
    tagged = await manager.list_user_sessions("user2", "active", ["even"], limit=5)
    assert [session.status for session in tagged.items] == [SessionStatus.ACTIVE] * 5
