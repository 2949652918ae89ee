"""Laws of state machines: under any machine, and any inputs, no session takes a way that the machine does not have."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from hypothesis import given as over
from hypothesis import strategies as st

from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    EraseConversation,
    ExpireSession,
    ResetSession,
    RestoreSession,
    SetData,
    UpdateSession,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import Refused
from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConversationErased,
    SessionArchived,
    SessionClosed,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.expiry import ArchiveRef, CleanupAction, ResetPolicy
from agentbus.contracts.ids import InputId
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType
from agentbus.workers.domain.checks.states import DEFAULT
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import evolve, heads_after, replay
from tests.harness.conversations import CONVERSATION, NOW, message

S = SessionStatus
OWN = {"one": S.ACTIVE, "two": S.ACTIVE, "held": S.SUSPENDED, "gone": S.EXPIRED, "done": S.CLOSED}
LIVE = [status for status in S if status.is_live]
STATUSES = {status.value: status for status in S} | OWN
POSSIBLE = [
    (source, target)
    for source, target in product(STATUSES, repeat=2)
    if source != target and {source, target}.isdisjoint({"deleted"}) and source != "archived"
    and (STATUSES[source].is_live or not STATUSES[target].is_live)
]  # fmt: skip

guards = st.one_of(
    st.none(),
    st.builds(lambda by: {"by": [by]}, st.sampled_from(["owner", "others", "application"])),
    st.builds(lambda why: {"types": [why]}, st.sampled_from([one.value for one in StateTransitionType])),
    st.builds(lambda age: {"min_age": age}, st.sampled_from([1, 3])),
    st.builds(lambda value: {"data": {"a": value}}, st.integers(0, 1)),
)
machines = st.builds(
    lambda ways, states: StateMachine.model_validate(
        {
            "states": [{"name": name, "status": OWN[name]} for name in states],
            "transitions": [
                {"sources": pair[0], "target": pair[1], "guard": guard}
                for pair, guard in ways
                if set(pair) <= {*states, *S}
            ],
        }
    ),
    st.lists(st.tuples(st.sampled_from(POSSIBLE), guards), max_size=40)
    | st.lists(st.tuples(st.sampled_from(POSSIBLE), guards), min_size=20, max_size=40),
    st.lists(st.sampled_from(sorted(OWN)), unique=True) | st.just(sorted(OWN)),
)
ends = st.none() | st.sampled_from([2, 5]).map(lambda later: NOW + timedelta(seconds=later))
actors = st.sampled_from([None, None, "ada", "bob"])
inputs: st.SearchStrategy[InboundMessage | AnyCommand] = st.one_of(
    st.builds(lambda text: message("m", text), st.sampled_from(["hello", "hello", "/new"])),
    st.builds(
        ChangeState,
        state=st.sampled_from(["one", "two", "held", *sorted(OWN)]),
        type=st.none() | st.sampled_from(StateTransitionType),
        actor=actors,
    ),
    st.builds(
        ChangeState, status=st.sampled_from(S), type=st.none() | st.sampled_from(StateTransitionType), actor=actors
    ),
    st.builds(UpdateSession, status=st.sampled_from(LIVE), actor=actors),
    st.builds(SetData, values=st.builds(lambda value: {"a": value}, st.integers(0, 1))),
    st.builds(AppendMessage, message=st.just(OutboundMessage(content=TextContent(text="ok")))),
    st.builds(
        CreateSession,
        profile=st.builds(Profile, owner=st.just("ada"), idle_timeout=st.just(1), expires_at=ends),
    ),
    st.builds(ApplyDeadlines),
    st.sampled_from([CloseSession(), ResetSession(), CloseSession(actor="ada"), DeleteSession(), EraseConversation()]),
    st.builds(
        ExpireSession,
        rule_id=st.sampled_from(["rule", "other"]),
        step=st.integers(0, 2),
        action=st.sampled_from(CleanupAction),
        seen=st.integers(1, 6),
    ),
    st.builds(
        lambda sequence: ArchiveSession(
            archive=ArchiveRef(url="memory://a", digest="0" * 64, sequence=sequence, messages=0, at=NOW)
        ),
        st.integers(1, 6),
    ),
    st.builds(RestoreSession, status=st.sampled_from(S), digest=st.just("0" * 64)),
)


CHANGES = (StateChanged, SessionClosed, SessionArchived, SessionDeleted, SessionRestored, ConversationErased)


def allowed(
    machine: StateMachine, before: SessionState, current: str, event: AnyEvent, asked: dict[str, Any]
) -> Iterator[str]:
    """Yield the states that a session may be in after an event, by the machine as it is written: no index of ours."""
    known = {one.name: one.status for one in machine.states}
    status = known.get(current) or S(current)
    match event:
        case StateChanged(reason="idle" | "message" | "activity"):
            yield from (current,) if current in known else {"active": ("idle",), "idle": ("active",)}.get(current, ())
        case StateChanged(status=S.EXPIRED) if status.is_live and asked["kind"] not in {ChangeState, UpdateSession}:
            yield "expired"
        case StateChanged(reason="expired", status=S.EXPIRED) if status.is_live:
            yield "expired"
        case StateChanged() | SessionClosed():
            for way in machine.transitions:
                silent = current == "idle" and "active" in way.sources and way.target != "idle"
                if (current in way.sources or silent) and holds(way.guard, before, event.at, asked):
                    yield way.target
        case SessionArchived() if not status.is_live:
            yield "archived"
        case SessionDeleted() | ConversationErased():
            yield "deleted"
        case SessionRestored() if status is S.ARCHIVED:
            yield event.status.value


def holds(guard: Any, before: SessionState, now: datetime, asked: dict[str, Any]) -> bool:
    if guard is None:
        return True
    who = "application" if asked["actor"] is None else "owner" if asked["actor"] == before.profile.owner else "others"
    return (
        (not guard.by or who in guard.by)
        and (not guard.types or asked["type"] in guard.types)
        and (guard.min_age is None or (now - (before.created_at or now)).total_seconds() >= guard.min_age)
        and all(before.data.get(key) == value for key, value in guard.data.items())
    )


def asking(data: InboundMessage | AnyCommand) -> dict[str, Any]:
    """Return how an input asks for a change of state."""
    why = StateTransitionType.MANUAL
    if isinstance(data, InboundMessage):
        return {"kind": type(data), "actor": None, "type": StateTransitionType.AUTOMATIC}
    if isinstance(data, ExpireSession):
        why = StateTransitionType.TIMEOUT
    if isinstance(data, ChangeState) and data.type:
        why = data.type
    return {"kind": type(data), "actor": data.actor, "type": why}


@over(machines, machines | st.just(DEFAULT), st.lists(inputs, min_size=5, max_size=25), st.integers(0, 25))
def test_no_session_takes_a_way_that_the_machine_of_the_moment_does_not_have(
    first: StateMachine, second: StateMachine, given: list[InboundMessage | AnyCommand], changed: int
) -> None:
    """The machine is changed in the middle; the log replays to the same, whatever machine there is by then."""
    state, log = SessionState.empty(CONVERSATION), list[Commit]()
    for number, data in enumerate(given):
        machine = first if number < changed else second
        now, policies = NOW + timedelta(seconds=number), (ResetPolicy(words=("/new",)),)
        one = Input(InputId(f"i{number}"), data)
        try:
            events = decide(state, one, now, policies, machine=machine)
        except Refused:
            continue
        assert events == decide(state, one, now, policies, machine=machine)
        check(machine, state, events, asking(data))
        if events:
            commit = Commit(
                conversation_id=CONVERSATION, version=state.version + 1, at=now, inputs=(one.id,), events=events
            )
            log.append(Commit.model_validate_json(commit.model_dump_json()))
            state = heads_after(state, commit)[-1]
    assert replay(SessionState.empty(CONVERSATION), log) == state


def check(machine: StateMachine, state: SessionState, events: tuple[AnyEvent, ...], asked: dict[str, Any]) -> None:
    """Follow a session's state from event to event."""
    known = {one.name: one.status for one in machine.states}

    def state_of(head: SessionState) -> str:
        return head.state if head.state in known else head.status.value

    for event in events:
        after = evolve(state, event)
        before, now = state_of(state), state_of(after)
        if isinstance(event, SessionStarted):
            assert now == "active"
        elif isinstance(event, CHANGES):
            assert now in set(allowed(machine, state, before, event, asked)), (before, now, event)
        else:
            assert now == before
        # In a state of one's own a session has that state's status, or is silent in it.
        assert known.get(now, after.status) is after.status or (known[now], after.status) == (S.ACTIVE, S.IDLE)
        state = after
