"""The records and parked inputs that belong to a user's sessions."""

import re
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Any, Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of, digest_of
from agentbus.contracts.parked import ParkedId, ParkedInput
from agentbus.contracts.records import Record, RecordKind, checkpoint_groups
from agentbus.storage.port import LISTED_BODY, Store
from agentbus.storage.reading import iter_parked, iter_records
from agentbus.workers.erasure.traces import Person
from agentbus.workers.sync.people.identities import reverse_group, reverse_key
from agentbus.workers.sync.people.suggestions import CONTACT_KEYS
from agentbus.workers.tracking.kept import day_key

_BY_SESSION: Final = (
    RecordKind.DEADLINE,
    RecordKind.SYNC_TASK,
    RecordKind.ARCHIVED,
    RecordKind.COMPONENTS,
    RecordKind.USAGE,
)
"""Kinds whose records have the session as their key."""
_BY_CONVERSATION: Final = (RecordKind.CLAIM_CODE, RecordKind.CLAIM)
"""Kinds whose records have the conversation as their group."""
_SUGGESTIONS: Final = ("open", "settled")


async def records_of_sessions(
    store: Store, conversations: Iterable[ConversationId], sessions: Iterable[SessionId]
) -> AsyncIterator[Record]:
    """Yield the records that belong to conversations and their sessions."""
    known = set(conversations)
    for session in sessions:
        for group in checkpoint_groups(session):
            async for record in iter_records(store, RecordKind.CHECKPOINT, group):
                yield record
        async for record in iter_records(store, RecordKind.TRACKED_EVENT, session):
            yield record
        for kind in _BY_SESSION:
            # A ledger entry that was erased stays, with nothing in it: it keeps out those that come late.
            if (one := await store.records.get(kind, session)) and (one.data or kind is not RecordKind.USAGE):
                yield one
    for conversation in known:
        async for record in _of_conversation(store, conversation):
            yield record
    for group in _SUGGESTIONS if known else ():
        async for record in iter_records(store, RecordKind.SUGGESTION, group):
            if any(conversation_of(one) in known for one in _sessions_in(record)):
                yield record


async def _of_conversation(store: Store, conversation: ConversationId) -> AsyncIterator[Record]:
    """Yield the records of a conversation, whichever of its sessions."""
    for kind in _BY_CONVERSATION:
        async for record in iter_records(store, kind, conversation):
            yield record
            # A code of somebody else's, which would be good once more without it.
            if kind is RecordKind.CLAIM and (code := await store.records.get(RecordKind.CLAIM_CODE, record.key)):
                yield code
    async for record in iter_records(store, RecordKind.IDENTITY, reverse_group(conversation)):
        yield record
    for key in CONTACT_KEYS:
        if one := await store.records.get(RecordKind.CONTACT, digest_of(("contact", key, conversation))):
            yield one
    for rest in (_replies_of, _figures_of):
        async for record in rest(store, conversation):
            yield record


async def _replies_of(store: Store, conversation: ConversationId) -> AsyncIterator[Record]:
    """Yield what is kept of a conversation's replies on their way out."""
    if waiting := await store.records.get(RecordKind.OUTBOX, conversation):
        yield waiting
    if shown := await store.records.get(RecordKind.WRITING, conversation):
        yield shown
    async for sending in iter_records(store, RecordKind.SENDING, conversation):
        if doubtful := await store.records.get(RecordKind.OUTBOX, sending.key):
            yield doubtful
        yield sending


async def _figures_of(store: Store, conversation: ConversationId) -> AsyncIterator[Record]:
    """Yield a conversation's figures, and then how far it was followed, unless nothing was since it was erased."""
    record = await store.records.get(RecordKind.TRACKED, conversation)
    days: Any = record.data.get("days") if record else None
    if record is None or not days:
        return
    for day in days:
        if (found := await store.records.get(RecordKind.ROLLUP, day_key(conversation, day))) and found.data:
            yield found
    yield record


async def records_of_identities(store: Store, identities: Iterable[str]) -> AsyncIterator[Record]:
    """Yield what is kept of identities, in an order to delete it in: what leads to others comes after them."""
    for identity in identities:
        for kind in (RecordKind.IDENTITY, RecordKind.SYNC_POLICY):
            if record := await store.records.get(kind, identity):
                yield record
        async for record in iter_records(store, RecordKind.IDENTITY, digest_of(("identity", identity))):
            linked = ConversationId(str(record.data.get("conversation")))
            if reverse := await store.records.get(RecordKind.IDENTITY, reverse_key(linked, identity)):
                yield reverse
            yield record


async def parked_of(store: Store, conversations: Collection[ConversationId], person: Person) -> AsyncIterator[ParkedId]:
    """Yield the parked inputs of conversations, and those whose body or reason names the person."""
    names = [re.escape(one) for one in person.subject.pseudonyms]
    # Glued to other words too, but for the shortest ids: in a body that can't be read nothing says where a value ends.
    named = re.compile("|".join(one if len(one) >= _DISTINCT else rf"(?<!\w){one}(?!\w)" for one in names) or r"(?!)")
    async for listed in iter_parked(store):
        if not person.covers(listed.parked_at):
            continue
        parked = listed
        if listed.size > len(listed.body) or len(listed.body) >= LISTED_BODY:
            parked = await store.parked.get(listed.parked_id) or listed
        if parked.conversation_id in conversations or _names(parked, person, conversations, named):
            yield parked.parked_id


_DISTINCT: Final = 4
"""Characters from which on an id is hardly part of a word by chance."""


def _names(
    parked: ParkedInput, person: Person, conversations: Collection[ConversationId], named: re.Pattern[str]
) -> bool:
    """Whether an input is the person's: it says so in a value, or, where it can't be read, anywhere."""
    if parked.message_id in person.subject.pseudonyms:
        return True
    texts = texts_in(parked.body)
    if not texts:
        return named.search(parked.body.decode("utf-8", "replace")) is not None
    sessions = {text.partition(".")[0] for text in texts}
    return not texts.isdisjoint(person.subject.pseudonyms) or not sessions.isdisjoint(conversations)


def texts_in(body: bytes) -> set[str]:
    """Return the texts and keys in a JSON document; none if it is no JSON."""
    try:
        return set(_texts(json_in(body)))
    except (ValueError, RecursionError):  # read, and yet too deep to be gone through
        return set()


def _texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, item in value.items():
                yield key
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            return


def _sessions_in(record: Record) -> list[SessionId]:
    found = record.data.get("session_ids")
    return [SessionId(str(one)) for one in found] if isinstance(found, list) else []
