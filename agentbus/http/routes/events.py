"""Events as they happen, and those that were missed: of all sessions, or of one."""

from functools import lru_cache, partial
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import MAX_INTEGER, Id
from agentbus.contracts.errors import AccessDenied, ConfigurationError, SchemaViolation, SessionNotFound
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.session import SessionState
from agentbus.http.calls import By, Calls, Query, StillBy, With
from agentbus.http.routes.sessions import SessionPath
from agentbus.http.streams import BadPlace, Follow, Streams
from agentbus.operations.api_keys import Role
from agentbus.registering import check_patterns
from agentbus.workers.bus.memory.topics import topic_matches
from agentbus.workers.domain.access import DENIED
from agentbus.workers.following import journal, session_feed
from agentbus.workers.following.tail import PlaceGone
from agentbus.workers.following.telling import Wants, follow_all, follow_session, readable

_MOST_WORDS: Final = 3
"""Of a topic's pattern."""

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events, each with its place as id and the CloudEvents envelope as data.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

calls = Calls("events")

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The id of the event that came last: what came after it comes first."),
]


class Wanted(Query):
    """Which events are followed."""

    topic: list[Id] = Field(
        default=["session.#"],
        max_length=20,
        description="Topics, `session.<what>.<platform>`; `*` is any word, `#` any number of them.",
    )
    last_event_id: str | None = Field(default=None, description="As the header, for who can't send one.")


class WantedOfOne(Wanted):
    """Which events of a session are followed."""

    from_sequence: int | None = Field(
        default=None, ge=1, le=MAX_INTEGER, description="The sequence to begin at; without it: from now on."
    )


@calls.call("GET", "/events", Role.READ, answers=None, for_users=True, others=_STREAM)
async def follow_events(
    parts: With, by: By, *, holds: StillBy, wanted: Annotated[Wanted, InQuery()], last: LastEventId = None
) -> Response:
    """Follow the events of all sessions, from now on, or from where the last stream ended: each once, in order."""
    streams, wants, text = parts.streams, _wants(wanted), _last(last, wanted)
    tail, given = streams.live.tail, None if text is None else journal.Place.read(text) or _bad()

    async def begin() -> Follow:
        if given is not None:
            await tail.check(given)
        place = given or tail.end
        return partial(follow_all, tail, parts.app.store, place, wants, by.user, pace=streams.pace)

    return streams.answer(begin, holds)


@calls.call("GET", "/sessions/{session_id}/events", Role.READ, answers=None, for_users=True, others=_STREAM)
async def follow_session_events(
    session_id: SessionPath,
    parts: With,
    by: By,
    *,
    holds: StillBy,
    wanted: Annotated[WantedOfOne, InQuery()],
    last: LastEventId = None,
) -> Response:
    """Follow a session's events: from a sequence, from where the last stream ended, or from now on."""
    streams, wants, text = parts.streams, _wants(wanted), _last(last, wanted)
    given = None if text is None else session_feed.Place.read(text) or _bad()

    async def begin() -> Follow:
        head = await readable(parts.app.store, SessionId(session_id), by.user)
        if head is None:
            raise SessionNotFound if by.user is None else AccessDenied(DENIED)
        place = await _place_in(streams, head, given, wanted.from_sequence)
        return partial(follow_session, streams.live, head, place, wants, by.user, pace=streams.pace)

    return streams.answer(begin, holds)


async def _place_in(
    streams: Streams, head: SessionState, given: session_feed.Place | None, from_sequence: int | None
) -> session_feed.Place:
    """Return where to begin in a session's log. Raises PlaceGone for a place behind its end."""
    feed = streams.live.feed(head.session_id)
    if given is None:
        return feed.end_of(head) if from_sequence is None else await feed.before(head, from_sequence)
    conversation = conversation_of(head.session_id)
    if given.version > 1 and not await streams.live.store.log.read(conversation, first=given.version - 1, limit=1):
        raise PlaceGone("that place is behind the end of the session's log: the store was restored since")
    return given


def _last(header: str | None, wanted: Wanted) -> str | None:
    """Return the place that is handed back: browsers send the header from the second time on, which is newer."""
    return wanted.last_event_id if header is None else header


def _bad() -> Any:
    raise BadPlace


def _wants(wanted: Wanted) -> Wants:
    """Return what tells which topics are wanted. Raises SchemaViolation for a pattern that matches none."""
    patterns = tuple(wanted.topic)
    if any(len(pattern.split(".")) > _MOST_WORDS for pattern in patterns):
        raise SchemaViolation(f"a topic has {_MOST_WORDS} words at most: session.<what>.<platform>")
    try:
        check_patterns(patterns)
    except ConfigurationError as error:
        raise SchemaViolation(str(error)) from None
    return partial(_matches, patterns)


@lru_cache(maxsize=10_000)
def _matches(patterns: tuple[str, ...], topic: str) -> bool:
    return any(topic_matches(pattern, topic) for pattern in patterns)
