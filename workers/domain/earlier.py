"""What is left of a session that was deleted, archived, restored or erased; and of an earlier one, whose head follows.

An event of a conversation's current session may be about an earlier one of its sessions.
"""

from collections.abc import Sequence
from typing import Any, Final

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConversationErased,
    ExpiryStepTaken,
    SessionArchived,
    SessionDeleted,
    SessionRestored,
)
from agentbus.contracts.expiry import ExpiryProgress
from agentbus.contracts.ids import SessionId, conversation_of, generation_of, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.redaction import is_erased, tombstone
from agentbus.workers.domain.sync.stamped import latest

Ending = SessionDeleted | ExpiryStepTaken | SessionArchived | SessionRestored | ConversationErased
"""Events that may be about earlier sessions."""

_ENDINGS: Final = frozenset({SessionDeleted, ExpiryStepTaken, SessionArchived, SessionRestored, ConversationErased})

_EMPTY: Final[dict[str, Any]] = {
    "state": None,
    "data": {},
    "metadata": {},
    "stamps": {},
    "conflicts": (),
    "turned_down": (),
}


def after_the_end(state: SessionState, event: Ending) -> dict[str, Any]:
    """Return what `event` changes about the current session."""
    if isinstance(event, ConversationErased):
        # A log that was emptied by then does not say how many sessions there were.
        return _erased(state) | {"generation": generation_of(event.session_id)}
    return {} if earlier_sessions(event) else _changed(state, event)


def followed(head: SessionState, event: AnyEvent) -> SessionState:
    """Return an earlier session's head as `event`, which is about it, leaves it.

    What was deleted stays so unless it is brought back from a backup, and what was erased stays so for good.
    """
    if isinstance(event, ConversationErased):
        return head.model_copy(update=_erased(head))
    stays = is_erased(head) or not isinstance(event, SessionRestored)
    if (head.status is SessionStatus.DELETED and stays) or not isinstance(event, Ending):
        return head
    return head.model_copy(update=_changed(head, event))


def concerns_earlier(commit: Commit) -> bool:
    """Whether the heads of earlier sessions may have to follow `commit`."""
    return any(type(event) in _ENDINGS for event in commit.events)


def earlier_sessions(event: AnyEvent) -> Sequence[SessionId]:
    """Return the earlier sessions of the conversation that `event` is about."""
    match event:
        case SessionDeleted(deleted=named) | SessionArchived(archived=named) | SessionRestored(restored=named):
            return () if named == event.session_id else (named,)
        case ExpiryStepTaken(earlier=earlier):
            return () if earlier is None else (earlier,)
        case ConversationErased():
            conversation, last = conversation_of(event.session_id), generation_of(event.session_id)
            return [session_id_for(conversation, generation) for generation in range(1, last)]
        case _:
            return ()


def _changed(
    session: SessionState, event: SessionDeleted | ExpiryStepTaken | SessionArchived | SessionRestored
) -> dict[str, Any]:
    match event:
        case SessionDeleted():
            return {**_EMPTY, "status": SessionStatus.DELETED}
        case ExpiryStepTaken():
            progress = ExpiryProgress(
                rule_id=event.rule_id,
                step=event.step,
                action=event.action,
                at=event.at,
                messages=session.message_count,
            )
            return {"expiry": progress, "last_step": progress}
        case SessionArchived():
            return {**_EMPTY, "status": SessionStatus.ARCHIVED, "archive": event.archive}
        case SessionRestored():
            return _restored(session, event)


def _restored(session: SessionState, event: SessionRestored) -> dict[str, Any]:
    """Coming back to life is activity: otherwise the rule that ended the session would at once do so again."""
    active = {"last_activity": event.at} if event.status.is_live else {}
    names = ("status", "data", "metadata", "stamps", "conflicts", "turned_down")
    back = {name: getattr(event, name) for name in names}
    clock = latest(session.clock, event.stamps.values())
    gone = dict.fromkeys(("state", "archive", "expiry", "last_step"))
    return {**back, **active, **gone, "clock": clock, "restored": True}


def _erased(session: SessionState) -> dict[str, Any]:
    """Return what is left of an erased session. Inputs that were parked are gone with it: nothing waits for them."""
    left = tombstone(session)
    same = {name: getattr(left, name) for name in type(left).model_fields}
    return {**same, **_EMPTY, "blocked_by": None, "waiting": (), "replies": ()}
