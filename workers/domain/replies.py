"""The replies that a conversation's head remembers: those that are open, and the last that were sent."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import AnyCommand, SendReply
from agentbus.contracts.errors import RepliesWaiting
from agentbus.contracts.events import (
    ReplyChangeRequested,
    ReplyEdited,
    ReplyEvent,
    ReplyFailed,
    ReplyReopened,
    ReplyRequested,
    ReplySent,
    ReplyUnchanged,
    ReplyUnknown,
)
from agentbus.contracts.ids import MessageKey, SessionId
from agentbus.contracts.messages import Role, SessionMessage
from agentbus.contracts.replies import (
    MAX_CHANGEABLE,
    MAX_OPEN_REPLIES,
    SENT_REPLIES,
    OutgoingReply,
    ReplyId,
    ReplyState,
)
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.draft import Draft

_SHOWN: Final = frozenset({Platform.API, Platform.WEB})


def open_replies(state: SessionState) -> tuple[OutgoingReply, ...]:
    """Return the replies to which something is still to happen, oldest first."""
    return tuple(one for one in state.replies if one.state.is_open)


def waiting_replies(state: SessionState) -> tuple[OutgoingReply, ...]:
    """Return the replies of which something is to be sent, oldest first."""
    return tuple(one for one in state.replies if one.state in {ReplyState.WAITING, ReplyState.CHANGED})


def find_reply(state: SessionState, reply: ReplyId | None, message_ids: Sequence[str] = ()) -> OutgoingReply | None:
    """Return a reply by its id, or else by what the platform calls its last message; None if none is remembered."""
    if reply is not None:
        return next((one for one in state.replies if one.reply_id == reply), None)
    return next((one for one in state.replies if one.message_id in message_ids), None)


def destination(message: SessionMessage) -> Address | None:
    """Return where a message is to be sent; None if it goes nowhere.

    Programs that speak to AgentBus itself, and web pages, are shown what is announced: there is no channel to them.
    """
    address = message.address
    goes = message.role is Role.ASSISTANT and address is not None and is_sent_to(address)
    return address if goes else None


def is_sent_to(address: Address) -> bool:
    """Whether there is a channel to an address, and not somebody who reads what is announced."""
    return address.platform not in _SHOWN


def begins_session(state: SessionState, command: AnyCommand) -> bool:
    """Whether a command speaks to a chat first: it names an address and no session, and none is live there."""
    names_chat = isinstance(command, SendReply) and command.session_id is None and command.address is not None
    return names_chat and not state.is_live


def check_room(state: SessionState) -> None:
    """Raise RepliesWaiting if no further reply may be open."""
    if len(open_replies(state)) >= MAX_OPEN_REPLIES:
        raise RepliesWaiting(
            f"{MAX_OPEN_REPLIES} replies to conversation {state.conversation_id} wait to be sent or to be resolved, "
            "the limit: is an outbound worker running, with the accounts that they go by? "
            "`agentbus replies list` shows them"
        )


def change_reply(draft: Draft, state: SessionState, message: MessageKey) -> None:
    """Ask for a reply to be changed at its platform that says something else now, if it may be there already."""
    found = next((one for one in state.replies if one.message == message), None)
    if found is not None and found.state is not ReplyState.UNKNOWN:
        draft.add(ReplyChangeRequested, reply=found.reply_id)


def give_up(draft: Draft, state: SessionState, session: SessionId, reason: str) -> None:
    """Say that the open replies of a session will not be sent: what they say is about to go."""
    for one in open_replies(state):
        if one.session_id == session:
            draft.add(ReplyFailed, reply=one.reply_id, reason=reason)


def after_reply(state: SessionState, event: ReplyRequested | ReplyEvent) -> dict[str, Any]:
    """Return what a reply that was asked for changes, or news of one."""
    return _after_request(state, event) if isinstance(event, ReplyRequested) else _after_news(state, event)


def _after_request(state: SessionState, event: ReplyRequested) -> dict[str, Any]:
    # The commit that holds it is the next one.
    asked = OutgoingReply(
        session_id=event.session_id,
        sequence=event.sequence,
        version=state.version + 1,
        at=event.at,
        platform=event.to.platform,
        lineage=event.lineage,
        # What is reacted to is somebody else's message: if that changes, the reaction does not.
        message=event.message if event.reacts_to is None else None,
    )
    return {"replies": (*state.replies, asked)}


def _after_news(state: SessionState, event: ReplyEvent) -> dict[str, Any]:
    found = find_reply(state, event.reply)
    if found is None:
        return {}
    match event:
        case ReplyFailed():
            left: Collection[OutgoingReply] = tuple(one for one in state.replies if one is not found)
        case ReplySent() if found.message is None and not event.message_ids:
            # A reaction, or what nobody knows the id of: nothing that is told later is about it.
            left = tuple(one for one in state.replies if one is not found)
        case ReplySent():
            left = _few_sent(_replaced(state, found, _after_sending(found, event)))
        case ReplyChangeRequested():
            changed = ReplyState.CHANGED if found.state is ReplyState.SENT else found.state
            left = _replaced(state, found, {"state": changed, "changed_at": state.version + 1})
        case ReplyEdited() | ReplyUnchanged() if found.state is ReplyState.CHANGED:
            left = _few_sent(_replaced(state, found, _settled(found, event.seen)))
        case ReplyUnknown():
            left = _replaced(state, found, {"state": ReplyState.UNKNOWN})
        case ReplyReopened():
            left = _replaced(state, found, {"state": ReplyState.WAITING, "again": found.again + 1})
        case _:
            return {}
    return {"replies": left}


def _after_sending(found: OutgoingReply, event: ReplySent) -> dict[str, Any]:
    ids = event.message_ids
    if not 0 < len(ids) <= MAX_CHANGEABLE:  # nobody knows what to change, or it is too much
        return {"state": ReplyState.SENT, "message_id": ids[-1] if ids else None, "message": None}
    return {"message_id": ids[-1], "earlier_ids": ids[:-1], **_settled(found, event.seen)}


def _settled(found: OutgoingReply, seen: int | None) -> dict[str, Any]:
    """Return what is left to do for a reply of which the platform shows what it said in a version."""
    newer = found.changed_at is not None and (seen is None or seen < found.changed_at)
    return {"state": ReplyState.CHANGED} if newer else {"state": ReplyState.SENT, "changed_at": None}


def without_session(state: SessionState, session: SessionId) -> tuple[OutgoingReply, ...]:
    """Return the replies that are not of a session: what that one said is gone."""
    return tuple(one for one in state.replies if one.session_id != session)


def _replaced(state: SessionState, found: OutgoingReply, news: dict[str, Any]) -> tuple[OutgoingReply, ...]:
    return tuple(one.model_copy(update=news) if one is found else one for one in state.replies)


def _few_sent(replies: tuple[OutgoingReply, ...]) -> tuple[OutgoingReply, ...]:
    """Return replies without those that were sent long ago."""
    sent = [one for one in replies if one.state is ReplyState.SENT]
    forgotten = {one.reply_id for one in sent[:-SENT_REPLIES]}
    return tuple(one for one in replies if one.reply_id not in forgotten)
