"""Handlers of transitions: known by their names, told of what names them."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.events import AnyEvent, CloseReason, SessionClosed, SessionDeleted, StateChanged
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.session import SessionStatus
from agentbus.workers.tracking import transitions, worker
from agentbus.workers.tracking.transitions import (
    TransitionTaken,
    register_transition_handler,
    transition_handlers,
)
from agentbus.workers.tracking.worker import TransitionTeller
from tests.harness.conversations import CONVERSATION

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SESSION = session_id_for(CONVERSATION, 1)
ABOUT: dict[str, Any] = {"session_id": SESSION, "sequence": 2, "at": NOW, "cause": InputId("i")}
S = SessionStatus


async def page(taken: TransitionTaken) -> None:
    del taken


async def other(taken: TransitionTaken) -> None:
    del taken


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(transitions, "_handlers", {})
    transitions._installed.cache_clear()
    yield
    transitions._installed.cache_clear()


def test_a_name_is_one_handlers_alone() -> None:
    register_transition_handler("page", page)
    register_transition_handler("page", page)
    assert transition_handlers() == {"page": page}
    with pytest.raises(ConfigurationError, match="another handler 'page'"):
        register_transition_handler("page", other)


def test_handlers_of_installed_packages_are_found_and_ones_own_go_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "tests.unit.workers.tracking.test_transitions"
    found = [EntryPoint(name, f"{here}:{value}", transitions.ENTRY_POINTS) for name, value in (("page", "page"),)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: EntryPoints(found))
    assert [(name, one.__name__) for name, one in transition_handlers().items()] == [("page", "page")]
    register_transition_handler("page", other)
    assert transition_handlers() == {"page": other}
    transitions._installed.cache_clear()
    found.append(EntryPoint("lost", f"{here}:missing", transitions.ENTRY_POINTS))
    with pytest.raises(ConfigurationError, match="'lost' can't be imported"):
        transition_handlers()


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (StateChanged(previous=S.ACTIVE, status=S.IDLE, handler="page", **ABOUT), ("active", "idle", S.IDLE)),
        (
            StateChanged(previous=S.ACTIVE, previous_state="a", status=S.CLOSED, state="b", handler="page", **ABOUT),
            ("a", "b", S.CLOSED),
        ),
        (
            SessionClosed(why=CloseReason.RESET, previous_state="a", handler="page", **ABOUT),
            ("a", "closed", S.CLOSED),
        ),
        (StateChanged(previous=S.ACTIVE, status=S.IDLE, **ABOUT), None),
        (SessionDeleted(deleted=SESSION, **ABOUT), None),
    ],
)
def test_what_is_told_is_what_the_event_says(event: AnyEvent, told: tuple[str, str, SessionStatus] | None) -> None:
    taken = TransitionTaken.of(event)
    assert (taken and (taken.previous, taken.state, taken.status)) == told
    assert taken is None or (taken.transition_id, taken.session_id) == (f"{SESSION}/2", SESSION)


async def test_a_handler_is_told_of_what_names_it_and_one_that_never_returns_is_cut_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []

    async def slow(taken: TransitionTaken) -> None:
        told.append(taken.handler)
        await asyncio.Event().wait()

    def event(handler: str | None) -> EventEnvelope:
        return EventEnvelope.of(StateChanged(previous=S.ACTIVE, status=S.IDLE, handler=handler, **ABOUT))

    monkeypatch.setattr(worker, "HANDLER_SECONDS", 0.0)
    teller = TransitionTeller("slow", slow)
    for name in ("page", None):
        await teller.handle(event(name))
    assert told == []
    with pytest.raises(TimeoutError):
        await teller.handle(event("slow"))
    assert told == ["slow"]
