"""What one turn plans when its inputs end a session and begin the next one."""

from agentbus.contracts.commands import AnyCommand, CloseSession, CreateSession, SetData, ShareSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.profile import Permission, Profile
from agentbus.contracts.session import FailurePolicy, SessionState, SessionStatus
from agentbus.workers.session.lanes import Lease, Waiting
from agentbus.workers.session.plan import Plan, Terms, plan_turn
from tests.harness.conversations import CONVERSATION, NOW, message
from tests.harness.deliveries import Handed


def planned(state: SessionState, *inputs: InboundMessage | AnyCommand) -> Plan:
    lease = Lease(Partition(0))
    waiting = [Waiting(Handed(), Input(InputId(f"{number}"), data), lease) for number, data in enumerate(inputs)]
    return plan_turn(state, waiting, {}, Terms(now=NOW, epoch=1, on_failure=FailurePolicy.SKIP))


def test_the_head_of_a_session_that_ends_within_a_turn_is_saved_beside_its_successors() -> None:
    plan = planned(SessionState.empty(CONVERSATION), message(1), CloseSession(), message(2))
    first, second = plan.heads
    assert (first.generation, first.status, first.message_count) == (1, SessionStatus.CLOSED, 1)
    assert (second.generation, second.status, second.message_count) == (2, SessionStatus.ACTIVE, 1)
    assert first.version == second.version == 1


def test_a_session_that_had_ended_before_is_not_saved_again() -> None:
    ended = planned(SessionState.empty(CONVERSATION), message(1), CloseSession()).heads[-1]
    lease = Lease(Partition(0))
    waiting = [Waiting(Handed(), Input(InputId("later"), message(2)), lease)]
    plan = plan_turn(ended, waiting, {}, Terms(now=NOW, epoch=1, on_failure=FailurePolicy.SKIP))
    assert [head.generation for head in plan.heads] == [2]


def test_a_repeat_is_answered_to_whoever_gave_it_and_to_who_may_do_it_now() -> None:
    owner = Profile(owner="ann", shares={"bob": Permission.WRITE})
    state = planned(SessionState.empty(CONVERSATION), CreateSession(profile=owner)).after
    lease = Lease(Partition(0))

    def asked(actor: str | None) -> Waiting:
        command = SetData(session_id=state.session_id, values={"a": 1}, actor=actor)
        return Waiting(Handed(), Input(InputId("once"), command), lease)

    terms = Terms(now=NOW, epoch=1, on_failure=FailurePolicy.SKIP)
    first = plan_turn(state, [asked("bob"), asked("bob"), asked("eve"), asked("ann"), asked(None)], {}, terms)
    assert first.commit is not None
    revoked = planned(first.after, ShareSession(user="bob", actor="ann")).after
    again = plan_turn(
        revoked, [asked(who) for who in ("bob", "eve", "ann", None)], {InputId("once"): first.commit}, terms
    )

    assert [type(answer.failure.error) if answer.failure else answer.repeated for answer in first.answers] == [
        False, True, AccessDenied, True, True,
    ]  # fmt: skip
    assert [type(answer.failure.error) if answer.failure else len(answer.events) for answer in again.answers] == [
        1, AccessDenied, 1, 1,
    ]  # fmt: skip
    assert again.commit is None
