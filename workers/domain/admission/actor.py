"""Whether a command may be carried out for the user whom it is done for."""

from agentbus.contracts.commands import AnyCommand, CreateSession
from agentbus.contracts.errors import AccessDenied
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.domain.draft import NO_HEADS, Heads
from agentbus.workers.domain.rules import Earlier, Needs, Rule, rule_of


def check_access(state: SessionState, command: AnyCommand, earlier: Heads = NO_HEADS) -> None:
    """Raise AccessDenied unless the user whom `command` is done for may do it, or it is done for no user.

    `earlier`: the head of the earlier session that it is about. Without it nobody may.
    """
    if command.actor is None:
        return
    if isinstance(command, CreateSession):
        # A new session has the owner that it names; one that is live may be superseded by its own owner alone.
        if command.profile.owner not in (None, command.actor):
            raise AccessDenied(DENIED)
        if not state.is_live:
            return
    rule = rule_of(command)
    session: SessionState | None = state
    if rule.earlier is Earlier.ITSELF and command.session_id not in (None, _current(state)):
        session = earlier.get(command.session_id)  # whose it was is not always whose its conversation is
    if session is None or not session.generation:
        raise AccessDenied(DENIED)
    if session.status is SessionStatus.DELETED and not _outlives(rule):
        raise AccessDenied(DENIED)
    if not may(session, command.actor, Right.OWN if rule.ends(session.profile, command) else rule.right):
        raise AccessDenied(DENIED)


def _outlives(rule: Rule) -> bool:
    """Whether a conversation's owner may do it once the latest session is deleted: earlier ones may still be there."""
    return rule.earlier is Earlier.CONVERSATION and rule.needs is Needs.ANY


def _current(state: SessionState) -> SessionId | None:
    return state.session_id if state.generation else None
