"""Blocking: whether a conversation goes on behind an input that failed for good."""

from datetime import datetime

from agentbus.contracts.commands import AnyCommand
from agentbus.contracts.errors import ConversationBlocked
from agentbus.contracts.events import AnyEvent, SessionBlocked
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.session import FAILURE_POLICY_KEY, FailurePolicy, SessionState, SessionStatus
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.line import has_place, is_next
from agentbus.workers.domain.rules import rule_of


def check_unblocked(state: SessionState, input_id: InputId, data: InboundMessage | AnyCommand) -> None:
    """Raise ConversationBlocked if the conversation waits for another input than this one."""
    if state.blocked_by is not None and not is_next(state, input_id) and not is_beside(data):
        raise ConversationBlocked(
            f"conversation {state.conversation_id} waits for input {state.blocked_by}, which was parked; "
            "replay the conversation, or unblock the session"
        )


def is_beside(data: InboundMessage | AnyCommand) -> bool:
    """Whether it makes no difference when it happens, seen from those behind it in the conversation."""
    return not isinstance(data, InboundMessage) and rule_of(data).beside


def block(
    state: SessionState,
    input_id: InputId,
    code: str,
    now: datetime,
    *,
    default: FailurePolicy,
    lineage: int | None = None,
) -> tuple[AnyEvent, ...]:
    """Return what the failure of an input for good causes: the block of its conversation, if its policy is that.

    A conversation without a session, or with a deleted one, can't be blocked: nothing could come out of order.
    """
    nothing_to_block = not state.generation or state.status is SessionStatus.DELETED
    if policy_of(state, default) is FailurePolicy.SKIP or state.blocked_by or nothing_to_block:
        return ()
    draft = Draft(state, input_id, now, None, lineage=lineage)
    draft.add(SessionBlocked, code=code)
    return tuple(draft.events)


def hold(state: SessionState, input_id: InputId, now: datetime, *, lineage: int | None = None) -> tuple[AnyEvent, ...]:
    """Return what the parking of an input behind a block causes: its place at the end of the line, if it has none."""
    if has_place(state, input_id):
        return ()
    draft = Draft(state, input_id, now, None, lineage=lineage)
    draft.add(SessionBlocked, code=ConversationBlocked.code)
    return tuple(draft.events)


def policy_of(state: SessionState, default: FailurePolicy) -> FailurePolicy:
    """Return the failure policy that a session's metadata sets, else `default`."""
    chosen = state.metadata.get(FAILURE_POLICY_KEY)
    return next((policy for policy in FailurePolicy if policy == chosen), default)
