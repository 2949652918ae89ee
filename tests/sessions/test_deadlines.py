"""What becomes of sessions by time."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import CommandReply
from agentbus.contracts.errors import ConversationBlocked, SchemaViolation
from agentbus.sessions import Message, SessionNotFound, SessionStatus, SessionSystem
from agentbus.sessions.sections.shared import Commands
from tests.harness.clock import later


async def status_of(system: SessionSystem, session_id: str) -> SessionStatus | None:
    return await system.get_session_state(session_id)


async def test_a_session_expires_when_its_time_has_come(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web", expires_in=60)
    assert session.expires_at == clock.now() + timedelta(seconds=60)

    clock.advance(timedelta(seconds=59))
    assert await timed.cleanup_all_expired() == 0
    clock.advance(timedelta(seconds=1))
    assert await timed.cleanup_all_expired() == 1

    expired = await timed.get_session(session.session_id)
    assert expired is not None
    assert (expired.status, expired.is_expired(), expired.is_active()) == (SessionStatus.EXPIRED, True, False)
    assert await timed.get_user_session("ann", "chat", "web") is None


async def test_a_session_that_is_over_takes_no_message_even_before_cleanup(
    timed: SessionSystem, clock: ManualClock
) -> None:
    session = await timed.create_session("chat", "ann", "web", expires_in=60)
    clock.advance(timedelta(seconds=61))

    with pytest.raises(SessionNotFound, match="expired"):
        await timed.add_message(session.session_id, None, "user", "too late")


async def test_expiry_on_each_backend(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web", expires_in=0.03)
    kept = await any_system.create_session("chat", "bob", "web", expires_in=600)
    await later(0.03)

    report = await any_system.cleanup_expired_sessions(dry_run=True)
    assert (report.dry_run, report.expired, report.idle) == (True, (session.session_id,), ())
    assert await status_of(any_system, session.session_id) is SessionStatus.ACTIVE
    report = await any_system.cleanup_expired_sessions()
    assert (report.dry_run, report.expired, report.idle) == (False, (session.session_id,), ())
    assert await status_of(any_system, session.session_id) is SessionStatus.EXPIRED
    assert await status_of(any_system, kept.session_id) is SessionStatus.ACTIVE


async def test_a_silent_session_becomes_idle_and_wakes_up(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web")
    other = await timed.create_session("chat", "bob", "web", idle_timeout=3600)
    clock.advance(timedelta(seconds=600))

    report = await timed.cleanup_expired_sessions()

    assert (report.expired, report.idle) == ((), (session.session_id,))
    assert await status_of(timed, session.session_id) is SessionStatus.IDLE
    assert await status_of(timed, other.session_id) is SessionStatus.ACTIVE
    await timed.add_message(session.session_id, "ann", "user", "back again")
    assert await status_of(timed, session.session_id) is SessionStatus.ACTIVE


async def test_extending_moves_the_end(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web", expires_in=60)
    endless = await timed.create_session("chat", "bob", "web")

    extended = await timed.extend_session_lifetime(session.session_id, 30)
    begun = await timed.extend_session_lifetime(endless.session_id, 30)

    assert extended.expires_at == clock.now() + timedelta(seconds=90)
    assert begun.expires_at == clock.now() + timedelta(seconds=30)
    clock.advance(timedelta(seconds=90))
    with pytest.raises(SessionNotFound):
        await timed.extend_session_lifetime(session.session_id, 30)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300])
async def test_a_session_can_not_be_extended_by_that(system: SessionSystem, seconds: float) -> None:
    session = await system.create_session("chat", "ann", "web")

    with pytest.raises(SchemaViolation, match="seconds"):
        await system.extend_session_lifetime(session.session_id, seconds)


async def test_refreshing_begins_the_lifetime_anew(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web", expires_in=60)
    clock.advance(timedelta(seconds=40))

    refreshed = await timed.refresh_session(session.session_id)

    assert refreshed.expires_at == clock.now() + timedelta(seconds=60)
    assert refreshed.last_activity == clock.now()


async def test_the_end_is_set_and_cleared_by_saving(timed: SessionSystem, clock: ManualClock) -> None:
    session = await timed.create_session("chat", "ann", "web")
    session.expires_at = clock.now() + timedelta(seconds=10)
    assert await timed.update_session(session)
    assert session.expires_at == clock.now() + timedelta(seconds=10)

    session.expires_at = None
    assert await timed.update_session(session)

    clock.advance(timedelta(seconds=20))
    assert await timed.cleanup_all_expired() == 0
    kept = await timed.get_session(session.session_id)
    assert kept is not None
    assert kept.expires_at is None


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time nine hours ahead of UTC."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
async def test_moments_without_a_zone_are_local_time(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", expires_at=datetime(2040, 1, 1, 12))  # noqa: DTZ001
    message = Message(content="hi", user_id="ann", timestamp=datetime(2026, 1, 1, 12))  # noqa: DTZ001
    await system.add_message_to_session(session.session_id, message)

    assert session.expires_at == datetime(2040, 1, 1, 3, tzinfo=UTC)
    [kept] = (await system.get_session_messages(session.session_id)).items
    assert kept.timestamp == datetime(2026, 1, 1, 3, tzinfo=UTC)
    assert kept.timestamp.tzinfo is UTC

    session.expires_at = datetime(2041, 1, 1, 12)  # noqa: DTZ001
    await system.update_session(session)
    assert session.expires_at == datetime(2041, 1, 1, 3, tzinfo=UTC)


async def test_a_moment_outside_the_calendar_is_refused(system: SessionSystem) -> None:
    west = datetime.fromisoformat("9999-12-31T23:00:00-05:00")

    with pytest.raises(SchemaViolation):
        await system.create_session("chat", "ann", "web", expires_at=west)


async def test_no_session_is_made_whose_time_is_over(timed: SessionSystem, clock: ManualClock) -> None:
    for ago in (0, 1, 86400):
        with pytest.raises(SchemaViolation, match="expires_at"):
            await timed.create_session(user_id="ann", expires_at=clock.now() - timedelta(seconds=ago))
    assert (await timed.get_statistics()).total == 0
    await timed.create_session(user_id="ann", expires_at=clock.now() + timedelta(milliseconds=1))


async def test_old_sessions_that_ended_are_deleted(timed: SessionSystem, clock: ManualClock) -> None:
    closed = await timed.create_session("one", "ann", "web")
    await timed.close_session(closed.session_id)
    expired = await timed.create_session("two", "ann", "web", expires_in=60)
    clock.advance(timedelta(seconds=61))
    await timed.cleanup_all_expired()
    live = await timed.create_session("three", "ann", "web")
    clock.advance(timedelta(days=29))
    recent = await timed.create_session("four", "ann", "web")
    await timed.close_session(recent.session_id)
    clock.advance(timedelta(days=2))

    assert await timed.batch_cleanup(older_than_days=30) == 2

    left = {one.session_id for one in await timed.get_sessions_by_user("ann")}
    assert left == {live.session_id, recent.session_id}
    assert await timed.get_session(closed.session_id) is None
    assert await timed.get_session(expired.session_id) is None


async def test_a_blocked_session_does_not_keep_the_others_from_expiring(
    timed: SessionSystem, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = await timed.create_session("one", "ann", "web", expires_in=60)
    expired = await timed.create_session("two", "ann", "web", expires_in=61)
    clock.advance(timedelta(seconds=62))
    carry_out = Commands.carry_out

    async def refuse(commands: Commands, session_id: str, *args: Any, **kwargs: Any) -> CommandReply:
        if session_id == blocked.session_id:
            raise ConversationBlocked
        return await carry_out(commands, session_id, *args, **kwargs)

    monkeypatch.setattr(Commands, "carry_out", refuse)

    assert await timed.cleanup_all_expired() == 1
    assert await status_of(timed, expired.session_id) is SessionStatus.EXPIRED
    assert await status_of(timed, blocked.session_id) is SessionStatus.ACTIVE


async def test_a_shortened_history_shows_the_latest_messages(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    for number in range(6):
        await system.add_message(session.session_id, "ann", "user", f"message {number}")

    await system.reset_session_history(session.session_id, keep_recent=2)
    page = await system.get_session_messages(session.session_id)
    assert [one.content for one in page.items] == ["message 4", "message 5"]

    await system.reset_session_history(session.session_id)
    assert (await system.get_session_messages(session.session_id)).items == []
    await system.add_message(session.session_id, "ann", "user", "new")
    await system.reset_session_history(session.session_id, keep_recent=5)
    page = await system.get_session_messages(session.session_id)
    assert [one.content for one in page.items] == ["new"]
    for wrong in (-1, 1001):
        with pytest.raises(SchemaViolation, match="keep_recent"):
            await system.reset_session_history(session.session_id, keep_recent=wrong)
