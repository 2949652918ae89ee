"""What leaves the log with a session that is in the archive, and what stays: what its events say of anything else.

An event belongs to the session in which it happened, and may be about another: who resets a chat and then takes back
what they wrote before does so in the new session. It is the earlier session that lacks something if such an event goes.
"""

from collections.abc import Collection

from agentbus.contracts.events import Amendment, AnyEvent, Commit, MessageAppended, MessageDeleted, ReplyEvent
from agentbus.contracts.ids import MessageKey, SessionId
from agentbus.contracts.replies import session_of_reply
from agentbus.workers.domain.earlier import earlier_sessions


def stripped(commit: Commit, session: SessionId, last: int, elsewhere: Collection[MessageKey]) -> Commit:
    """Return a commit without a session's events up to `last`, but for those that stay. Idempotent.

    `elsewhere`: the messages that the session's events amend, and that are not its own.
    """
    left = tuple(
        event
        for event in commit.events
        if event.session_id != session or event.sequence > last or _stays(event, elsewhere)
    )
    return commit if len(left) == len(commit.events) else commit.model_copy(update={"events": left})


def messages_in(commit: Commit) -> frozenset[MessageKey]:
    """Return the messages that were appended in a commit."""
    return frozenset(event.message.key for event in commit.events if isinstance(event, MessageAppended))


def foreign_targets(own: Collection[Commit]) -> set[MessageKey]:
    """Return the messages that a session's events amend and that are not its own; `own`: all commits, with these."""
    return {key for commit in own for key in commit.targets} - {key for commit in own for key in messages_in(commit)}


def _stays(event: AnyEvent, elsewhere: Collection[MessageKey]) -> bool:
    """Whether an event is about something outside its session.

    A deletion always counts as such: it says nothing but whose message is gone, and an id that somebody gave to two
    messages names both. That an earlier session's reply was sent is not forgotten either: it would be sent again.
    """
    if isinstance(event, MessageDeleted):
        return True
    if isinstance(event, ReplyEvent):
        return session_of_reply(event.reply) != event.session_id
    return event.target in elsewhere if isinstance(event, Amendment) else bool(earlier_sessions(event))
