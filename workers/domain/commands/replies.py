"""What the commands cause that have a reply sent, and say what became of it."""

from typing import assert_never

from agentbus.contracts.commands import React, ReportReply, ResolveReply, SendReply
from agentbus.contracts.errors import ReplyNotFound
from agentbus.contracts.events import (
    ReactionChanged,
    ReplyDelivered,
    ReplyEdited,
    ReplyFailed,
    ReplyRead,
    ReplyReopened,
    ReplyRequested,
    ReplySent,
    ReplyUnchanged,
    ReplyUnknown,
    StartReason,
)
from agentbus.contracts.messages import Role, message_key_for
from agentbus.contracts.profile import Profile
from agentbus.contracts.replies import OutgoingReply, ReplyOutcome, ReplyResolution, ReplyState
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.commands.content import said_now
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.replies import begins_session, check_room, destination, find_reply, is_sent_to


def send_reply(draft: Draft, state: SessionState, command: SendReply) -> None:
    """Append a message, and ask for it to be sent if it goes anywhere. Raises RepliesWaiting.

    To a chat in which no session is live it begins one, as a message from there would.
    """
    where = command.address
    asked = command.message
    if where is not None and begins_session(state, command):
        draft.start(StartReason.MESSAGE, where, profile=Profile(owner=where.user))
        asked = asked if asked.address else asked.model_copy(update={"address": where})
    message = said_now(draft, state, asked, draft.cause)
    to = destination(message)
    if to is not None:
        check_room(state)
    draft.append(message)
    if to is not None:
        draft.add(ReplyRequested, message=message.key, to=to)


def react(draft: Draft, state: SessionState, command: React) -> None:
    """Say that the bot reacts to a message, and ask for it to be sent if it goes anywhere. Raises RepliesWaiting."""
    target = message_key_for(command.where, command.message_id)
    goes = is_sent_to(command.where)
    if goes:
        check_room(state)
    draft.add(ReactionChanged, target=target, user=Role.ASSISTANT.value, reaction=command.reaction)
    if goes:
        draft.add(ReplyRequested, message=target, to=command.where, reacts_to=command.message_id)


def report_reply(draft: Draft, state: SessionState, command: ReportReply) -> None:
    """Say what became of a reply. Nothing happens if it is forgotten by now, or that is known."""
    reply = find_reply(state, command.reply, command.message_ids)
    if reply is None:
        return
    match command.outcome:
        case ReplyOutcome.SENT:
            _sent(draft, reply, command)
        case ReplyOutcome.FAILED:
            draft.add(ReplyFailed, reply=reply.reply_id, reason=command.reason)
        case ReplyOutcome.UNKNOWN:
            if reply.state is ReplyState.WAITING:
                draft.add(ReplyUnknown, reply=reply.reply_id, reason=command.reason)
        case ReplyOutcome.DELIVERED:
            _sent(draft, reply, command)
            draft.add(ReplyDelivered, reply=reply.reply_id, told_at=command.told_at)
        case ReplyOutcome.READ:
            _sent(draft, reply, command)
            draft.add(ReplyRead, reply=reply.reply_id, told_at=command.told_at)
        case ReplyOutcome.EDITED:
            message_id = command.message_ids[-1] if command.message_ids else None
            draft.add(ReplyEdited, reply=reply.reply_id, message_id=message_id, seen=command.seen)
        case ReplyOutcome.UNCHANGED:
            draft.add(ReplyUnchanged, reply=reply.reply_id, reason=command.reason, seen=command.seen)
        case _:
            assert_never(command.outcome)


def resolve_reply(draft: Draft, state: SessionState, command: ResolveReply) -> None:
    """Carry out what somebody decided about a reply whose outcome is unknown. Raises ReplyNotFound for any other."""
    reply = find_reply(state, command.reply)
    if reply is None or reply.state is not ReplyState.UNKNOWN:
        why = f"it is {reply.state}" if reply else "there is none that is open, or was sent lately"
        raise ReplyNotFound(f"reply {command.reply} is not one of unknown outcome: {why}")
    match command.resolution:
        case ReplyResolution.SENT:
            draft.add(ReplySent, reply=reply.reply_id, maybe_doubled=reply.again > 0, resolved=True)
        case ReplyResolution.RESEND:
            draft.add(ReplyReopened, reply=reply.reply_id)
        case ReplyResolution.FAILED:
            reason = command.reason or "given up"
            draft.add(ReplyFailed, reply=reply.reply_id, reason=reason, resolved=True)
        case _:
            assert_never(command.resolution)


def _sent(draft: Draft, reply: OutgoingReply, command: ReportReply) -> None:
    """Say that the platform has a reply, unless that is known: what was delivered was sent."""
    if reply.state.is_open:
        doubled = command.maybe_doubled or reply.again > 0
        ids, seen = command.message_ids, command.seen
        draft.add(ReplySent, reply=reply.reply_id, message_ids=ids, maybe_doubled=doubled, seen=seen)
