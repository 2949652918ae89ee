"""State machines of an installation's own, as the library sets them and goes by them."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from agentbus.contracts.commands import ChangeState
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import InputId
from agentbus.sessions import (
    SchemaViolation,
    SessionStatus,
    SessionSystem,
    StateMachine,
    StateTransitionType,
    TransitionForbidden,
    TransitionTaken,
    register_transition_handler,
)
from agentbus.sessions.config import make_config
from agentbus.storage.reading import iter_parked
from agentbus.workers.installation import machine as kept
from agentbus.workers.tracking import transitions
from tests.harness.patience import PATIENCE

DESK: Final[dict[str, Any]] = {
    "states": [{"name": "waiting", "status": "active"}, {"name": "solved", "status": "closed"}],
    "transitions": [
        {"sources": "active", "target": "waiting", "guard": {"types": ["automatic"]}},
        {"sources": "waiting", "target": "active"},
        {"sources": ["active", "waiting"], "target": "solved", "handler": "thank"},
        {"sources": ["active", "waiting"], "target": "closed", "handler": "thank"},
    ],
}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have workers look at the machine each time, and know no handlers but those of the test."""
    monkeypatch.setattr(kept, "INTERVAL", 0.0)
    monkeypatch.setattr(transitions, "_handlers", {})


def a_system(storage: dict[str, Any] | None = None) -> SessionSystem:
    return SessionSystem(make_config(enable_tracking=True, enable_cleanup=False, partitions=2, **(storage or {})))


async def test_sessions_go_by_the_machine_that_is_set_and_by_the_default_one_again() -> None:
    async with a_system() as system:
        default = await system.get_state_machine()
        await system.set_state_machine(DESK)
        session = (await system.create_session("chat", "ann", "web")).session_id
        with pytest.raises(TransitionForbidden, match="from active to waiting only if it is automatic"):
            await system.set_session_state(session, "waiting")
        await system.track_session_state_change(session, "waiting", StateTransitionType.AUTOMATIC, "quiet")
        context = await system.get_session(session)
        assert context
        assert (context.state, context.status) == ("waiting", SessionStatus.ACTIVE)
        with pytest.raises(
            TransitionForbidden, match=r"from waiting to suspended \(from waiting: active, closed, solved\)"
        ):
            await system.set_session_state(session, "suspended")
        context.status = SessionStatus.SUSPENDED
        assert context.state == "suspended", "it is what it would be once it is saved"
        with pytest.raises(TransitionForbidden):
            await system.update_session(context)

        told = [one.details for one in await system.get_audit_log(session) if one.action == "state_changed"]
        assert told == [{"status": "active", "previous": "active", "state": "waiting", "reason": "automatic: quiet"}]
        assert (await system.get_session_usage(session)) is not None
        await system.set_state_machine(None)
        assert await system.get_state_machine() == default
        await system.set_session_state(session, "suspended")
        assert await system.get_session_state(session) is SessionStatus.SUSPENDED


async def test_a_machine_stays_with_its_store_and_holds_for_every_process(tmp_path: Path) -> None:
    storage = {"storage_type": "database", "storage_config": {"db_path": str(tmp_path / "sessions.db")}}
    async with a_system(storage) as one:
        await one.set_state_machine(DESK)
        async with a_system(storage) as other:
            assert await other.get_state_machine() == StateMachine.model_validate(DESK)
            session = (await other.create_session("chat", "ann", "web")).session_id
            for system in (one, other):
                with pytest.raises(TransitionForbidden, match="to expired"):
                    await system.set_session_state(session, "expired")


async def test_what_is_no_machine_is_refused_and_changes_nothing() -> None:
    async with a_system() as system:
        before = await system.get_state_machine()
        wrongs: list[Any] = [{"states": [{"name": "idle", "status": "active"}]}, {"ways": []}, "a machine"]
        for wrong in wrongs:
            with pytest.raises(SchemaViolation, match="no such state machine"):
                await system.set_state_machine(wrong)
        assert await system.get_state_machine() == before


async def test_a_forbidden_change_that_nobody_waits_for_is_parked() -> None:
    async with a_system() as system:
        session = (await system.create_session("chat", "ann", "web")).session_id
        await system.set_state_machine({})
        command = ChangeState(session_id=session, status=SessionStatus.SUSPENDED)
        running = system._running
        assert running
        await running._app.commands.give([Input(InputId("forbidden"), command)])
        async with asyncio.timeout(PATIENCE):
            while not (parked := [one async for one in iter_parked(running._app.store)]):
                await asyncio.sleep(0.01)
        assert [(one.message_id, one.code) for one in parked] == [("forbidden", "transition_forbidden")]
        assert await system.get_session_state(session) is SessionStatus.ACTIVE


async def test_a_handler_is_told_after_the_commit_until_it_was_able_to() -> None:
    told: list[TransitionTaken] = []
    done = asyncio.Event()

    async def thank(taken: TransitionTaken) -> None:
        told.append(taken)
        if len(told) == 1:
            raise ConnectionError("just then")
        if len(told) == 3:
            done.set()

    register_transition_handler("thank", thank)
    async with a_system() as system:
        await system.set_state_machine(DESK)
        first, second = [(await system.create_session(chat, "ann", "web")).session_id for chat in ("1", "2")]
        await system.set_session_state(first, "solved", user_id="ann", reason="done")
        async with asyncio.timeout(PATIENCE):
            while len(told) < 2:
                await asyncio.sleep(0.01)
        await system.close_session(second)
        async with asyncio.timeout(PATIENCE):
            await done.wait()
    assert told[0] == told[1]
    assert [(one.session_id, one.previous, one.state, one.status, one.reason, one.actor) for one in told[1:]] == [
        (first, "active", "solved", SessionStatus.CLOSED, "done", "ann"),
        (second, "active", "closed", SessionStatus.CLOSED, None, None),
    ]
