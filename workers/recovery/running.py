"""Restoring a backup: into an empty store that nobody uses directly, into any other one through the sessions' owners.

There nothing is written but by commands, which the owner decides: what happens meanwhile comes before or after, never
between. Each step is safe to repeat: interrupted, it is run again, and goes on in the same epoch by looking what is
there.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import (
    BackupRefused,
    ConfigurationError,
    InvalidInput,
    Refused,
    ReplyTimeout,
    StoreDamaged,
    StoreUnavailable,
)
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession, RestoreRun
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.backup.reading import BackupReader
from agentbus.storage.port import Store
from agentbus.workers.concurrency import passing_over, raise_if_cancelled, side_by_side
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.expiry.watch.phases import deadline
from agentbus.workers.patience import Patience
from agentbus.workers.recovery.bringing import Bringing
from agentbus.workers.recovery.choosing import Act, Choice, choose
from agentbus.workers.recovery.comparing import Compared, Relation, compare
from agentbus.workers.recovery.direct import check_restored, claim_unused, grouped, is_unused, restore_directly
from agentbus.workers.recovery.epochs import begin_run, end_run
from agentbus.workers.recovery.held import Held
from agentbus.workers.recovery.options import Difference, RecoveryOptions
from agentbus.workers.recovery.receipts import Erasures, Filtered
from agentbus.workers.recovery.records import check_readable, end_keys, restore_keys, restore_records

_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=5)
_ROOM: Final = "room"
_PART: Final = {"room": "-" * 131_072}
_PARTS: Final = 8
"""What a store is asked to take to see whether it takes anything: a megabyte, as what little fits still tells nothing.
"""
_FAILURES: Final = (Refused, InvalidInput, BackupRefused, StoreDamaged)
"""What concerns one conversation: the others are restored all the same."""
_ERASED: Final = "somebody in it was erased"
_CHOICES: Final = (RecoveryStrategy.MERGE, RecoveryStrategy.REPLACE, RecoveryStrategy.SKIP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a backup is restored to."""

    store: Store
    commands: Inputs
    topology: Topology
    clock: Clock


async def look(
    store: Store, reader: BackupReader, options: RecoveryOptions, erasures: Erasures
) -> AsyncGenerator[RestoredSession, None]:
    """Yield what would become of each session of a backup; nothing is changed, and nobody is asked.

    With the strategy interactive it is what merging would come to. Raises BackupError, StoreError.
    """
    if await is_unused(store, reader):
        async with aclosing(reader.entries()) as entries:
            async for entry in entries:
                for mark in entry.sessions:
                    session = session_id_for(ConversationId(entry.key), mark.generation)
                    yield RestoredSession(session_id=session, outcome=Outcome.CREATED)
        return
    merging = RecoveryStrategy.MERGE
    strategy = merging if options.chosen is RecoveryStrategy.INTERACTIVE else options.chosen
    async with aclosing(grouped(reader, erasures)) as groups:
        async for group, away in groups:
            for kept in group:
                try:
                    there = await _PATIENCE.call(partial(compare, store, kept))
                except StoreDamaged as damage:
                    for row in _failed(kept.heads, damage):
                        yield row
                    continue
                for choice in choose(kept.heads, there, strategy):
                    yield choice.row
            for one in away:
                for row in _away(one.heads):
                    yield row


async def restore(
    target: Target, reader: BackupReader, options: RecoveryOptions, erasures: Erasures, *, directly: bool = True
) -> AsyncGenerator[RestoredSession | RestoreRun, None]:
    """Restore a backup; yield what became of each session, and in the end the restore itself.

    `directly`: into an empty store that nobody uses it may be written without asking anybody. Otherwise session workers
    must run. Raises BackupError, StoreError, BusError, ReplyTimeout: run again, it goes on.
    """
    store = target.store
    check_readable(store, reader)
    if directly and await claim_unused(store, reader, target.clock):
        run = await _begin(target, reader, options)
        steps = restore_directly(store, reader, erasures, run.name)
    else:
        run = await _begin(target, reader, options)
        await restore_keys(store, reader)
        steps = Restoring(target, options, erasures, run.name).all_of(reader)
    outcomes = Counter[Outcome]()
    async with aclosing(steps):
        async for row in steps:
            outcomes[row.outcome] += 1
            yield row
    run = run.model_copy(update={"finished_at": target.clock.now(), "outcomes": dict(sorted(outcomes.items()))})
    await end_run(store, run)
    yield run


async def _begin(target: Target, reader: BackupReader, options: RecoveryOptions) -> RestoreRun:
    return await begin_run(
        target.store,
        reader.manifest.backup_id,
        options.chosen,
        target.clock,
        preserve_metadata=options.preserve_metadata,
    )


class Restoring:
    """Restores conversations through their owners, for the restore `name`."""

    def __init__(self, target: Target, options: RecoveryOptions, erasures: Erasures, name: str) -> None:
        self._target = target
        self._store = target.store
        self._options = options
        self._erasures = erasures
        self._name = name
        self._bringing = Bringing(target.commands, name, preserve_metadata=options.preserve_metadata)
        self._asking = asyncio.Lock()

    async def all_of(self, reader: BackupReader) -> AsyncGenerator[RestoredSession, None]:
        """Restore all that a backup holds; yield what became of each session."""
        self._erasures.in_use = True
        async with aclosing(grouped(reader, self._erasures)) as groups:
            async for group, away in groups:
                for row in await self._together(group):
                    yield row
                for one in away:
                    for row in _away(one.heads):
                        yield row
        strategy = self._options.chosen
        await restore_records(self._store, reader, self._erasures, strategy, unused=False)
        await end_keys(self._store, self._erasures)

    async def session(self, held: Held) -> RestoredSession:
        """Restore the one session that is held; return what became of it."""
        kept = await self._erasures.filtered(held)
        rows = _away(held.heads) if kept is None else await self._together([kept])
        return rows[0]

    async def _together(self, group: Sequence[Filtered]) -> list[RestoredSession]:
        """Restore some conversations. Raises StoreUnavailable, ReplyTimeout: with what to do about it."""
        try:
            found = await side_by_side(self._restored(kept) for kept in group)
        except ReplyTimeout as late:
            raise_if_cancelled()
            raise await self._why(late) from late
        return [row for rows in found for row in rows]

    async def _why(self, late: ReplyTimeout) -> StoreUnavailable | ReplyTimeout:
        """Return why the owners give no answer: those that can't write wait, and say nothing meanwhile."""
        room = Record(kind=RecordKind.RESTORE, key=_ROOM, group=_ROOM, created_at=self._target.clock.now(), data=_PART)
        keys = (f"{self._name}/{_ROOM}/{number}" for number in range(_PARTS))
        full: StoreUnavailable | None = None
        try:
            await self._store.records.put_many([room.model_copy(update={"key": key}) for key in keys])
        except StoreUnavailable as error:
            raise_if_cancelled()
            full = error
        with passing_over(StoreUnavailable):  # Some of it may have found room.
            await self._store.records.delete_group(RecordKind.RESTORE, _ROOM)
        if full:
            return StoreUnavailable(
                f"the owners of the sessions do not answer, as the store takes nothing that is written: {full}. "
                "Once it does, run the restore again: it goes on"
            )
        return ReplyTimeout(
            f"the owners of the sessions do not answer: {late}: is a session worker running, on this broker and this "
            "store? Run the restore again: it goes on"
        )

    async def _restored(self, kept: Filtered) -> list[RestoredSession]:
        try:
            there = await _PATIENCE.call(partial(compare, self._store, kept))
        except StoreDamaged as damage:
            return _failed(kept.heads, damage)
        strategy = await self._strategy(kept, there)
        choices = choose(kept.heads, there, strategy)
        rows = {choice.head.session_id: choice.row for choice in choices}
        if appended := [choice for choice in choices if choice.act is Act.COMMITS]:
            rows |= await self._try(appended, self._append(kept, there))
        for choice in choices:
            if choice.act is Act.CONTENT:
                rows |= await self._try([choice], self._bringing.content(kept, there, choice))
        return list(rows.values())

    async def _try(self, choices: Sequence[Choice], work: Awaitable[None]) -> dict[SessionId, RestoredSession]:
        """Do something about sessions; return those for which it failed."""
        try:
            await work
        except _FAILURES as error:
            raise_if_cancelled()
            return {row.session_id: row for row in _failed([choice.head for choice in choices], error)}
        return {}

    async def _append(self, kept: Filtered, there: Compared) -> None:
        await self._bringing.commits(kept, there)
        if there.relation is Relation.NEW:
            await _PATIENCE.call(partial(check_restored, self._store, kept))
        live = [head for head in kept.heads if head.is_live]
        if live and not self._options.preserve_metadata:
            await self._bringing.awake(kept, live[-1])
        elif live:
            # Nothing is announced: who watches by time has to be told to look.
            now = self._target.clock.now()
            partition = self._target.topology.partition_of(kept.conversation_id)
            due = [deadline(head, partition, now) for head in live]
            await _PATIENCE.call(partial(self._store.records.put_many, due))

    async def _strategy(self, kept: Filtered, there: Compared) -> RecoveryStrategy:
        """Return by which strategy a conversation is restored: somebody is asked where it makes a difference."""
        if self._options.chosen is not RecoveryStrategy.INTERACTIVE or self._options.ask is None:
            return self._options.chosen
        by_strategy = {one: choose(kept.heads, there, one) for one in _CHOICES}
        for number, head in enumerate(kept.heads):
            choices = {one: found[number] for one, found in by_strategy.items()}
            if len({(choice.outcome, choice.act) for choice in choices.values()}) > 1:
                difference = Difference(
                    session_id=head.session_id,
                    backup=head,
                    store=there.sessions.get(head.session_id, there.state),
                    outcomes={one: choice.outcome for one, choice in choices.items()},
                )
                async with self._asking:
                    return await _asked(self._options, difference)
        return RecoveryStrategy.MERGE


async def _asked(options: RecoveryOptions, difference: Difference) -> RecoveryStrategy:
    answer = options.ask(difference) if options.ask else RecoveryStrategy.SKIP
    if inspect.isawaitable(answer):
        answer = await answer
    try:
        strategy = RecoveryStrategy(str(answer).lower())
    except ValueError:
        strategy = RecoveryStrategy.INTERACTIVE
    if strategy is RecoveryStrategy.INTERACTIVE:
        raise ConfigurationError(f"{answer!r:.40} is no answer: merge, replace or skip")
    return strategy


def _failed(heads: Sequence[SessionState], error: Exception) -> list[RestoredSession]:
    return [RestoredSession(session_id=head.session_id, outcome=Outcome.FAILED, reason=str(error)) for head in heads]


def _away(heads: Sequence[SessionState]) -> list[RestoredSession]:
    return [RestoredSession(session_id=head.session_id, outcome=Outcome.SKIPPED, reason=_ERASED) for head in heads]
