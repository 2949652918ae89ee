"""Expiry in a session system: rules, who is told, a look at what is due, the archive."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.ids import SessionId
from agentbus.sessions import (
    CleanupAction,
    Conditions,
    ExpiryNotice,
    ExpiryRule,
    ExpiryStrategy,
    FeatureNotEnabled,
    SessionStatus,
    SessionSystem,
)
from agentbus.sessions.config import make_config
from tests.harness.clock import later
from tests.harness.patience import PATIENCE


def old_at_once(name: str, *actions: CleanupAction) -> ExpiryRule:
    return ExpiryRule(
        rule_id=name,
        name=name,
        strategy=ExpiryStrategy.TIME,
        conditions=Conditions(max_age=0.001),
        actions=actions,
    )


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[SessionSystem]:
    config = make_config(enable_expiry=True, enable_cleanup=False, archive_dir=tmp_path / "archive")
    async with SessionSystem(config) as system:
        yield system


async def until_status(system: SessionSystem, session_id: str, status: SessionStatus) -> None:
    async with asyncio.timeout(PATIENCE):
        while await system.get_session_state(session_id) is not status:
            await asyncio.sleep(0.02)


async def test_a_rule_is_applied_and_said_so(system: SessionSystem, tmp_path: Path) -> None:
    told: list[ExpiryNotice] = []

    async def note(notice: ExpiryNotice) -> None:
        told.append(notice)

    system.add_notification_callback(note)
    await system.restart()
    await system.add_expiry_rule(old_at_once("gone", CleanupAction.ARCHIVE))
    assert [rule.rule_id for rule in await system.list_expiry_rules()] == ["gone"]
    async with asyncio.timeout(PATIENCE):
        session = await system.create_session("chat", "ann", "web")
        await system.add_message(session.session_id, "ann", "user", "hello")
        await until_status(system, session.session_id, SessionStatus.ARCHIVED)
        while not told or not (await system.get_expiry_statistics()).total:
            await asyncio.sleep(0.02)
    assert (await system.get_expiry_statistics()).rules == {"gone": {"archived": 1}}
    assert {notice.session_id for notice in told} == {session.session_id}
    assert list((tmp_path / "archive").rglob("*.gz"))
    status = await system.get_system_status()
    assert status["features"]["expiry"]
    assert status["components"]["expiry_worker"]["state"] == "running"
    assert await system.remove_expiry_rule("gone")
    assert not await system.enable_expiry_rule("gone")


async def test_cleaning_up_says_what_is_due_and_what_came_of_it(tmp_path: Path) -> None:
    config = make_config(enable_expiry=True, enable_cleanup=False, archive_dir=tmp_path / "archive")
    async with SessionSystem(config) as system:
        await system._components[-1].stop()  # the worker would be faster
        await system.add_expiry_rule(old_at_once("gone", CleanupAction.ARCHIVE))
        session = await system.create_session("chat", "ann", "web")
        await later()
        report = await system.cleanup_expired_sessions(dry_run=True)
        assert [(one.session_id, one.rule_id, one.action, one.came) for one in report.steps] == [
            (session.session_id, "gone", "archive", "would be done")
        ]
        assert await system.get_session_state(session.session_id) is SessionStatus.ACTIVE
        report = await system.cleanup_expired_sessions()
        assert [(one.action, one.came) for one in report.steps] == [("archive", "done"), ("move to archive", "done")]
        assert await system.get_session_state(session.session_id) is SessionStatus.ARCHIVED
        assert (await system.cleanup_expired_sessions()).steps == ()


async def test_what_a_call_made_archived_is_moved_when_somebody_looks(tmp_path: Path) -> None:
    for archive in (None, tmp_path / "archive"):
        config = make_config(enable_expiry=True, enable_cleanup=False, archive_dir=archive)
        async with SessionSystem(config) as system:
            await system._components[-1].stop()  # the worker would be faster
            session = await system.create_session("chat", "ann", "web")
            await system.set_session_state(session.session_id, "archived")
            for _ in range(2):
                assert (await system.cleanup_expired_sessions()).steps == (), "no rule did anything"
                state = await system._engine.existing(session.session_id)
                assert (state.status, state.archive is not None) == (SessionStatus.ARCHIVED, archive is not None)
    assert len(list((tmp_path / "archive").rglob("*.gz"))) == 1


async def test_cleaning_up_after_days_keeps_the_archive_and_what_is_on_its_way_there(tmp_path: Path) -> None:
    config = make_config(enable_expiry=True, enable_cleanup=False, archive_dir=tmp_path / "archive")
    async with SessionSystem(config) as system:
        await system._components[-1].stop()  # the worker would be faster
        await system.add_expiry_rule(old_at_once("gone", CleanupAction.ARCHIVE))
        archived = await system.create_session("one", "ann", "web")
        await later()
        await system.cleanup_expired_sessions()
        leaving, closed = (
            await system.create_session("two", "ann", "web"),
            await system.create_session("3", "ann", "web"),
        )
        seen = (await system._engine.existing(leaving.session_id)).sequence
        step = ExpireSession(
            session_id=SessionId(leaving.session_id), rule_id="gone", step=0, action=CleanupAction.ARCHIVE, seen=seen
        )
        await system._engine.send(step)
        await system.close_session(closed.session_id)
        await later()

        assert await system.batch_cleanup(older_than_days=0) == 1

        assert await system.get_session_state(closed.session_id) is None
        assert await system.get_session_state(archived.session_id) is SessionStatus.ARCHIVED
        assert await system.get_session_state(leaving.session_id) is SessionStatus.EXPIRED
        await system.cleanup_expired_sessions()
        assert await system.get_session_state(leaving.session_id) is SessionStatus.ARCHIVED


async def test_without_it_the_rules_say_that_it_is_off() -> None:
    async with SessionSystem(make_config()) as system:
        calls: list[Any] = [
            system.list_expiry_rules(),
            system.add_expiry_rule(old_at_once("gone", CleanupAction.EXPIRE)),
            system.remove_expiry_rule("gone"),
            system.get_expiry_statistics(),
        ]
        for call in calls:
            with pytest.raises(FeatureNotEnabled, match="enable_expiry"):
                await call
        assert (await system.cleanup_expired_sessions()).steps == ()
