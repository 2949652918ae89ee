"""What applications tell of sessions, and how sessions are used."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest

from agentbus.sessions import (
    Chances,
    ChangedBy,
    ConfigurationError,
    EventType,
    MemorySessionStore,
    OwnState,
    Patterns,
    Period,
    Prediction,
    SchemaViolation,
    SessionEnding,
    SessionStatus,
    SessionSystem,
    StateMachine,
    StateStatistics,
    StateTransition,
    StateTransitionType,
    TrackedEvent,
    TransitionForbidden,
    TransitionGuard,
    TransitionTaken,
    Usage,
    create_session_state_tracker,
    register_transition_handler,
)
from tests.harness.patience import PATIENCE
from tests.tour.registry import shows
from tests.tour.world import World


@asynccontextmanager
async def tracking(world: World) -> AsyncIterator[SessionSystem]:
    async with world.another(enable_tracking=True) as system:
        yield system


async def a_session(world: World, system: SessionSystem) -> str:
    """Begin a session in which somebody asks and is answered."""
    made = await system.create_session(world.name("chat"), world.name(), "telegram")
    for role in ("user", "assistant"):
        await system.add_message(made.session_id, made.user_id, role, "words")
    return made.session_id


async def patterns(system: SessionSystem, wanted: Callable[[Patterns], bool]) -> Patterns:
    """Look until the worker has followed."""
    async with asyncio.timeout(PATIENCE):
        while not wanted(found := await system.get_usage_patterns(timedelta(days=1))):
            await asyncio.sleep(0.05)
    return found


@shows("SessionSystem.track_event")
@shows("TrackedEvent")
@shows("EventType")
async def show_track_event(world: World) -> None:
    async with tracking(world) as system:
        session = await a_session(world, system)
        for event in EventType:
            kept = await system.track_event(session, event, request_id=event, tool="search", token="t")  # noqa: S106 - it is left out
            assert (kept.kind, kept.data) == (event, {"tool": "search"})
            assert await system.track_event(session, event, request_id=event) == kept
        assert {one.kind for one in await system.get_tracked_events(session)} == set(EventType)
        assert TrackedEvent.model_validate(kept.model_dump()) == kept


@shows("SessionSystem.get_tracked_events")
async def show_get_tracked_events(world: World) -> None:
    async with tracking(world) as system:
        session = await a_session(world, system)
        for number in range(3):
            await system.track_event(session, "turn", number=number)
        first = await system.get_tracked_events(session, limit=2)
        rest = await system.get_tracked_events(session, limit=2, cursor=first.cursor)
        assert sorted(one.data["number"] for one in (*first, *rest)) == [0, 1, 2]  # type: ignore[type-var]  # ints


@shows("SessionSystem.get_session_usage")
@shows("Usage")
@shows("SessionEnding")
async def show_get_session_usage(world: World) -> None:
    async with tracking(world) as system:
        session = await a_session(world, system)
        await system.close_session(session)
        used = await system.get_session_usage(session)
        assert isinstance(used, Usage)
        assert used.ending is SessionEnding.CLOSED
        assert {name: used.counts[name] for name in ("message.user", "message.assistant", "asked", "answered")} == {
            "message.user": 1,
            "message.assistant": 1,
            "asked": 1,
            "answered": 1,
        }


@shows("SessionSystem.get_usage_patterns")
@shows("Patterns")
@shows("Period")
async def show_get_usage_patterns(world: World) -> None:
    async with tracking(world) as system:
        before = await system.get_usage_patterns(timedelta(days=1))
        await a_session(world, system)
        found = await patterns(system, lambda now: now.conversations > before.conversations)
        assert sum(found.by_hour) == sum(found.by_weekday) == found.messages["user"]
        for period in Period:
            by = await system.get_usage_patterns(timedelta(days=1), zone="Asia/Tokyo", period=period)
            assert sum(step.messages for step in by.trend) == sum(by.messages.values())
        with pytest.raises(SchemaViolation, match="time zone"):
            await system.get_usage_patterns(zone="Nowhere/Else")


@shows("SessionSystem.plot_usage_patterns")
async def show_plot_usage_patterns(world: World) -> None:
    async with tracking(world) as system:
        for kind, begins in ((".png", b"\x89PNG"), (".svg", b"<svg")):
            picture = world.place.folder / f"{world.name('usage')}{kind}"
            assert await system.plot_usage_patterns(picture, timedelta(days=1)) == picture
            assert picture.read_bytes().startswith(begins)
        with pytest.raises(ConfigurationError, match="no picture"):
            await system.plot_usage_patterns("usage.txt")


@shows("SessionSystem.predict_session_lifecycle")
@shows("Prediction")
@shows("Chances")
async def show_predict_session_lifecycle(world: World) -> None:
    async with tracking(world) as system:
        made = await system.create_session(world.name("chat"), world.name(), "telegram")
        session = made.session_id
        await system.add_message(session, made.user_id, "user", "words")
        before = await system.predict_session_lifecycle(session)
        assert (type(before), before.age_hours, before.silent_hours) == (Prediction, 0, 0)
        for _ in range(25):
            await system.add_message(session, made.user_id, "user", "words")
        async with asyncio.timeout(PATIENCE):
            while (chances := (await system.predict_session_lifecycle(session)).returns) is None:
                await asyncio.sleep(0.05)
        assert isinstance(chances, Chances)
        assert chances.based_on >= 25
        assert 0 < (chances.within["hour"] or 0) <= 1


@shows("create_session_state_tracker")
async def show_create_session_state_tracker(world: World) -> None:
    del world
    store = MemorySessionStore()
    tracker = create_session_state_tracker(store)
    async with store:
        session = await store.create(user_id="ann")
        await tracker.track_event(session.session_id, EventType.FEEDBACK, stars=5)
        await tracker.track_session_state_change(session.session_id, SessionStatus.IDLE, StateTransitionType.TIMEOUT)
        assert (await tracker.get_state_statistics(timedelta(hours=1))).now == {"idle": 1}
        with pytest.raises(ConfigurationError, match="started already"):
            create_session_state_tracker(store)


@shows("SessionSystem.is_running")
async def show_is_running(world: World) -> None:
    assert world.manager.is_running
    assert not SessionSystem().is_running


@shows("SessionSystem.get_state_statistics")
@shows("StateStatistics")
async def show_get_state_statistics(world: World) -> None:
    async with tracking(world) as system:
        before = await system.get_state_statistics()
        session = await a_session(world, system)
        await system.set_session_state(session, SessionStatus.SUSPENDED)
        async with asyncio.timeout(PATIENCE):
            while (found := await system.get_state_statistics()).changes == before.changes:
                await asyncio.sleep(0.05)
        assert isinstance(found, StateStatistics)
        assert found.started > before.started
        assert found.now["suspended"] >= 1


@shows("SessionSystem.track_session_state_change")
@shows("StateTransitionType")
async def show_track_session_state_change(world: World) -> None:
    async with tracking(world) as system:
        for why in StateTransitionType:
            session = await a_session(world, system)
            await system.track_session_state_change(session, SessionStatus.EXPIRED, why, "over")
            assert await system.get_session_state(session) is SessionStatus.EXPIRED
            assert any(f"{why}: over" in str(entry) for entry in await system.get_audit_log(session))
            with pytest.raises(TransitionForbidden):
                await system.track_session_state_change(session, SessionStatus.ACTIVE, why)


@shows("SessionSystem.get_state_machine")
@shows("SessionSystem.set_state_machine")
@shows("StateMachine")
@shows("OwnState")
@shows("StateTransition")
@shows("TransitionGuard")
@shows("ChangedBy")
@shows("SessionContext.state")
@shows("register_transition_handler")
@shows("TransitionTaken")
async def show_state_machine(world: World) -> None:
    told: asyncio.Queue[TransitionTaken] = asyncio.Queue()
    name = f"thank-{uuid4().hex}"  # of the process: other worlds have theirs
    register_transition_handler(name, told.put)
    async with tracking(world) as system:
        there = await system.get_state_machine()
        by_owner = TransitionGuard(by=(ChangedBy.OWNER,))
        ways = (
            StateTransition(sources=("active",), target="waiting", guard=by_owner, handler=name),
            StateTransition(sources=("waiting",), target="closed"),
        )
        own = (OwnState(name="waiting", status=SessionStatus.ACTIVE),)
        machine = StateMachine(states=own, transitions=(*there.transitions, *ways))
        await system.set_state_machine(machine)
        try:
            assert await system.get_state_machine() == machine
            made = await system.create_session(world.name("chat"), "ann", "telegram")
            with pytest.raises(TransitionForbidden, match="only if asked by owner"):
                await system.set_session_state(made.session_id, "waiting")
            await system.set_session_state(made.session_id, "waiting", user_id="ann", reason="lunch")
            now = await system.get_session(made.session_id)
            assert now
            assert (made.state, now.state, now.status) == ("active", "waiting", SessionStatus.ACTIVE)
            with pytest.raises(TransitionForbidden, match="from waiting: closed"):
                await system.set_session_state(made.session_id, SessionStatus.SUSPENDED)
            async with asyncio.timeout(PATIENCE):
                taken = await told.get()
            assert (taken.session_id, taken.previous, taken.state) == (made.session_id, "active", "waiting")
            assert (taken.reason, taken.actor, taken.handler) == ("lunch", "ann", name)
        finally:
            await system.set_state_machine(None)
