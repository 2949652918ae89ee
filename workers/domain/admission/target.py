"""Which session a command is for, and whether that session takes it."""

from agentbus.contracts.commands import AnyCommand, CreateSession
from agentbus.contracts.errors import LockLost, SessionNotCurrent, SessionNotFound, TargetNotFound
from agentbus.contracts.ids import SessionId, conversation_of, generation_of
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.redaction import is_erased
from agentbus.workers.domain.replies import begins_session
from agentbus.workers.domain.rules import Earlier, Needs, rule_of


def check_target(state: SessionState, command: AnyCommand) -> None:
    """Hold a command to the session it names. Raises SessionNotFound, SessionNotCurrent."""
    needs = rule_of(command).needs
    if needs is Needs.NOTHING or begins_session(state, command):
        return
    if not state.generation:
        raise SessionNotFound(f"conversation {state.conversation_id} has no session")
    if command.session_id and command.session_id != state.session_id:
        _check_earlier(state, command)
        return
    if state.status is SessionStatus.DELETED and needs > Needs.ANY:
        raise SessionNotFound(f"session {state.session_id} was deleted")
    if needs is Needs.LIVE and not state.is_live:
        raise SessionNotFound(f"session {state.session_id} is {state.status}; create or reset it to go on")


def check_target_there(state: SessionState, target: str) -> None:
    """Raise TargetNotFound if there is nothing in the conversation that an edit, deletion or reaction may be about.

    Whether it holds that very message is not asked: it may come later, and what is about none shows nowhere.
    """
    if not state.generation or is_erased(state):
        raise TargetNotFound(
            f"conversation {state.conversation_id} has no message {target}: "
            "target_user is to say whose it is, unless it is theirs who sent this"
        )


def about_another(state: SessionState, data: InboundMessage | AnyCommand) -> SessionId | None:
    """Return the session whose head is needed to decide an input besides the current one: an earlier one, a parent."""
    if isinstance(data, CreateSession):
        return data.profile.parent_id
    if isinstance(data, InboundMessage) or rule_of(data).earlier is not Earlier.ITSELF:
        return None
    if data.session_id is None or not state.generation:
        return None
    same = conversation_of(data.session_id) == state.conversation_id
    return data.session_id if same and generation_of(data.session_id) < state.generation else None


def check_fence(state: SessionState, command: AnyCommand) -> None:
    """Raise LockLost if somebody else has held the session's lock since the sender of `command` got it."""
    if command.fence is not None and command.fence < state.fence:
        raise LockLost(f"lock token {command.fence} is older than {state.fence}: somebody else has held the lock since")


def _check_earlier(state: SessionState, command: AnyCommand) -> None:
    """Refuse what names a session that is not there, or an earlier one without being meant for such."""
    named = command.session_id
    if named is None or conversation_of(named) != state.conversation_id or generation_of(named) > state.generation:
        raise SessionNotFound(f"there is no session {named} in conversation {state.conversation_id}")
    if rule_of(command).earlier is Earlier.REFUSED:
        raise SessionNotCurrent(f"{command.session_id} is not the conversation's current session ({state.session_id})")
