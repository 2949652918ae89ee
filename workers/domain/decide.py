"""The first half of the session's state machine: `decide` what an input causes.

Pure, no I/O, no clock: the caller says what time it is. Everything that ever changes a session goes through
`decide`; there is no second way in. (The shape is Chassaing's "functional event sourcing decider".)
"""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from agentbus.contracts.base import constructed
from agentbus.contracts.commands import AnyCommand, EraseConversation, RestoreCommit
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import (
    AnyEvent,
    CloseReason,
    FenceRaised,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    SessionUnblocked,
    StartReason,
)
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.machine import StateMachine, StateTransition
from agentbus.contracts.messages import (
    DeleteContent,
    EditContent,
    InboundMessage,
    MembershipContent,
    ReactionContent,
    Role,
    SessionMessage,
    Spoken,
    message_key_for,
)
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType
from agentbus.workers.domain.admission.actor import check_access
from agentbus.workers.domain.admission.blocking import check_unblocked
from agentbus.workers.domain.admission.target import check_fence, check_target, check_target_there
from agentbus.workers.domain.checks.limits import check_sent_at
from agentbus.workers.domain.checks.states import DEFAULT, Asked, is_open, with_status
from agentbus.workers.domain.deadlines import expire, has_expired, lasting
from agentbus.workers.domain.draft import NO_HEADS, Draft, Heads
from agentbus.workers.domain.evolve import evolve
from agentbus.workers.domain.line import is_next
from agentbus.workers.domain.redaction import digest_input
from agentbus.workers.domain.resets import resets_now
from agentbus.workers.domain.rules import rule_of


def decide(
    state: SessionState,
    given: Input,
    now: datetime,
    resets: Sequence[ResetPolicy] = (),
    earlier: Heads = NO_HEADS,
    *,
    machine: StateMachine = DEFAULT,
    lineage: int | None = None,
) -> tuple[AnyEvent, ...]:
    """Return the events that `given` causes in `state`, in order; none if it was applied already.

    The events of a reset belong to two sessions: the one that ends and the one that begins. What is said begins a
    session where none is live; an edit, a deletion or a reaction belongs to the one that there was last. `earlier`
    holds the head of the earlier session that a command is about, or of the parent that it names; `machine` says which
    changes of state may be asked for, `lineage` after which restore of the store it happens.
    Raises Refused (a command against the rules, TargetNotFound) or InvalidInput (FutureTimestamp).
    """
    if given.id in state.recent_inputs or (state.erased and digest_input(given.id) in state.recent_inputs):
        return ()
    data = with_status(given.data, machine)
    actor, by = (None, None) if isinstance(data, InboundMessage) else (data.actor, data.by)
    draft = Draft(
        state,
        given.id,
        now,
        data.address or state.address,
        actor=actor,
        by=by,
        earlier=earlier,
        machine=machine,
        lineage=lineage,
    )
    if has_expired(state, now) and not isinstance(data, EraseConversation | RestoreCommit):
        expire(draft, state)
        state = evolve(state, draft.events[-1])
    if not isinstance(data, InboundMessage):
        check_access(state, data, earlier)
    check_unblocked(state, given.id, data)
    if is_next(state, given.id):
        draft.add(SessionUnblocked, waiting=len(state.waiting))
    if isinstance(data, InboundMessage):
        check_sent_at(data, now)
        _receive(draft, state, data, resets)
    else:
        check_target(state, data)
        check_fence(state, data)
        _carry_out(draft, state, data)
        if data.fence is not None and data.fence > state.fence:
            draft.add(FenceRaised, fence=data.fence)
    return tuple(draft.events)


def _receive(draft: Draft, state: SessionState, message: InboundMessage, resets: Sequence[ResetPolicy]) -> None:
    content = message.content
    if isinstance(content, Spoken):
        _hear(draft, state, message, content, resets)
        return
    check_target_there(state, content.target)
    if state.status is SessionStatus.IDLE:
        _activate(draft, state, "message")
    target = message_key_for(message.address, content.target)
    match content:
        case EditContent():
            draft.add(MessageEdited, target=target, text=content.text, attachments=content.attachments)
        case DeleteContent():
            draft.add(MessageDeleted, target=target)
        case ReactionContent(reaction=reaction, removed=removed):
            draft.add(ReactionChanged, target=target, user=message.address.user, reaction=reaction, removed=removed)
        case _:
            assert_never(content)


def _hear(
    draft: Draft,
    state: SessionState,
    message: InboundMessage,
    content: Spoken,
    resets: Sequence[ResetPolicy],
) -> None:
    """Take up something said: in the session that there is, or in a new one."""
    if not state.is_live:
        draft.start(StartReason.MESSAGE, message.address, profile=Profile(owner=message.address.user))
    elif resets and (reset := resets_now(resets, state, message, draft.at)) and (way := _way_out(draft, state)):
        draft.close(state, way, CloseReason.RESET, reset)
        draft.start(StartReason.RESET, message.address, profile=lasting(state.profile, draft.at))
    elif state.status is SessionStatus.IDLE:
        _activate(draft, state, "message")
    said = constructed(
        SessionMessage,
        key=message.key,
        message_id=message.message_id,
        role=Role.SYSTEM if isinstance(content, MembershipContent) else Role.USER,
        address=message.address,
        author=message.sender_name,
        sent_at=message.sent_at,
        content=content,
    )
    draft.append(said)


def _carry_out(draft: Draft, state: SessionState, command: AnyCommand) -> None:
    """Add what a command causes, once it is known that it may be carried out. Raises Refused."""
    rule = rule_of(command)
    if state.status is SessionStatus.IDLE and rule.wakes(command):
        _activate(draft, state, "activity")
    rule.handler(draft, state, command)


def _activate(draft: Draft, state: SessionState, reason: str) -> None:
    draft.move(state, SessionStatus.ACTIVE, reason, own=state.state)


def _way_out(draft: Draft, state: SessionState) -> StateTransition | None:
    """Return the way by which a policy resets a session; None: the machine has none that is open, and it goes on."""
    return is_open(draft.machine, state, SessionStatus.CLOSED, Asked(now=draft.at, type=StateTransitionType.AUTOMATIC))
