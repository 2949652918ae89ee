"""What the library tells of how sessions are used, and what is told to it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from agentbus.sessions import SchemaViolation, SessionNotFound, SessionSystem
from agentbus.sessions.config import make_config


@pytest.fixture
async def system() -> AsyncIterator[SessionSystem]:
    async with SessionSystem(make_config(enable_tracking=True, enable_cleanup=False, partitions=2)) as made:
        yield made


async def test_what_is_told_is_kept_once_with_who_told_it_and_without_secrets(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    told = [
        await system.track_event(
            session.session_id, "paid", user_id="ann", request_id="one", amount=amount, deep={"password": "x", "n": 1}
        )
        for amount in (3, 4)
    ]
    assert told[0] == told[1]
    [kept] = await system.get_tracked_events(session.session_id)
    assert (kept.kind, kept.actor, kept.data) == ("paid", "ann", {"amount": 3, "deep": {"n": 1}})


async def test_what_can_not_be_kept_or_looked_back_on_is_refused(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    for data in ({"when": object()}, {"text": "x" * 300_000}):
        with pytest.raises(SchemaViolation):
            await system.track_event(session.session_id, "paid", **data)
    with pytest.raises(SchemaViolation):
        await system.track_event(session.session_id, "\n")
    for within in (timedelta(0), timedelta(days=99_999)):
        with pytest.raises(SchemaViolation):
            await system.get_state_statistics(within)
    with pytest.raises(SchemaViolation, match="fortnight"):
        await system.get_usage_patterns(period="fortnight")
    with pytest.raises(SchemaViolation, match="hunch"):
        await system.track_session_state_change(session.session_id, "idle", "hunch")


async def test_usage_is_there_at_once_and_outlives_what_can_be_read(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    for role in ("user", "assistant", "user"):
        await system.add_message(session.session_id, "ann", role, "words")
    used = await system.get_session_usage(session.session_id)
    assert used is not None
    assert (used.counts["message.user"], used.counts["message.assistant"], used.owner) == (2, 1, "ann")

    await system.delete_session(session.session_id)
    with pytest.raises(SessionNotFound):
        await system.get_session_usage(session.session_id)
