"""What was said already: a message with an id is in its session once, whichever commands bring it.

Its key stands in the log among the inputs of the commit that appended it, so that no other commit can hold it: the one
that is too late, by whichever process, is decided again, without what was said before.
"""

from collections.abc import Container, Iterable, Mapping

from agentbus.contracts.commands import AnyCommand, AppendMessage, UpdateSession
from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, said_key
from agentbus.contracts.session import SessionState


def keys_said(state: SessionState, data: InboundMessage | AnyCommand) -> tuple[InputId, ...]:
    """Return the keys of the messages with an id that a command brings; a channel's messages have their own."""
    match data:
        case AppendMessage():
            messages: tuple[OutboundMessage, ...] = (data.message,)
        case UpdateSession():
            messages = data.messages
        case _:
            return ()
    session = data.session_id or (state.session_id if state.generation else None)
    return tuple(said_key(session, one.message_id) for one in messages if session and one.message_id)


def unsaid(state: SessionState, command: UpdateSession, said: Container[InputId]) -> UpdateSession:
    """Return a command without the messages that were said before, or that it brings twice."""
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


def events_said(keys: Iterable[InputId], events: Iterable[AnyEvent]) -> Mapping[InputId, tuple[AnyEvent, ...]]:
    """Return, for those of `keys` whose messages are among `events`, what appended them."""
    by_key = {
        said_key(event.session_id, event.message.message_id): (event,)
        for event in events
        if isinstance(event, MessageAppended)
    }
    return {key: by_key[key] for key in keys if key in by_key}
