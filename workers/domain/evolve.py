"""The second half of the session's state machine: `evolve` the state by what happened."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

from pydantic import JsonValue

from contracts.events import (
    AnyEvent,
    Commit,
    DataSet,
    FenceRaised,
    HistoryTrimmed,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    ReactionChanged,
    SessionBlocked,
    SessionClosed,
    SessionDeleted,
    SessionStarted,
    SessionUnblocked,
    StateChanged,
)
from contracts.messages import Role
from contracts.session import RECENT_INPUTS, SessionState, SessionStatus


def evolve(state: SessionState, event: AnyEvent) -> SessionState:
    """Return `state` as `event` leaves it. Never refuses: what was committed happened."""
    changes: dict[str, Any]
    match event:
        case SessionStarted():
            return _begin(state, event)
        case MessageAppended(message=message):
            changes = {"message_count": state.message_count + 1, "last_activity": event.at}
            if message.role is Role.USER and message.address:
                changes["address"] = message.address
        case MessageEdited() | MessageDeleted() | ReactionChanged():
            changes = {"last_activity": event.at}
        case DataSet():
            changes = {"data": merged(state.data, event.values, event.removed), "last_activity": event.at}
        case MetadataSet():
            changes = {"metadata": merged(state.metadata, event.values, event.removed), "last_activity": event.at}
        case StateChanged():
            woken = {"last_activity": event.at} if event.status is SessionStatus.ACTIVE else {}
            changes = {"status": event.status, **woken}
        case SessionClosed():
            changes = {"status": SessionStatus.CLOSED}
        case ProfileChanged():
            changes = {"profile": event.profile, "last_activity": event.at}
        case HistoryTrimmed():
            changes = {"shown_from": event.before}
        case SessionDeleted():
            changes = _tombstone() if event.deleted == event.session_id else {}
        case FenceRaised():
            changes = {"fence": event.fence}
        case SessionBlocked():
            changes = {"blocked_by": event.cause}
        case SessionUnblocked():
            changes = {"blocked_by": None}
        case _:
            assert_never(event)
    return state.model_copy(update={"sequence": event.sequence, **changes})


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
    recent = (*before.recent_inputs, *commit.inputs)[-RECENT_INPUTS:]
    began = {} if now.generation == before.generation else {"first_version": commit.version}
    current = now.model_copy(update={**marks, **began, "recent_inputs": recent})
    return (*(one.model_copy(update=marks) for one in ended), current)


def heads_after(state: SessionState, commit: Commit) -> tuple[SessionState, ...]:
    """Return the heads that `commit` leaves behind, as `sealed` does."""
    return sealed(state, *fold(state, commit.events), commit)


def replay(state: SessionState, commits: Iterable[Commit]) -> SessionState:
    """Return the state after `commits`, which follow on `state` without a gap. Raises as `heads_along` does."""
    return (state, *heads_along(state, commits))[-1]


def heads_along(state: SessionState, commits: Iterable[Commit]) -> Iterator[SessionState]:
    """Yield the heads that `commits` leave behind one after the other; they follow on `state` without a gap.

    Raises ValueError on a gap: the log or the head is damaged, and guessing would lose something.
    """
    for commit in commits:
        if commit.version != state.version + 1:
            raise ValueError(
                f"log of conversation {state.conversation_id} has version {commit.version} after {state.version}"
            )
        heads = heads_after(state, commit)
        yield from heads
        state = heads[-1]


def _begin(state: SessionState, event: SessionStarted) -> SessionState:
    return SessionState(
        conversation_id=state.conversation_id,
        generation=state.generation + 1,
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
        recent_inputs=state.recent_inputs,
    )


def deleted(session: SessionState, commit: Commit) -> SessionState:
    """Return an earlier session's head as `commit`, which deleted it, leaves it."""
    return session.model_copy(update={**_tombstone(), "version": commit.version, "epoch": commit.epoch})


def _tombstone() -> dict[str, Any]:
    return {"status": SessionStatus.DELETED, "data": {}, "metadata": {}}


def merged(
    current: Mapping[str, JsonValue], values: Mapping[str, JsonValue], removed: tuple[str, ...]
) -> dict[str, JsonValue]:
    """Return `current` with the keys of `values` set and those of `removed` taken out."""
    return {key: value for key, value in {**current, **values}.items() if key not in removed}
