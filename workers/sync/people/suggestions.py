"""Suggestions: sessions that look like one person's, linked only once somebody confirms it.

An application that has verified a user's e-mail address or phone number, or knows their handle, says so in the
session's metadata: `verified_email`, `verified_phone`, `handle`. Sessions of which it says the same are suggested to be
linked. What is kept of an address is a keyed digest.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue, TypeAdapter

from agentbus.contracts.base import DEFERRED
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import AccessDenied, Refused
from agentbus.contracts.events import MetadataSet, SessionStarted
from agentbus.contracts.ids import SessionId, conversation_of, digest_of, generation_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.sync import Identity
from agentbus.storage.damage import read_as, unless_damaged
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.sync.members import latest_session
from agentbus.workers.sync.people.identities import Identities
from agentbus.workers.sync.people.secret import Secret

CONTACT_KEYS: Final = ("verified_email", "verified_phone", "handle")
"""Keys of metadata that say how to reach a session's user."""

_PAIR: Final = TypeAdapter(tuple[SessionId, SessionId], config=DEFERRED)
_NOBODY: Final = "none"
_OPEN: Final = "open"
_SETTLED: Final = "settled"
_MOST: Final = 20
"""Sessions with the same contact that are suggested to a new one; more say nothing about a person."""


class SuggestionNotFound(Refused):
    """There is no open suggestion of this id."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two sessions that may be one person's."""

    suggestion_id: str
    session_ids: tuple[SessionId, SessionId]
    reason: str
    """The key of metadata that says the same in both."""
    at: datetime


class Suggestions:
    """Notes how users can be reached, and suggests links between sessions that name the same."""

    def __init__(self, store: Store, identities: Identities, secret: Secret, clock: Clock) -> None:
        self._store = store
        self._identities = identities
        self._secret = secret
        self._clock = clock

    async def note(self, event: SessionStarted | MetadataSet) -> None:
        """Take up what an event says about how to reach the session's user. Idempotent, in any order."""
        values = event.metadata if isinstance(event, SessionStarted) else event.values
        removed = () if isinstance(event, SessionStarted) else event.removed
        for key in CONTACT_KEYS:
            if key in values:
                await self._note(event, key, values[key])
            elif key in removed:
                await self._note(event, key, None)

    async def listed(self, *, actor: str | None = None) -> list[Suggestion]:
        """Return the open suggestions, the latest first; those alone whose sessions `actor` owns, if there is one."""
        found: list[Suggestion] = []
        async for record in iter_records(self._store, RecordKind.SUGGESTION, _OPEN):
            suggestion = unless_damaged(record, _suggestion)
            if suggestion and await self._may(suggestion, actor):
                found.append(suggestion)
        return found

    async def confirm(self, suggestion_id: str, *, actor: str | None = None) -> Identity:
        """Link the two sessions of a suggestion: to the identity that one of them has, else to a new one.

        Raises SuggestionNotFound, or AccessDenied if there is an `actor`; IdentityConflict if they are linked to
        different identities, and what else `Identities.link` raises.
        """
        record = await self._open(suggestion_id, actor)
        latest = [await latest_session(self._store, conversation_of(one)) for one in _suggestion(record).session_ids]
        known = next((session.identity for session in latest if session.identity), None)
        identity = known or digest_of(("suggestion", suggestion_id))
        linked = await self._identities.link(identity, [session.session_id for session in latest], actor=actor)
        await self._settle(record, "confirmed")
        return linked

    async def dismiss(self, suggestion_id: str, *, actor: str | None = None) -> None:
        """Say that the two are not one person's; they are not suggested again.

        Raises SuggestionNotFound; AccessDenied instead, and unless both sessions are theirs, if there is an `actor`.
        """
        await self._settle(await self._open(suggestion_id, actor), "dismissed")

    async def _note(self, event: SessionStarted | MetadataSet, key: str, value: JsonValue) -> None:
        contact = _normal(key, value)
        group = await self._secret.digest("contact", key, contact) if contact else _NOBODY
        conversation = conversation_of(event.session_id)
        record = Record(
            kind=RecordKind.CONTACT,
            key=digest_of(("contact", key, conversation)),
            group=group,
            created_at=event.at,
            data={"session_id": event.session_id},
            revision=generation_of(event.session_id) << 32 | event.sequence,
        )
        await self._store.records.put_many([record])
        if contact:
            await self._suggest(event.session_id, key, group)

    async def _suggest(self, session_id: SessionId, key: str, group: str) -> None:
        """Suggest to link the session with those that can be reached alike, unless they are linked already."""
        same = await self._store.records.page(RecordKind.CONTACT, group, limit=_MOST + 1)
        sessions = [SessionId(str(record.data["session_id"])) for record in same.items]
        others = [one for one in sessions if conversation_of(one) != conversation_of(session_id)]
        if len(others) >= _MOST or len(others) == len(sessions):
            return  # Half the world's, or replaced since.
        ours = (await latest_session(self._store, conversation_of(session_id))).identity
        for other in others:
            theirs = (await latest_session(self._store, conversation_of(other))).identity
            if ours is None or ours != theirs:
                await self._store.records.put(self._record(key, session_id, other), replace=False)

    def _record(self, key: str, one: SessionId, other: SessionId) -> Record:
        first, second = sorted((one, other))
        data: dict[str, JsonValue] = {"session_ids": [first, second], "reason": key}
        pair = digest_of(("suggestion", conversation_of(first), conversation_of(second)))
        return Record(kind=RecordKind.SUGGESTION, key=pair, group=_OPEN, created_at=self._clock.now(), data=data)

    async def _open(self, suggestion_id: str, actor: str | None) -> Record:
        record = await self._store.records.get(RecordKind.SUGGESTION, suggestion_id)
        if record is not None and record.group == _OPEN and await self._may(_suggestion(record), actor):
            return record
        if actor is not None:
            raise AccessDenied(DENIED)
        raise SuggestionNotFound(f"there is no open suggestion {suggestion_id}")

    async def _may(self, suggestion: Suggestion, actor: str | None) -> bool:
        """Whether `actor` may settle a suggestion: both sessions are there, and theirs."""
        if actor is None:
            return True
        conversations = [conversation_of(session) for session in suggestion.session_ids]
        latest = [await latest_session(self._store, one) for one in conversations]
        return all(one.status is not SessionStatus.DELETED and may(one, actor, Right.OWN) for one in latest)

    async def _settle(self, record: Record, how: Literal["confirmed", "dismissed"]) -> None:
        data = {**record.data, "settled": how}
        await self._store.records.put(record.model_copy(update={"group": _SETTLED, "data": data}))


def _normal(key: str, value: JsonValue) -> str | None:
    """Return a contact as all its spellings are compared; None for what is none."""
    text = value.strip() if isinstance(value, str) else ""
    match key:
        case "verified_phone":
            digits = re.sub(r"[^0-9]", "", text)
            return digits.removeprefix("00") or None
        case "handle":
            return text.removeprefix("@").casefold() or None
        case _:
            return text.casefold() if "@" in text else None


def _suggestion(record: Record) -> Suggestion:
    return read_as(f"the suggestion {record.key}", _made_of, record)


def _made_of(record: Record) -> Suggestion:
    first, second = _PAIR.validate_python(record.data["session_ids"])
    return Suggestion(record.key, (first, second), str(record.data["reason"]), record.created_at)
