"""Which state may follow which: every way of the default machine, guards, and machines of an installation's own."""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    ExpireSession,
    ResetSession,
    UpdateSession,
)
from agentbus.contracts.errors import AccessDenied, RequestReused, TransitionForbidden
from agentbus.contracts.events import AnyEvent, Commit, SessionClosed, SessionStarted, StateChanged
from agentbus.contracts.expiry import CleanupAction, ResetPolicy
from agentbus.contracts.ids import InputId
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.profile import Permission, Profile, SessionType
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType
from agentbus.workers.domain.checks.states import DEFAULT, TRANSITIONS
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from agentbus.workers.domain.repeats import check_same
from tests.harness.conversations import CONVERSATION, NOW, address, given, message

A_MINUTE = timedelta(minutes=1)
SHARED = Profile(
    owner="ada", shares={"bob": Permission.WRITE}, idle_timeout=30, tags=("vip", "beta"), agent_id="helper"
)


def a_machine(*ways: tuple[str, str] | dict[str, Any]) -> StateMachine:
    """Return a machine with two states of its own to live in and one to end in, and these ways."""
    states = {"waiting": "active", "on_hold": "suspended", "solved": "closed"}
    given_ways = [one if isinstance(one, dict) else {"sources": one[0], "target": one[1]} for one in ways]
    own = [{"name": name, "status": status} for name, status in states.items()]
    return StateMachine.model_validate({"states": own, "transitions": given_ways})


def a_session(status: SessionStatus = SessionStatus.ACTIVE, state: str | None = None, **more: Any) -> SessionState:
    fields: dict[str, Any] = {"profile": SHARED, "created_at": NOW, "last_activity": NOW, "address": address(), **more}
    return SessionState(
        conversation_id=CONVERSATION, generation=1, version=1, sequence=1, status=status, state=state, **fields
    )


def caused(state: SessionState, command: AnyCommand, machine: StateMachine, **more: Any) -> tuple[AnyEvent, ...]:
    return decide(state, given(command), more.pop("now", NOW + timedelta(seconds=1)), machine=machine, **more)


def moved(state: SessionState, events: tuple[AnyEvent, ...]) -> SessionState:
    commit = Commit(
        conversation_id=CONVERSATION, version=state.version + 1, at=NOW, inputs=(InputId("x"),), events=events
    )
    return heads_after(state, commit)[-1]


@pytest.mark.parametrize(("source", "target"), list(product(SessionStatus, repeat=2)))
def test_a_session_goes_the_ways_of_the_default_machine_and_no_other(
    source: SessionStatus, target: SessionStatus
) -> None:
    if source is SessionStatus.DELETED:
        return  # it takes no commands
    state = a_session(source)
    if source is target:
        assert decide(state, given(ChangeState(status=target)), NOW) == ()
    elif target in TRANSITIONS[source]:
        (event,) = decide(state, given(ChangeState(status=target, reason="so")), NOW)
        assert event.model_dump(include={"kind", "previous", "status", "reason", "state", "handler"}) == {
            "kind": "state_changed",
            "previous": source,
            "status": target,
            "reason": "so",
        }
        assert moved(state, (event,)).status is target
    else:
        with pytest.raises(TransitionForbidden) as refused:
            decide(state, given(ChangeState(status=target)), NOW)
        allowed = ", ".join(sorted(TRANSITIONS[source])) or "none"
        assert str(refused.value) == f"a session may not go from {source} to {target} (from {source}: {allowed})"


def test_a_way_to_a_state_of_ones_own_and_back_keeps_the_status_and_is_told() -> None:
    machine = a_machine(("active", "waiting"), ("waiting", "on_hold"), ("on_hold", "active"))
    state = a_session()
    seen = []
    for command in (
        ChangeState(state="waiting"),
        ChangeState(state="on_hold"),
        ChangeState(status=SessionStatus.ACTIVE),
    ):
        (event,) = caused(state, command, machine)
        assert isinstance(event, StateChanged)
        state = moved(state, (event,))
        seen.append((event.previous_state, event.state, event.previous.value, event.status.value, state.state))
    assert seen == [
        (None, "waiting", "active", "active", "waiting"),
        ("waiting", "on_hold", "active", "suspended", "on_hold"),
        ("on_hold", None, "suspended", "active", None),
    ]
    assert caused(a_session(state="waiting"), ChangeState(state="waiting"), machine) == ()


@pytest.mark.parametrize(
    ("state", "command", "words"),
    [
        (a_session(state="waiting"), ChangeState(state="solved"), "from waiting to solved (from waiting: on_hold)"),
        (a_session(state="waiting"), ChangeState(status=SessionStatus.ACTIVE), "from waiting to active (from"),
        (a_session(), UpdateSession(status=SessionStatus.SUSPENDED), "from active to suspended (from active: waiting)"),
        (a_session(), CloseSession(), "from active to closed"),
        (a_session(), ResetSession(), "from active to closed"),
        (a_session(), CreateSession(), "from active to closed"),
        (a_session(), ChangeState(state="lost"), "there is no state lost: the states are active, idle"),
    ],
)
def test_what_the_machine_does_not_have_is_refused_with_what_is_allowed(
    state: SessionState, command: AnyCommand, words: str
) -> None:
    with pytest.raises(TransitionForbidden) as refused:
        caused(state, command, a_machine(("active", "waiting"), ("waiting", "on_hold")))
    assert words in str(refused.value)


def test_a_silent_session_goes_the_ways_of_an_active_one_and_stays_in_its_own_state() -> None:
    machine = a_machine(("active", "waiting"), ("waiting", "solved"))
    silent = a_session(SessionStatus.IDLE)
    assert moved(silent, caused(silent, ChangeState(state="waiting"), machine)).state == "waiting"

    waiting = a_session(state="waiting")
    idle = moved(waiting, caused(waiting, ApplyDeadlines(), machine, now=NOW + A_MINUTE))
    assert (idle.status, idle.state) == (SessionStatus.IDLE, "waiting")
    said = AppendMessage(message=OutboundMessage(content=TextContent(text="here")))
    woken = moved(idle, caused(idle, said, machine)[:1])
    assert (woken.status, woken.state) == (SessionStatus.ACTIVE, "waiting")
    solved = moved(idle, caused(idle, ChangeState(state="solved"), machine))
    assert (solved.status, solved.state, solved.is_live) == (SessionStatus.CLOSED, "solved", False)


def test_what_comes_by_itself_is_not_asked_of_the_machine() -> None:
    machine = a_machine()
    ending = SHARED.model_copy(update={"expires_at": NOW})
    session = a_session(state="waiting", profile=ending)
    (expired,) = caused(session, ApplyDeadlines(), machine)
    assert moved(session, (expired,)).status is SessionStatus.EXPIRED
    assert moved(session, (expired,)).state is None
    waiting = a_session(state="waiting")
    gone = moved(waiting, caused(waiting, DeleteSession(), machine))
    assert (gone.status, gone.state) == (SessionStatus.DELETED, None)
    for action, left in ((CleanupAction.SUSPEND, SessionStatus.ACTIVE), (CleanupAction.EXPIRE, SessionStatus.EXPIRED)):
        step = ExpireSession(rule_id="rule", step=0, action=action, seen=1)
        after = moved(waiting, caused(waiting, step, machine))
        assert (after.status, after.last_step and after.last_step.action) == (left, action), "else it is only noted"


def test_a_message_resets_a_session_only_if_the_machine_has_a_way_out() -> None:
    policy = (ResetPolicy(words=("/new",)),)
    events = {
        name: [type(event) for event in decide(a_session(), given(message(2, "/new")), NOW, policy, machine=machine)]
        for name, machine in {"closed": a_machine(("active", "closed")), "stays": a_machine()}.items()
    }
    assert events["closed"][:2] == [SessionClosed, SessionStarted]
    assert [kind.__name__ for kind in events["stays"]] == ["MessageAppended"]


GUARDS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"by": ["owner"]}, {"actor": "ada"}, {"actor": "bob"}, "asked by owner"),
    ({"by": ["others", "application"]}, {"actor": "bob"}, {"actor": "ada"}, "asked by others or application"),
    ({"by": ["application"]}, {}, {"actor": "ada"}, "asked by application"),
    ({"types": ["automatic"]}, {"type": StateTransitionType.AUTOMATIC}, {}, "it is automatic"),
]


@pytest.mark.parametrize(("guard", "so", "not_so", "words"), GUARDS)
def test_a_guard_asks_who_wants_it_and_why(
    guard: dict[str, Any], so: dict[str, Any], not_so: dict[str, Any], words: str
) -> None:
    machine = a_machine({"sources": "active", "target": "on_hold", "guard": guard})
    assert caused(a_session(), ChangeState(state="on_hold", **so), machine)
    with pytest.raises(TransitionForbidden, match=f"^a session goes from active to on_hold only if {words}$"):
        caused(a_session(), ChangeState(state="on_hold", **not_so), machine)


OF_SESSIONS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    ({"min_age": 60}, {"created_at": NOW - A_MINUTE}, {}, "it began 60 s ago"),
    ({"min_messages": 2}, {"message_count": 2}, {"message_count": 1}, "it has 2 messages"),
    ({"data": {"paid": True}}, {"data": {"paid": True}}, {"data": {"paid": 1}}, "its data has paid as"),
    ({"present": ["a", "b"]}, {"data": {"a": None, "b": 1}}, {"data": {"b": 1}}, "its data has a"),
    ({"platforms": ["telegram"]}, {}, {"address": address(platform=Platform.SLACK)}, "it is on telegram"),
    ({"session_types": ["private"]}, {}, {"profile": Profile(session_type=SessionType.GROUP)}, "it is private"),
    ({"agent_ids": ["helper"]}, {}, {"profile": Profile()}, "it is with helper"),
    ({"tags": ["beta"]}, {}, {"profile": Profile(tags=("vip",))}, "it has the tags beta"),
]


@pytest.mark.parametrize(("guard", "so", "not_so", "words"), OF_SESSIONS)
def test_a_guard_asks_what_a_session_is(
    guard: dict[str, Any], so: dict[str, Any], not_so: dict[str, Any], words: str
) -> None:
    machine = a_machine({"sources": "active", "target": "closed", "guard": guard})
    assert caused(a_session(**so), CloseSession(), machine)
    with pytest.raises(TransitionForbidden, match=f"only if {words}"):
        caused(a_session(**not_so), CloseSession(), machine)


def test_of_several_ways_one_that_is_open_is_enough_and_its_handler_is_told() -> None:
    machine = a_machine(
        {"sources": "active", "target": "closed", "guard": {"by": ["owner"]}, "handler": "thank"},
        {"sources": "active", "target": "closed", "guard": {"min_age": 60, "by": ["others"]}, "handler": "page"},
    )
    (closed,) = caused(a_session(), CloseSession(actor="ada"), machine)
    assert isinstance(closed, SessionClosed)
    assert (closed.handler, closed.previous_state) == ("thank", "active")
    with pytest.raises(TransitionForbidden, match="only if asked by owner, or asked by others and it began 60 s ago"):
        caused(a_session(), CloseSession(), machine)


def test_who_is_told_of_a_change_that_comes_by_itself_stands_at_the_way() -> None:
    machine = a_machine({"sources": ["active", "waiting"], "target": "expired", "handler": "mourn"})
    ending = SHARED.model_copy(update={"expires_at": NOW})
    for state in (None, "waiting"):
        (event,) = caused(a_session(state=state, profile=ending), ApplyDeadlines(), machine)
        assert isinstance(event, StateChanged)
        assert event.handler == "mourn"


def test_a_state_that_the_machine_has_no_more_is_that_of_its_status() -> None:
    old = a_session(SessionStatus.SUSPENDED, state="vanished")
    (event,) = caused(old, ChangeState(status=SessionStatus.ACTIVE), DEFAULT)
    assert isinstance(event, StateChanged)
    assert (event.previous_state, event.state) == ("vanished", None)


def test_whoever_ends_a_session_by_a_state_of_ones_own_has_to_be_its_owner() -> None:
    machine = a_machine(("active", "solved"), ("active", "waiting"))
    assert caused(a_session(), ChangeState(state="waiting", actor="bob"), machine)
    assert caused(a_session(), ChangeState(state="solved", actor="ada"), machine)
    for state in ("solved", "nowhere"):
        with pytest.raises(AccessDenied):
            caused(a_session(), ChangeState(state=state, actor="bob"), machine)


def test_another_state_under_the_same_id_is_another_request() -> None:
    machine = a_machine(("active", "waiting"), ("active", "on_hold"))
    events = caused(a_session(), ChangeState(state="waiting"), machine)
    check_same(ChangeState(state="waiting"), events)
    for other in (ChangeState(state="on_hold"), ChangeState(status=SessionStatus.ACTIVE)):
        with pytest.raises(RequestReused):
            check_same(other, events)
