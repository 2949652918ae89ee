"""The line of a blocked conversation: the parked inputs that it waits for, and in which order."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from agentbus.contracts.events import SessionBlocked, SessionUnblocked
from agentbus.contracts.ids import InputId
from agentbus.contracts.session import MOST_WAITING, SessionState
from agentbus.workers.domain.redaction import digest_input

_LONGEST_ID: Final = 64
"""Bytes. Of a longer id the digest stands in the line, so that a head stays small."""


def line_of(state: SessionState) -> tuple[InputId, ...]:
    """Return what the conversation waits for, the next one first; nothing if it is not blocked."""
    return (state.blocked_by, *state.waiting) if state.blocked_by else ()


def is_next(state: SessionState, input_id: InputId) -> bool:
    """Whether it is this input that the conversation waits for."""
    return state.blocked_by is not None and state.blocked_by in _forms(input_id)


def has_place(state: SessionState, input_id: InputId) -> bool:
    """Whether the input is in the line, or could not be put into it: the line is full."""
    return len(state.waiting) >= MOST_WAITING or any(form in line_of(state) for form in _forms(input_id))


def places_of(state: SessionState, input_ids: Iterable[InputId]) -> dict[InputId, int]:
    """Return the places in line of those inputs that have one, the next one's being 0."""
    places = {input_id: place for place, input_id in enumerate(line_of(state))}
    return {one: places[form] for one in input_ids for form in _forms(one) if form in places}


def after_line(state: SessionState, event: SessionBlocked | SessionUnblocked) -> dict[str, Any]:
    """Return what changes in the head when an input is put into the line, or the first one is through."""
    return lined_up(state, event.cause) if isinstance(event, SessionBlocked) else next_in_line(state, event.waiting)


def lined_up(state: SessionState, input_id: InputId) -> dict[str, Any]:
    """Return what changes in the head when an input is put at the end of the line."""
    if state.blocked_by is None:
        return {"blocked_by": input_id}
    short = input_id if len(input_id.encode()) <= _LONGEST_ID else digest_input(input_id)
    return {"waiting": (*state.waiting, short)}


def next_in_line(state: SessionState, left: int) -> dict[str, Any]:
    """Return what changes in the head when the first of the line is through and `left` others are not."""
    if not left:
        return {"blocked_by": None, "waiting": ()}
    return {"blocked_by": state.waiting[0], "waiting": state.waiting[1:]}


def _forms(input_id: InputId) -> Iterator[InputId]:
    yield input_id
    yield digest_input(input_id)
