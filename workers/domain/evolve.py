"""The second half of the session's state machine: `evolve` the state by what happened."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

from pydantic import JsonValue

from agentbus.contracts.base import replaced
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import (
    Amendment,
    AnyEvent,
    Commit,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    ConversationErased,
    DataSet,
    ExpiryStepTaken,
    FenceRaised,
    HistoryTrimmed,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    ReactionChanged,
    ReplyEvent,
    ReplyRequested,
    SessionArchived,
    SessionBlocked,
    SessionClosed,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    SessionUnblocked,
    StateChanged,
)
from agentbus.contracts.ids import generation_of
from agentbus.contracts.messages import Role
from agentbus.contracts.session import RECENT_INPUTS, SessionState, SessionStatus
from agentbus.workers.domain.earlier import after_the_end
from agentbus.workers.domain.line import after_line
from agentbus.workers.domain.redaction import digest_input
from agentbus.workers.domain.replies import after_reply
from agentbus.workers.domain.sync.fields import DATA, METADATA
from agentbus.workers.domain.sync.stamped import after_sharing, after_start, after_write


def evolve(state: SessionState, event: AnyEvent) -> SessionState:
    """Return `state` as `event` leaves it. Never refuses: what was committed happened."""
    changes: dict[str, Any]
    match event:
        case SessionStarted():
            return _begin(state, event)
        case MessageAppended(message=message):
            changes = {"message_count": state.message_count + 1}
            if event.source is None and not event.restored:
                changes["last_activity"] = event.at
                if message.role is Role.USER and message.address and message.address != state.address:
                    changes["address"] = message.address
        case MessageEdited() | MessageDeleted() | ReactionChanged():
            changes = {"last_activity": event.at} if _happened_here(event) else {}
        case DataSet():
            changes = after_write(state, event, DATA, merged(state.data, event.values, event.removed))
        case MetadataSet():
            changes = after_write(state, event, METADATA, merged(state.metadata, event.values, event.removed))
        case StateChanged():
            woken = {"last_activity": event.at} if event.status is SessionStatus.ACTIVE else {}
            changes = {"status": event.status, "state": event.state, **woken}
        case SessionClosed():
            changes = {"status": SessionStatus.CLOSED, "state": None}
        case ProfileChanged():
            changes = {"profile": event.profile, "last_activity": event.at}
        case HistoryTrimmed():
            changes = {"shown_from": event.before}
        case FenceRaised():
            changes = {"fence": event.fence}
        case SessionBlocked() | SessionUnblocked():
            changes = after_line(state, event)
        case ReplyRequested() | ReplyEvent():
            changes = after_reply(state, event)
        case IdentityLinked() | IdentityUnlinked() | ContextMerged() | ConflictOpened() | ConflictResolved():
            changes = after_sharing(state, event)
        case SessionDeleted() | ExpiryStepTaken() | SessionArchived() | SessionRestored() | ConversationErased():
            changes = after_the_end(state, event)
        case _:
            assert_never(event)
    if state.expiry is not None and "last_activity" in changes and state.is_live:
        changes["expiry"] = None
    changes["sequence"] = event.sequence
    return replaced(state, changes)


def fold(state: SessionState, events: Iterable[AnyEvent]) -> tuple[list[SessionState], SessionState]:
    """Return the sessions that `events` ended (those that others follow), and the state they leave."""
    ended: list[SessionState] = []
    now = state
    for event in events:
        if isinstance(event, SessionStarted) and now is not state:
            ended.append(now)
        now = evolve(now, event)
    return ended, now


def sealed(
    before: SessionState, ended: Iterable[SessionState], now: SessionState, commit: Commit
) -> tuple[SessionState, ...]:
    """Return the heads that `commit` leaves behind: the conversation's session last, before it those that it ended."""
    marks = {"version": commit.version, "epoch": commit.epoch}
    recent = (*now.recent_inputs, *commit.inputs)[-RECENT_INPUTS:]
    if now.erased and any(isinstance(event, ConversationErased) for event in commit.events):
        recent = tuple(digest_input(one) for one in recent)
    began = {} if now.generation == before.generation else {"first_version": commit.version}
    current = replaced(now, {**marks, **began, "recent_inputs": recent})
    past = {**marks, "replies": ()}  # they are the conversation's: those that are open go on in its next session
    return (*(one.model_copy(update=past) for one in ended), current)


def heads_after(state: SessionState, commit: Commit) -> tuple[SessionState, ...]:
    """Return the heads that `commit` leaves behind, as `sealed` does."""
    return sealed(state, *fold(state, commit.events), commit)


def replay(state: SessionState, commits: Iterable[Commit]) -> SessionState:
    """Return the state after `commits`, which follow on `state` without a gap. Raises as `heads_along` does."""
    return (state, *heads_along(state, commits))[-1]


def heads_along(state: SessionState, commits: Iterable[Commit]) -> Iterator[SessionState]:
    """Yield the heads that `commits` leave behind one after the other; they follow on `state` without a gap.

    Raises StoreDamaged on a gap: the log or the head is damaged, and guessing would lose something.
    """
    for commit in commits:
        if commit.version != state.version + 1:
            raise StoreDamaged(
                f"the log of conversation {state.conversation_id} has version {commit.version} after {state.version}: "
                "restore it from a backup"
            )
        heads = heads_after(state, commit)
        yield from heads
        state = heads[-1]


def _happened_here(event: Amendment) -> bool:
    """Whether an amendment is one of the conversation's own, and none that copies follow."""
    return isinstance(event, ReactionChanged) or event.source is None


def _begin(state: SessionState, event: SessionStarted) -> SessionState:
    return SessionState(
        conversation_id=state.conversation_id,
        generation=generation_of(event.session_id),
        version=state.version,
        epoch=state.epoch,
        sequence=event.sequence,
        first_version=state.version,
        status=SessionStatus.ACTIVE,
        address=event.address,
        data=event.data,
        metadata=event.metadata,
        profile=event.profile,
        fence=state.fence,
        created_at=event.at,
        last_activity=event.at,
        identity=state.identity,
        erased=state.erased,
        blocked_by=state.blocked_by,
        waiting=state.waiting,
        replies=state.replies,
        recent_inputs=state.recent_inputs,
        **after_start(event, state.clock),
    )


def merged(
    current: Mapping[str, JsonValue], values: Mapping[str, JsonValue], removed: tuple[str, ...]
) -> dict[str, JsonValue]:
    """Return `current` with the keys of `values` set and those of `removed` taken out."""
    return {key: value for key, value in {**current, **values}.items() if key not in removed}
