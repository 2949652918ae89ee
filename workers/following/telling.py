"""Following events by server-sent events: all of them, or those of one session; from now on, or from a place.

Each event's id is its place, which browsers hand back by themselves (`Last-Event-ID`). So does a sign of life, that no
event is made of: who wants few events has a place that is not old all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent, ConversationErased, ProfileChanged, SessionDeleted
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.port import Store
from agentbus.workers.concurrency import passing_over
from agentbus.workers.delivery.waking import Woken
from agentbus.workers.domain.access import Right, may
from agentbus.workers.following import journal, session_feed
from agentbus.workers.following.live import Live
from agentbus.workers.following.session_feed import SessionFeed
from agentbus.workers.following.tail import Line, Tail

Say: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Sends bytes to whoever follows. Raises OSError, or TimeoutError, once they are gone or take nothing."""
Wants: TypeAlias = Callable[[str], bool]
"""Whether an event of a topic is wanted."""

_BACK_IN: Final = 2000
"""Milliseconds until a reader comes back, should the stream end."""
_TOGETHER: Final = 65_536
"""Bytes that are sent at a time, about."""
_LOOKS: Final = 4
"""Signs of life after which the log of a session is looked at, though nothing was heard of it."""
_OF_RIGHTS: Final = (ProfileChanged, SessionDeleted, ConversationErased)
"""Events after which somebody may read a session no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds."""

    beat: float = 20.0
    """Between two signs of life, though there is nothing to say."""
    send: float = 30.0
    """In which what is sent is taken. Who takes nothing is let go, and catches up when they are back."""


async def follow_all(  # noqa: PLR0917 - a place in the whole of it, for whom, and what of it
    tail: Tail, store: Store, place: journal.Place, wants: Wants, user: str | None, say: Say, *, pace: Pace
) -> None:
    """Send all events that come after a place, of sessions that `user` may read, until cancelled.

    Raises PlaceGone, StoreError; OSError or TimeoutError as `say` does.
    """
    number, behind = (place.page, place.event) if place.event else (place.page + 1, None)
    missed = tail.last  # what came before is read as it is now
    await say(_greeting(place))
    with tail.listening():
        while True:
            if not await tail.grows(number - 1, within=pace.beat):
                await say(_sign(journal.Place(tail.name, number - 1)))
                continue
            page = await tail.page(number, late=number <= missed)
            lines = [one for one in page.lines if (behind is None or one.behind > behind) and wants(one.topic)]
            if lines and user is not None:
                lines = await _readable(store, lines, user)
            await _say_all(say, (_frame(f"{tail.name}-{number}.{_dotted(one)}", one.body) for one in lines))
            number, behind = number + 1, None


async def follow_session(  # noqa: PLR0917 - as above
    live: Live, head: SessionState, place: session_feed.Place, wants: Wants, user: str | None, say: Say, *, pace: Pace
) -> None:
    """Send a session's events that come after a place, until it may be read no more, or until cancelled.

    `head` is how it is now. Raises StoreError; OSError or TimeoutError as `say` does.
    """
    feed = live.feed(head.session_id)
    await say(_greeting(place))
    quiet = 0
    with live.waking.to(conversation_of(head.session_id)) as woken:
        woken.woken.set()
        while True:
            if quiet < _LOOKS and not await _woken(woken, pace.beat):
                quiet += 1
                await say(_sign(place))
                continue
            woken.woken.clear()
            quiet = 0
            place, events = await _told(feed, head, place, wants, say)
            if any(isinstance(event, _OF_RIGHTS) for event in events):
                now = await readable(live.store, head.session_id, user)
                if now is None:
                    return


async def readable(store: Store, session: SessionId, user: str | None) -> SessionState | None:
    """Return how a session is, if there is one that `user` may read. Raises StoreError."""
    head = await store.heads.get(session)
    if head is None or head.status is SessionStatus.DELETED or not may(head, user, Right.READ):
        return None
    return head


async def _told(
    feed: SessionFeed, head: SessionState, place: session_feed.Place, wants: Wants, say: Say
) -> tuple[session_feed.Place, list[AnyEvent]]:
    """Send what there is after a place; return where that ends, and the events, those that are not wanted too."""
    events: list[AnyEvent] = []
    while True:
        missed = place.version <= head.version
        found = await feed.after(place, shown_from=head.shown_from if missed else None)
        await _say_all(
            say,
            (
                _frame(str(at), EventEnvelope.of(event).to_bytes())
                for at, event in found.events
                if wants(event.routing_key)
            ),
        )
        events += [event for _, event in found.events if isinstance(event, _OF_RIGHTS)]
        place = found.place
        if not found.more:
            return place, events


async def _readable(store: Store, lines: Sequence[Line], user: str) -> list[Line]:
    heads = await store.heads.get_many({line.session for line in lines})
    allowed = {session for session, head in heads.items() if _is_read_by(head, user)}
    return [line for line in lines if line.session in allowed]


def _is_read_by(head: SessionState, user: str) -> bool:
    return head.status is not SessionStatus.DELETED and may(head, user, Right.READ)


async def _woken(woken: Woken, within: float) -> bool:
    with passing_over(TimeoutError):
        async with asyncio.timeout(within):
            await woken.woken.wait()
    return woken.woken.is_set()


async def _say_all(say: Say, frames: Iterable[bytes]) -> None:
    waiting = bytearray()
    for frame in frames:
        waiting += frame
        if len(waiting) >= _TOGETHER:
            await say(bytes(waiting))
            waiting.clear()
    if waiting:
        await say(bytes(waiting))


def _dotted(line: Line) -> str:
    return ".".join(map(str, line.behind))


def _frame(place: str, body: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (place.encode(), body)


def _greeting(place: object) -> bytes:
    return f"retry: {_BACK_IN}\nid: {place}\n\n".encode()


def _sign(place: object) -> bytes:
    """Return a sign of life that moves the reader's place on, and is no event: it has no data."""
    return f":\nid: {place}\n\n".encode()
