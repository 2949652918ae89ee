"""Two systems, each in a process of its own as far as they know, embedded on one store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentbus.sessions import (
    EditConflict,
    LimitExceeded,
    LockTimeout,
    SessionContext,
    SessionNotCurrent,
    SessionNotFound,
    SessionStatus,
    SessionSystem,
    session_context,
)
from agentbus.sessions.config import make_config
from tests.harness.clock import later
from tests.harness.sampling import sampled

HERE: dict[str, Any] = {"chat_id": "chat", "user_id": "ann", "platform": "telegram"}
Both = tuple[SessionSystem, SessionSystem]


pytestmark = [sampled("storage"), pytest.mark.parametrize("storage", ["sqlite", "file", "mongodb"], indirect=True)]


@pytest.fixture
async def both(storage: dict[str, Any]) -> AsyncIterator[Both]:
    settings = {"enable_cleanup": False, "partitions": 8, "max_sessions_per_user": 5, **storage}
    async with SessionSystem(make_config(**settings)) as one, SessionSystem(make_config(**settings)) as two:
        yield one, two


async def test_each_sees_at_once_what_the_other_did(both: Both) -> None:
    one, two = both
    session = await one.create_session(**HERE)
    found = await two.get_user_session("ann", "chat", "telegram")
    assert found is not None
    assert found == session

    for number in range(5):
        for system, other in (both, both[::-1]):
            context = await system.get_session(session.session_id)
            assert context is not None
            context.set_data("turn", f"{number}-{system is one}")
            await system.update_session(context)
            seen = await other.get_session(session.session_id)
            assert seen is not None
            assert seen.get_data("turn") == f"{number}-{system is one}"
            found.set_data("turn", "old")
            with pytest.raises(EditConflict):
                await other.update_session(found)


async def test_neither_decides_by_an_old_state(both: Both) -> None:
    one, two = both
    first = await one.create_session(**HERE)
    await two.add_message(first.session_id, "ann", "user", "both know the session")
    await one.add_message(first.session_id, "ann", "user", "both know the session")

    second = await two.create_session(**HERE)
    await one.add_message(second.session_id, "ann", "user", "the new one is known here")
    with pytest.raises(SessionNotCurrent):
        await one.add_message(first.session_id, "ann", "user", "too late")
    assert (await one.create_session(**HERE, keep_live=True)).session_id == second.session_id
    await one.close_session(second.session_id)
    with pytest.raises(SessionNotFound):
        await two.add_message(second.session_id, "ann", "user", "too late")
    third = await two.create_session(**HERE, request_id="third")
    assert (await one.create_session(**HERE, request_id="third")).session_id == third.session_id
    assert await one.delete_session(first.session_id)
    assert await two.get_session(first.session_id) is None


async def test_nothing_is_lost_under_interleaved_updates(both: Both) -> None:
    session = await both[0].create_session(**HERE)

    async def add(system: SessionSystem, number: int) -> None:
        await system.add_message(session.session_id, "ann", "user", f"message {number}")

    async def update(system: SessionSystem, number: int) -> None:
        async with session_context(system, **HERE) as context:
            context.set_data(f"key-{number}", number)

    await asyncio.gather(*((add if number % 4 < 2 else update)(both[number % 2], number) for number in range(200)))

    for system in both:
        kept = await system.get_session(session.session_id)
        assert kept is not None
        assert kept.data == {f"key-{number}": number for number in range(200) if number % 4 >= 2}
        page = await system.get_session_messages(session.session_id, limit=1000)
        texts = [one.content for one in page.items]
        assert sorted(texts) == sorted(f"message {number}" for number in range(200) if number % 4 < 2)
        assert kept.message_count == 100


async def test_a_counter_under_a_lock_counts_all(both: Both) -> None:
    session = await both[0].create_session(**HERE, custom_data={"count": 0})

    async def count(system: SessionSystem) -> None:
        async with system.lock(session.session_id, timeout=30) as token:
            context = await system.get_session(session.session_id)
            assert context is not None
            context.set_data("count", context.get_data("count") + 1)
            await system.update_session(context, fence=token)

    await asyncio.gather(*(count(both[number % 2]) for number in range(10)))

    kept = await both[0].get_session(session.session_id)
    assert kept is not None
    assert kept.data == {"count": 10}
    await both[0].acquire_lock(session.session_id)
    with pytest.raises(LockTimeout):
        await both[1].acquire_lock(session.session_id, timeout=0)


async def test_the_limit_holds_for_both_together(both: Both) -> None:
    outcomes = await asyncio.gather(
        *(both[number % 2].create_session(user_id="ann") for number in range(12)), return_exceptions=True
    )

    assert sum(isinstance(one, SessionContext) for one in outcomes) == 5
    assert sum(isinstance(one, LimitExceeded) for one in outcomes) == 7
    assert len(await both[1].get_user_sessions("ann")) == 5


async def test_both_clean_up_at_once(both: Both) -> None:
    ids = [(await both[0].create_session(user_id=f"user-{n}", expires_in=0.01)).session_id for n in range(10)]
    await later(0.01)

    await asyncio.gather(*(system.cleanup_all_expired() for system in both))

    for session_id in ids:
        assert await both[1].get_session_state(session_id) is SessionStatus.EXPIRED
        log = (await both[0].get_audit_log(session_id)).items
        assert [one.action for one in log] == ["state_changed", "session_started"]
