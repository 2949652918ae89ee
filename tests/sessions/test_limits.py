"""Limits: how many live sessions a user may have."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.sessions import (
    LimitExceeded,
    LimitPolicy,
    SessionContext,
    SessionStatus,
    SessionSystem,
    session_context,
)
from agentbus.sessions.config import make_config
from tests.harness.clock import later
from tests.harness.sampling import sampled

LIMIT = 5


def limited(storage: dict[str, Any], policy: LimitPolicy, limit: int = LIMIT) -> SessionSystem:
    return SessionSystem(
        make_config(enable_cleanup=False, max_sessions_per_user=limit, on_limit=policy, partitions=8, **storage)
    )


@sampled("storage")
@pytest.mark.parametrize("storage", ["memory", "sqlite", "mongodb"], indirect=True)
@pytest.mark.parametrize("policy", list(LimitPolicy))
async def test_of_many_created_at_once_as_many_are_left_as_allowed(
    storage: dict[str, Any], policy: LimitPolicy
) -> None:
    async with limited(storage, policy) as system:
        outcomes = await asyncio.gather(
            *(system.create_session(f"chat-{number}", "ann", "web") for number in range(50)), return_exceptions=True
        )

        created = [one for one in outcomes if isinstance(one, SessionContext)]
        refused = [one for one in outcomes if isinstance(one, LimitExceeded)]
        assert len(created) + len(refused) == 50
        assert len(created) == (LIMIT if policy is LimitPolicy.REFUSE else 50)
        assert len(await system.get_user_sessions("ann")) == LIMIT
        assert await system.get_active_session_count("ann") == LIMIT
        await system.create_session("chat", "bob", "web")  # The limit is each user's own.


async def test_a_creation_made_again_closes_nothing_for_a_session_that_has_ended() -> None:
    async with limited({}, LimitPolicy.CLOSE_OLDEST, 2) as system:
        first = await system.create_session("a", "ann", "web", request_id="r")
        await system.close_session(first.session_id)
        others = [await system.create_session(name, "ann", "web") for name in "bc"]

        again = await system.create_session("a", "ann", "web", request_id="r")

        assert (again.session_id, again.status) == (first.session_id, SessionStatus.CLOSED)
        assert {one.session_id for one in await system.get_user_sessions("ann")} == {one.session_id for one in others}


async def test_the_oldest_is_closed_and_stays_readable() -> None:
    async with limited({}, LimitPolicy.CLOSE_OLDEST, 2) as system:
        first, second = [await system.create_session(name, "ann", "web") for name in "ab"]
        await later()
        await system.add_message(first.session_id, "ann", "user", "still here")

        third = await system.create_session("c", "ann", "web")

        live = {one.session_id for one in await system.get_user_sessions("ann")}
        assert live == {first.session_id, third.session_id}
        assert await system.get_session_state(second.session_id) is SessionStatus.CLOSED


async def test_what_takes_the_place_of_a_session_does_not_count() -> None:
    async with limited({}, LimitPolicy.REFUSE, 1) as system:
        first = await system.create_session("chat", "ann", "web")
        second = await system.create_session("chat", "ann", "web")
        async with session_context(system, chat_id="chat", user_id="ann", platform="web") as found:
            assert found.session_id == second.session_id != first.session_id

        with pytest.raises(LimitExceeded, match="the limit is 1"):
            await system.create_session("other", "ann", "web")
        with pytest.raises(LimitExceeded):
            await system.create_session(user_id="ann")
        await system.create_session(agent_id="agent")  # Sessions of nobody are not limited.


async def test_repeating_the_request_is_not_another_session() -> None:
    async with limited({}, LimitPolicy.REFUSE, 1) as system:
        first = await system.create_session(user_id="ann", request_id="r")
        again = await system.create_session(user_id="ann", request_id="r")

        assert again.session_id == first.session_id


async def test_a_session_that_ended_makes_room() -> None:
    async with limited({}, LimitPolicy.REFUSE, 1) as system:
        for _ in range(3):
            session = await system.create_session(user_id="ann")
            await system.close_session(session.session_id)
        await system.create_session(user_id="ann" * 80)
        assert (await system.get_statistics("ann")).total == 3


async def test_a_session_whose_time_is_over_is_in_nobodys_way(clock: ManualClock) -> None:
    async with limited({}, LimitPolicy.REFUSE, 1) as system:
        old = await system.create_session("chat", "ann", "web", agent_id="bot", expires_in=60)
        clock.advance(timedelta(seconds=61))

        assert await system.get_user_session("ann", "chat", "web") is None
        assert await system.get_user_sessions("ann") == []
        assert [one async for one in system.get_all_active_sessions()] == []
        new = await system.restore_or_create_session("ann", "bot")
        assert new.session_id != old.session_id
        assert (await system.restore_or_create_session("ann", "bot")).session_id == new.session_id
        await system.add_message(new.session_id, "ann", "user", "hi")
        with pytest.raises(LimitExceeded):
            await system.create_session(user_id="ann")
