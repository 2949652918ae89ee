"""What a visitor has not seen yet, read from the log: the same from every gateway, whatever any of them has forgotten.

A place is where somebody is in the log. Windows hand back that of what they were shown last, as `Last-Event-ID`, and
get all that came after it, in its order, once. Nothing but the place is kept between two looks.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConversationErased,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    SessionDeleted,
)
from agentbus.contracts.ids import ConversationId, MessageKey, generation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.history import history_page
from agentbus.storage.port import Store
from agentbus.workers.adapters.webchat.shown import Frame, View, attached
from agentbus.workers.domain.evolve import replay

COMMITS: Final = 10
"""Commits that are read at a time: a window that is slow to take them has no more of them held."""

OPENING: Final = 50
"""Messages that a window opens with."""
OPENING_BYTES: Final = 262_144
"""Bytes of them, about: of long ones there are fewer."""

_PAGES: Final = 5
"""Pages of the history that are looked through for them, where the conversation holds other chats too."""
_BACK: Final = 500
"""Commits that are looked through for the message that an edit is of."""

_PLACE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9})\.([0-9]{1,15}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Behind an event of a commit; or behind all of it, if none is named. The log begins behind version 0."""

    version: int = 0
    event: tuple[int, int] | None = None
    """Which session of the conversation, and its sequence in that."""

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the place that a window hands back; None for what is none."""
        found = _PLACE.fullmatch(text)
        if found is None:
            return None
        return cls(int(found[1]), (int(found[2]), int(found[3])) if found[2] else None)

    def __str__(self) -> str:
        return f"{self.version}.{self.event[0]}.{self.event[1]}" if self.event else str(self.version)


@dataclass(frozen=True, slots=True)
class News:
    """What came after a place."""

    frames: tuple[Frame, ...]
    """Each with its place as `place`."""
    place: Place
    """Where the reader is now."""
    more: bool
    """Whether there may be more at once."""


class Feed:
    """Reads one conversation for one visitor. Each call raises StoreError."""

    def __init__(self, store: Store, conversation: ConversationId, view: View) -> None:
        self._store = store
        self._conversation = conversation
        self._view = view

    async def opening(self) -> tuple[Frame, Place]:
        """Return what a window begins with, the latest messages, and where it is then."""
        loaded = (await self._store.log.load([self._conversation]))[self._conversation]
        state = replay(loaded.head or SessionState.empty(self._conversation), loaded.commits)
        place = Place(state.version)
        shown = await self._latest(state) if state.generation and state.status is not SessionStatus.DELETED else []
        return {"type": "opening", "place": str(place), "messages": shown}, place

    async def has(self, place: Place) -> bool:
        """Whether the log goes as far as a place: it does not if it was restored from before."""
        if place.version == 0:
            return True
        return bool(await self._store.log.read(self._conversation, first=place.version, limit=1))

    async def after(self, place: Place) -> News:
        """Return what comes after a place, or a part of it."""
        first = place.version if place.event else place.version + 1
        commits = await self._store.log.read(self._conversation, first=first, limit=COMMITS)
        frames: list[Frame] = []
        for commit in commits:
            for event in commit.events:
                at = (generation_of(event.session_id), event.sequence)
                if commit.version == place.version and place.event and at <= place.event:
                    continue
                if frame := await self._frame(event, commit, commits):
                    frames.append({**frame, "place": str(Place(commit.version, at))})
        there = Place(commits[-1].version) if commits else Place(place.version, place.event)
        return News(tuple(frames), there, len(commits) == COMMITS)

    async def _latest(self, state: SessionState) -> list[Frame]:
        """Return the latest messages of the conversation's session that the visitor sees, oldest first."""
        found: list[Frame] = []
        cursor: str | None = None
        room = OPENING_BYTES
        for _ in range(_PAGES):
            page = await history_page(self._store, state, limit=OPENING, cursor=cursor)
            for one in reversed(page.items):
                frame = self._view.kept(one)
                if frame is None:
                    continue
                room -= len(json.dumps(frame))
                if found and (room < 0 or len(found) == OPENING):
                    return found[::-1]
                found.append(frame)
            cursor = page.cursor
            if cursor is None:
                break
        return found[::-1]

    async def _frame(self, event: AnyEvent, commit: Commit, page: Sequence[Commit]) -> Frame | None:
        """Return how an event is shown; None if it is not."""
        match event:
            case MessageAppended():
                return self._view.said(event)
            case MessageEdited(source=None) if await self._sees(event.target, commit, page):
                files = attached(event.attachments)
                return {"type": "edited", "key": event.target, "text": event.text, "attachments": files}
            case MessageDeleted(source=None) if await self._sees(event.target, commit, page):
                return {"type": "deleted", "key": event.target}
            case SessionDeleted() | ConversationErased():
                return {"type": "cleared"}
            case _:
                return None

    async def _sees(self, target: MessageKey, commit: Commit, page: Sequence[Commit]) -> bool:
        """Whether the visitor sees the message that a commit changes; not if it was said long ago."""
        found = self._find(target, page)
        last = min(commit.version, page[0].version - 1)
        least = last - _BACK
        while found is None and last > max(least, 0):
            earlier = await self._store.log.read(
                self._conversation, first=max(least, 1), last=last, limit=COMMITS * 10, newest=True
            )
            if not earlier:
                return False
            found = self._find(target, earlier)
            last = earlier[-1].version - 1
        return found or False

    def _find(self, target: MessageKey, commits: Sequence[Commit]) -> bool | None:
        """Return whether the visitor sees a message; None if it is in none of these commits."""
        for commit in commits:
            for event in commit.events:
                if isinstance(event, MessageAppended) and event.source is None and event.message.key == target:
                    return self._view.has(event.message)
        return None
