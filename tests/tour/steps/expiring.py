"""Sessions that end by rules: the rules, what they look at, what they do, and who is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.sessions import (
    CleanupAction,
    Conditions,
    ExpiryNotice,
    ExpiryRule,
    ExpiryStatistics,
    ExpiryStrategy,
    MemorySessionStore,
    SessionContext,
    SessionStatus,
    SessionSystem,
    Step,
    create_email_notification_callback,
    create_expiry_manager,
    create_webhook_notification_callback,
    default_notification_callback,
    register_condition,
)
from tests.harness.patience import PATIENCE
from tests.tour.registry import shows
from tests.tour.world import World


def a_rule(name: str, *actions: CleanupAction | Step, agent: str | None = None) -> ExpiryRule:
    """Return a rule that holds at once, for the sessions of one agent alone: others share the store."""
    steps = tuple(one if isinstance(one, Step) else Step(action=one) for one in actions)
    conditions = Conditions(max_age=0.001, agent_ids=(agent or name,))
    return ExpiryRule(rule_id=name, name=name, strategy=ExpiryStrategy.TIME, conditions=conditions, actions=steps)


@asynccontextmanager
async def expiring(world: World, *rules: ExpiryRule) -> AsyncIterator[SessionSystem]:
    """Run a system that goes by some more rules."""
    archive = str(world.place.folder / "archive")
    async with world.another(enable_expiry=True, archive_dir=archive) as system:
        for rule in rules:
            await system.add_expiry_rule(rule)
        try:
            yield system
        finally:
            for rule in rules:
                await system.remove_expiry_rule(rule.rule_id)


async def ends(system: SessionSystem, session: SessionContext, status: SessionStatus) -> None:
    async with asyncio.timeout(PATIENCE):
        while await system.get_session_state(session.session_id) is not status:
            await asyncio.sleep(0.05)


async def counted(system: SessionSystem, rule: str, **outcomes: int) -> ExpiryStatistics:
    async with asyncio.timeout(PATIENCE):
        while (found := await system.get_expiry_statistics()).rules.get(rule) != outcomes:
            await asyncio.sleep(0.05)
    return found


@shows("SessionSystem.add_expiry_rule")
async def show_add_expiry_rule(world: World) -> None:
    name = world.name("rule")
    async with expiring(world, a_rule(name, CleanupAction.EXPIRE)) as system:
        session = await system.create_session(user_id=world.name(), agent_id=name)
        other = await system.create_session(user_id=world.name(), agent_id=world.name("agent"))
        await ends(system, session, SessionStatus.EXPIRED)
        assert await system.get_session_state(other.session_id) is SessionStatus.ACTIVE


@shows("SessionSystem.list_expiry_rules")
async def show_list_expiry_rules(world: World) -> None:
    low, high = a_rule(world.name("rule"), CleanupAction.NOTIFY), a_rule(world.name("rule"), CleanupAction.NOTIFY)
    high = high.model_copy(update={"priority": 9})
    async with expiring(world, low, high) as system:
        assert await system.list_expiry_rules() == (high, low)


@shows("SessionSystem.remove_expiry_rule")
async def show_remove_expiry_rule(world: World) -> None:
    name = world.name("rule")
    async with expiring(world, a_rule(name, CleanupAction.NOTIFY)) as system:
        assert await system.remove_expiry_rule(name)
        assert not await system.remove_expiry_rule(name)
        assert await system.list_expiry_rules() == ()


@shows("SessionSystem.enable_expiry_rule")
async def show_enable_expiry_rule(world: World) -> None:
    name = world.name("rule")
    async with expiring(world, a_rule(name, CleanupAction.EXPIRE)) as system:
        assert await system.enable_expiry_rule(name, enabled=False)
        assert [rule.enabled for rule in await system.list_expiry_rules()] == [False]
        assert not await system.enable_expiry_rule(world.name("unknown"))


@shows("SessionSystem.get_expiry_statistics")
@shows("ExpiryStatistics")
async def show_get_expiry_statistics(world: World) -> None:
    name = world.name("rule")
    async with expiring(world, a_rule(name, CleanupAction.NOTIFY, CleanupAction.EXPIRE)) as system:
        await system.create_session(user_id=world.name(), agent_id=name)
        found = await counted(system, name, notified=1, expired=1)
        assert isinstance(found, ExpiryStatistics)
        assert found.total["expired"] >= 1


@shows("SessionSystem.add_notification_callback")
@shows("ExpiryNotice")
async def show_add_notification_callback(world: World) -> None:
    told: list[ExpiryNotice] = []

    async def note(notice: ExpiryNotice) -> None:
        told.append(notice)

    name = world.name("rule")
    async with expiring(world) as system:
        system.add_notification_callback(note)
        await system.restart()
        await system.add_expiry_rule(a_rule(name, CleanupAction.EXPIRE))
        session = await system.create_session(user_id=world.name(), agent_id=name)
        async with asyncio.timeout(PATIENCE):
            while not [notice for notice in told if notice.session_id == session.session_id]:
                await asyncio.sleep(0.05)
        await system.remove_expiry_rule(name)
    notice = next(one for one in told if one.session_id == session.session_id)
    assert (notice.rule_id, notice.step, notice.action, notice.is_warning) == (name, 0, CleanupAction.EXPIRE, False)


@shows("CleanupAction")
@shows("Step")
async def show_steps(world: World) -> None:
    name = world.name("rule")
    steps = (Step(action=CleanupAction.SUSPEND), Step(action=CleanupAction.ARCHIVE, after=0.2))
    async with expiring(world, a_rule(name, *steps)) as system:
        session = await system.create_session(user_id=world.name(), agent_id=name)
        await ends(system, session, SessionStatus.ARCHIVED)
        await counted(system, name, suspended=1, archived=1)


@shows("ExpiryStrategy")
@shows("Conditions")
@shows("ExpiryRule")
async def show_rules(world: World) -> None:
    name = world.name("rule")
    many = ExpiryRule(
        rule_id=name,
        name="Two messages",
        strategy=ExpiryStrategy.USAGE,
        conditions=Conditions(max_messages=2, agent_ids=(name,)),
        actions=(Step(action=CleanupAction.EXPIRE),),
    )
    with pytest.raises(ValueError, match="max_messages"):
        ExpiryRule(
            rule_id=name, name=name, strategy=ExpiryStrategy.USAGE, conditions=Conditions(), actions=many.actions
        )
    async with expiring(world, many) as system:
        user = world.name()
        session = await system.create_session(world.name("chat"), user, "web", agent_id=name)
        await asyncio.sleep(1.5)  # until every worker goes by the rule
        await system.add_message(session.session_id, user, "user", "one")
        assert await system.get_session_state(session.session_id) is SessionStatus.ACTIVE
        await system.add_message(session.session_id, user, "user", "two")
        await ends(system, session, SessionStatus.EXPIRED)


@shows("register_condition")
async def show_register_condition(world: World) -> None:
    name = f"condition-{uuid4().hex}"  # conditions are the process's, and a test may take more tours than one in it

    def is_done(head: SessionState) -> datetime | None:
        return head.created_at if head.profile.agent_id == name else None

    register_condition(name, is_done)
    rule = ExpiryRule(
        rule_id=name,
        name=name,
        strategy=ExpiryStrategy.CUSTOM,
        conditions=Conditions(custom=name),
        actions=(Step(action=CleanupAction.EXPIRE),),
    )
    async with expiring(world, rule) as system:
        session = await system.create_session(user_id=world.name(), agent_id=name)
        await ends(system, session, SessionStatus.EXPIRED)


def a_notice() -> ExpiryNotice:
    return ExpiryNotice(
        notice_id=f"{'a' * 26}.1/3",
        session_id=SessionId(f"{'a' * 26}.1"),
        rule_id="rule",
        step=0,
        action=CleanupAction.EXPIRE,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        next_at=None,
        platform=None,
        identity=None,
    )


@shows("default_notification_callback")
async def show_default_notification_callback(_: World) -> None:
    await default_notification_callback(a_notice())
    assert a_notice().text == f"Session {'a' * 26}.1: the rule rule took step 1 (expire)."


@shows("create_email_notification_callback")
async def show_create_email_notification_callback(_: World) -> None:
    with pytest.raises(ConfigurationError, match="recipient"):
        create_email_notification_callback("localhost", 25, "bot@example.org", [])
    assert callable(create_email_notification_callback("localhost", 25, "bot@example.org", "ops@example.org"))


@shows("create_webhook_notification_callback")
async def show_create_webhook_notification_callback(_: World) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        create_webhook_notification_callback("https://example.org/hook", "")
    assert callable(create_webhook_notification_callback("https://example.org/hook", "a shared secret"))


@shows("create_expiry_manager")
async def show_create_expiry_manager(world: World) -> None:
    store = MemorySessionStore()
    manager = create_expiry_manager(store, archive_dir=world.place.folder / world.name("archive"))
    async with store:
        await manager.add_expiry_rule(a_rule("old", CleanupAction.ARCHIVE))
        session = await store.create(user_id="ann", agent_id="old")
        async with asyncio.timeout(PATIENCE):
            while await manager.get_session_state(session.session_id) is not SessionStatus.ARCHIVED:
                await asyncio.sleep(0.02)
        with pytest.raises(ConfigurationError, match="started already"):
            create_expiry_manager(store)
