"""Erasing a user: from the conversations of theirs, from those of others, from records, parked inputs and the archive.

What is to be erased is found and written down first, so that a crash at any point is made up for by running it again.
A conversation of the user's alone is erased whole, through its owner. In one that others write in, the user's messages
keep their place, and their ids become pseudonyms. People who are linked by an identity are one user.

A message that the user sends later is a new one and begins a new session. What waits in the broker meanwhile can't be
reached from here: it is recognised as a repeat if it was committed before.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import EditConflict
from agentbus.contracts.expiry import ErasureReceipt
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of
from agentbus.contracts.parked import ParkedId
from agentbus.contracts.records import Record
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from agentbus.workers.archive.receipts import Receipts, put_receipt
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.redaction import Subject, is_erased
from agentbus.workers.erasure.people import erased_people
from agentbus.workers.erasure.plan import Plan, drop_plan, load_plan, save_plan
from agentbus.workers.erasure.records import parked_of, records_of_identities, records_of_sessions
from agentbus.workers.erasure.search import Progress, all_sessions, find_traces, linked_people
from agentbus.workers.erasure.shared import SharedConversation
from agentbus.workers.erasure.shredding import Shredding, Wait
from agentbus.workers.erasure.traces import Person, Traces
from agentbus.workers.erasure.whole import erase_whole

_PASSES: Final = 4
"""How often everything is read at most, until nothing is found."""


@dataclass(slots=True)
class Erasing:
    """What an erasure needs: where everything is, and how to reach the owners of conversations."""

    store: Store
    archive: ArchiveStore | None
    commands: Inputs
    clock: Clock
    progress: Progress = lambda _what, _count: None
    wait: Wait = asyncio.sleep
    """Waits, until no process encrypts with the user's keys any more."""


async def find_user(erasing: Erasing, user: str) -> Plan:
    """Return what an erasure of `user` would erase; nothing is changed. Reads everything.

    Raises ArchiveError, StoreError.
    """
    receipts = await Receipts.for_looking(erasing.store, erasing.archive)
    plan = await load_plan(erasing.store, receipts.subject_of(user))
    return (await _find(erasing, user, receipts, plan, resumed=True)).plan


async def erase_user(erasing: Erasing, user: str, *, before: datetime | None = None) -> ErasureReceipt:
    """Erase a user and return the receipt. Idempotent: run it again after a crash, or when in doubt.

    `before`: only what is not later, for an erasure that is applied again. A session worker must run, for the user's
    own conversations are erased by their owner. Everything is read at least twice: the receipt is written once
    nothing is found any more.

    Raises ReplyTimeout, BusError, StoreError, ArchiveError (a damaged file has to be seen to first), LockTimeout,
    EditConflict if something is found again and again.
    """
    begun = erasing.clock.now()
    receipts = await Receipts.for_writing(erasing.store, erasing.archive, erasing.clock)
    subject = receipts.subject_of(user)
    plan = await load_plan(erasing.store, subject)
    resumed, limit = bool(plan.people), before
    shredding = Shredding(erasing.store, erasing.progress, erasing.wait)
    for _ in range(_PASSES):
        hit = await _find(erasing, user, receipts, plan, before=limit, resumed=resumed)
        plan = hit.plan
        if before is None and await shredding.retire(plan):
            # What was encrypted with these keys until now goes with them: all of it is erased.
            begun = erasing.clock.now()
        elif hit.is_clean and not resumed:
            break
        await save_plan(erasing.store, subject, plan, erasing.clock)
        await _erase(erasing, hit)
        if before is None:
            await shredding.renew(sorted(hit.shared))
        resumed, limit = False, before or begun
    else:
        raise EditConflict(f"something of the user was found after each of {_PASSES} passes: try again")
    destroyed = await shredding.destroy(plan) if before is None else 0
    receipt = receipts.of(subject)
    if receipt is None or plan.has_found or destroyed:
        receipt = _receipt(plan, subject, before or erasing.clock.now(), destroyed, apart=shredding.apart)
        if before is None:
            await _put_receipts(erasing, receipts, plan, receipt)
    await drop_plan(erasing.store, subject)
    # What a store keeps for a while after it was replaced (SQLite's write-ahead log does) it lets go of with this.
    await erasing.store.log.replace(())
    return receipt


async def reapply_erasures(erasing: Erasing, more: Iterable[Record] = ()) -> list[ErasureReceipt]:
    """Erase again who was erased before and is there again, from an old backup of the store or the archive.

    `more` are records of erasures from elsewhere, that the store does not have.
    Only what is not later than the erasure goes: a user may have come back since. Reads everything, and again for each
    user that is found. Receipts that the store lost are put back. Returns a receipt of each user found.
    """
    own = await Receipts.for_writing(erasing.store, erasing.archive, erasing.clock)
    receipts = own.and_those_in(more)
    again = await erased_people(erasing.store, erasing.archive, receipts, erasing.clock)
    done = [await erase_user(erasing, user, before=at) for user, at in sorted(again.items())]
    for receipt in own.all:
        await put_receipt(erasing.store, erasing.archive, receipt)
    return done


@dataclass(slots=True)
class _Hit:
    """What a pass over everything found to do."""

    person: Person
    plan: Plan
    """All of the erasure, what passes before did included."""
    own: list[ConversationId]
    shared: dict[ConversationId, Traces]
    archived: list[SessionId]
    records: list[Record]
    parked: list[ParkedId]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not (self.own or self.shared or self.archived or self.records or self.parked)


async def _find(
    erasing: Erasing, user: str, receipts: Receipts, begun: Plan, *, before: datetime | None = None, resumed: bool
) -> _Hit:
    """Read everything. `resumed`: what was planned, and may have been done in part, is to be done again."""
    store = erasing.store
    people, identities = await linked_people(store, {user, *begun.people})
    identities |= begun.identities
    subject = Subject(pseudonyms={one: receipts.pseudonym_of(one) for one in people})
    person = Person(subject=subject, identities=frozenset(identities), before=before)
    also = begun.shared if resumed else set[ConversationId]()
    found = await find_traces(store, erasing.archive, person, erasing.clock, erasing.progress, also=also)
    for conversation in begun.owned & found.shared.keys():
        found.shared[conversation].owns = True
    own = sorted({*found.own, *(begun.own if resumed else ())})
    records = [one async for one in _records(store, own, person) if person.covers(one.created_at)]
    parked = [one async for one in parked_of(store, {*own, *begun.own}, person)]
    plan = Plan(
        people=people,
        identities=identities,
        own=set(own),
        shared=set(found.shared),
        owned={conversation for conversation, traces in found.shared.items() if traces.owns},
        sessions=set(found.sessions),
        messages=found.messages,
        archives=len(found.archived),
        records=len(records),
        parked=len(parked),
        archived=set(found.archived),
        parked_ids=set(parked),
    )
    plan.merge(begun)
    return _Hit(person, plan, own, found.shared, sorted(found.archived), records, parked)


async def _records(store: Store, own: Sequence[ConversationId], person: Person) -> AsyncIterator[Record]:
    heads = [head for conversation in own for head in await all_sessions(store, conversation)]
    sessions = [head.session_id for head in heads if is_erased(head) or person.covers(head.created_at)]
    async for record in records_of_sessions(store, own, sessions):
        yield record
    async for record in records_of_identities(store, sorted(person.identities)):
        yield record


async def _erase(erasing: Erasing, hit: _Hit) -> None:
    store, archive = erasing.store, erasing.archive
    for number, conversation in enumerate(hit.own, 1):
        await erase_whole(store, archive, erasing.commands, erasing.clock, conversation)
        erasing.progress("conversations erased", number)
    for session in hit.archived:
        if archive and conversation_of(session) in hit.plan.own:
            await archive.delete(session)
    await _take_out(erasing, hit)
    for record in hit.records:
        await store.records.delete(record.kind, record.key)
    for parked_id in hit.parked:
        await store.parked.delete(parked_id)


async def _take_out(erasing: Erasing, hit: _Hit) -> None:
    """Take the user out of other people's conversations."""
    for number, (conversation, traces) in enumerate(sorted(hit.shared.items()), 1):
        archived = [one for one in hit.archived if conversation_of(one) == conversation]
        subject = replace(
            hit.person.subject, keys=frozenset(traces.keys), conversations=frozenset(hit.plan.own), owns=traces.owns
        )
        person = replace(hit.person, subject=subject)
        shared = SharedConversation(erasing.store, erasing.archive, erasing.clock, conversation, person)
        await shared.scrub(archived, digested=traces.digested)
        erasing.progress("shared conversations changed", number)


async def _put_receipts(erasing: Erasing, receipts: Receipts, plan: Plan, receipt: ErasureReceipt) -> None:
    """Keep the receipt under each of the user's ids: any of them may be what an old backup has."""
    for one in sorted(plan.people):
        same = receipt.model_copy(update={"subject": receipts.subject_of(one)})
        await put_receipt(erasing.store, erasing.archive, same)


def _receipt(plan: Plan, subject: str, at: datetime, keys: int, *, apart: bool) -> ErasureReceipt:
    return ErasureReceipt(
        receipt_id=uuid4().hex,
        subject=subject,
        at=at,
        sessions=tuple(sorted(plan.sessions)),
        messages=plan.messages,
        archives=plan.archives,
        records=plan.records,
        parked=plan.parked,
        keys=keys,
        keys_apart=apart,
    )
