"""What one turn plans when its inputs end a session and begin the next one."""

from contracts.commands import AnyCommand, CloseSession
from contracts.ids import InputId, Partition
from contracts.messages import InboundMessage
from contracts.session import FailurePolicy, SessionState, SessionStatus
from tests.conversations import CONVERSATION, NOW, message
from tests.deliveries import Handed
from workers.domain.decide import Input
from workers.session.lanes import Waiting
from workers.session.lease import Lease
from workers.session.plan import Plan, Terms, plan_turn


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
