"""What was said already: a message with an id is in its session once, whichever commands bring it.

Its key stands in the log among the inputs of the commit that appended it, so that no other commit can hold it: the one
that is too late, by whichever process, is decided again, without what was said before.
"""

from collections.abc import Collection, Container, Iterable, Mapping

from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    RestoreCommit,
    RestoreContent,
    SendReply,
    UpdateSession,
)
from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.ids import InputId, SessionId, session_id_for
from agentbus.contracts.messages import InboundMessage, OutboundMessage, Role, inbound_ids, said_key
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.replies import begins_session


def keys_said(state: SessionState, data: InboundMessage | AnyCommand) -> tuple[InputId, ...]:
    """Return the keys of the messages with an id that a command brings; a channel's messages have their own."""
    match data:
        case InboundMessage():
            return ()
        case AppendMessage() | SendReply():
            messages: tuple[OutboundMessage, ...] = (data.message,)
        case UpdateSession():
            messages = data.messages
        case RestoreContent():
            return tuple(key for event in data.messages for key in _keys_of(event, _session_of(state, data)))
        case RestoreCommit():
            return data.commit.inputs
        case _:
            return ()
    session = data.session_id or (state.session_id if state.generation else None)
    if begins_session(state, data):
        session = session_id_for(state.conversation_id, state.generation + 1)
    return tuple(said_key(session, one.message_id) for one in messages if session and one.message_id)


def _session_of(state: SessionState, data: RestoreContent) -> SessionId | None:
    return data.session_id or (state.session_id if state.generation else None)


def _keys_of(event: MessageAppended, session: SessionId | None) -> tuple[InputId, ...]:
    """Return what a message may be known by: as a command brings it, and as a channel does, before or after an edit."""
    message = event.message
    found = (said_key(session, message.message_id),) if session else ()
    if message.role is not Role.USER or message.address is None:
        return found
    return (*found, *inbound_ids(message.address, message.message_id))


def unsaid(
    state: SessionState, command: UpdateSession | RestoreContent, said: Container[InputId]
) -> UpdateSession | RestoreContent:
    """Return a command without the messages that were said before, or that it brings twice.

    What is brought back in the place of all that there is comes whole.
    """
    if isinstance(command, RestoreContent):
        session = _session_of(state, command)
        new = tuple(one for one in command.messages if all(key not in said for key in _keys_of(one, session)))
        return command if command.replace else command.model_copy(update={"messages": new})
    if not any(message.message_id for message in command.messages) or not state.generation:
        return command
    session = command.session_id or state.session_id
    left: dict[object, OutboundMessage] = {}
    for number, message in enumerate(command.messages):
        key = said_key(session, message.message_id) if message.message_id else None
        if key is None or key not in said:
            left.setdefault(key or number, message)
    same = len(left) == len(command.messages)
    return command if same else command.model_copy(update={"messages": tuple(left.values())})


def events_said(keys: Collection[InputId], events: Iterable[AnyEvent]) -> Mapping[InputId, tuple[AnyEvent, ...]]:
    """Return, for those of `keys` whose messages are among `events`, what appended them."""
    if not keys:
        return {}
    by_key = {
        key: (event,)
        for event in events
        if isinstance(event, MessageAppended)
        for key in (
            _keys_of(event, event.session_id)
            if event.restored
            else (said_key(event.session_id, event.message.message_id),)
        )
    }
    return {key: by_key[key] for key in keys if key in by_key}
