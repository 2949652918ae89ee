"""Restoring into a store that nobody uses and that is empty: written as it was, page by page, and read back.

A mark in the store keeps workers from starting on it until all is there. Whoever runs it again goes on.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import BackupRefused, DuplicateInput, StoreRejected, StoreUnavailable, VersionConflict
from agentbus.contracts.events import Commit
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession
from agentbus.storage.archive.format import closing
from agentbus.storage.backup.lines import SessionDigests
from agentbus.storage.backup.reading import BackupReader
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.installation.joining import MIGRATION, unfinished_migration
from agentbus.workers.patience import Patience
from agentbus.workers.recovery.held import Held, held
from agentbus.workers.recovery.receipts import Erasures, Filtered
from agentbus.workers.recovery.records import end_keys, restore_keys, restore_records, restore_rest

_TOGETHER: Final = 32
"""Conversations that are written together, a commit of each at a time."""
_HEADS: Final = 100
_READ: Final = 4
"""Conversations that are read back side by side."""
_ALIVE: Final = 30.0
_OWN: Final = frozenset({RecordKind.INSTALLATION, RecordKind.DATA_KEY, RecordKind.MIGRATION, RecordKind.RESTORE})
"""Records that a store has before anybody has a session in it."""
_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=5)


async def claim_unused(store: Store, reader: BackupReader, clock: Clock) -> bool:
    """Whether a backup may be written into a store directly: it is empty and unused, or half of this very restore.

    If so the store is marked: no worker starts on it. Raises BackupRefused for one that is half a copy of another.
    """
    source = f"backup {reader.manifest.backup_id}"
    left = await unfinished_migration(store)
    if left == source:
        return True
    if left is not None:
        raise BackupRefused(f"the store is half a copy of {left}: finish that first, or take another store")
    if await _is_used(store):
        return False
    data = {"source": source, "run": ""}
    mark = Record(kind=RecordKind.MIGRATION, key=MIGRATION, created_at=clock.now(), data={**data})
    if not await store.records.put(mark, replace=False):
        raise BackupRefused("something else has just begun to fill the store")
    if await _is_used(store):  # somebody began meanwhile
        await store.records.delete(RecordKind.MIGRATION, MIGRATION)
        return False
    return True


async def is_unused(store: Store, reader: BackupReader) -> bool:
    """Whether a backup would be written into a store directly; nothing is changed."""
    left = await unfinished_migration(store)
    return left == f"backup {reader.manifest.backup_id}" or not await _is_used(store)


async def _is_used(store: Store) -> bool:
    if await store.members.everyone(ttl=_ALIVE) or await store.log.conversations(limit=1):
        return True
    if (await store.parked.ids(limit=1)).items or (await store.heads.scan(limit=1)).items:
        return True
    for kind in RecordKind:
        if kind not in _OWN and (await store.records.scan(kind, limit=1)).items:
            return True
    return False


async def restore_directly(
    store: Store, reader: BackupReader, erasures: Erasures, name: str
) -> AsyncGenerator[RestoredSession, None]:
    """Write all that a backup holds into a store that was claimed; yield what became of each session.

    Commits are marked with the restore, `name`: nobody announces them, or sends replies that they ask for, again.
    A store that does not answer is waited for, a minute at most.
    Raises BackupError (BackupRefused if something else was written there), StoreError: another run goes on.
    """
    await restore_keys(store, reader)
    async with aclosing(grouped(reader, erasures)) as groups:
        async for group, away in groups:
            await _PATIENCE.call(partial(_write, store, group, name))
            for kept in group:
                for head in kept.heads:
                    yield RestoredSession(session_id=head.session_id, outcome=Outcome.CREATED)
            for one in away:
                for head in one.heads:
                    yield RestoredSession(
                        session_id=head.session_id, outcome=Outcome.SKIPPED, reason="somebody in it was erased"
                    )
    await restore_records(store, reader, erasures, RecoveryStrategy.MERGE, unused=True)
    await restore_rest(store, reader, erasures)
    await end_keys(store, erasures)
    await store.records.delete(RecordKind.MIGRATION, MIGRATION)


async def grouped(reader: BackupReader, erasures: Erasures) -> AsyncGenerator[tuple[list[Filtered], list[Held]], None]:
    """Yield conversations, some at a time: those that come back, and those of people who were erased."""
    async with AsyncExitStack() as all_groups:
        conversations = await all_groups.enter_async_context(aclosing(reader.conversations()))
        more = True
        while more:
            async with AsyncExitStack() as stack:
                group: list[Filtered] = []
                away: list[Held] = []
                more = False
                async for kept in conversations:
                    one = await stack.enter_async_context(held(kept))
                    filtered = await erasures.filtered(one)
                    if filtered is None:
                        away.append(one)
                    else:
                        group.append(filtered)
                    if len(group) + len(away) == _TOGETHER:
                        more = True
                        break
                yield group, away


async def _write(store: Store, group: Sequence[Filtered], name: str) -> None:
    """Write conversations, and read them back. What is there already stays."""
    loaded = await store.log.load([kept.conversation_id for kept in group])
    async with AsyncExitStack() as stack:
        logs = []
        for kept in group:
            there = loaded[kept.conversation_id]
            version = there.commits[-1].version if there.commits else there.head.version if there.head else 0
            logs.append((version, await stack.enter_async_context(aclosing(kept.commits()))))
        while logs:
            following = []
            left = []
            for version, commits in logs:
                commit = await anext(commits, None)
                while commit is not None and commit.version <= version:
                    commit = await anext(commits, None)
                if commit is not None:
                    following.append(commit.model_copy(update={"restored": name}))
                    left.append((version, commits))
            await _append(store, following)
            logs = left
    for some in chunks([head for kept in group for head in kept.heads], _HEADS):
        for head, refused in zip(some, await store.heads.save(some), strict=True):
            if refused:
                raise StoreRejected(f"the store can't hold the head of session {head.session_id}: {refused}")
    for few in chunks(group, _READ):
        await side_by_side(check_restored(store, kept) for kept in few)


async def _append(store: Store, commits: Sequence[Commit]) -> None:
    if not commits:
        return
    for commit, refused in zip(commits, await store.log.append(commits), strict=True):
        if isinstance(refused, VersionConflict | DuplicateInput):
            continue  # Written before: whether it is the same is seen when it is read back.
        if refused:
            where = f"commit {commit.version} of conversation {commit.conversation_id}"
            raise StoreRejected(f"the store can't hold {where}: {refused}")


async def check_restored(store: Store, kept: Filtered) -> None:
    """Read back what a store has of a conversation, up to the backup's end. Raises BackupRefused if it differs."""
    version, found = await _digests(iter_log(store, kept.conversation_id), kept.held.count)
    wanted = {mark.generation: mark.digest for mark in kept.held.sessions if mark.events}
    if found != wanted:
        # Those of what was encrypted, or has been taken out since, are not told in the backup.
        _, wanted = await _digests(kept.commits(), kept.held.version)
    if found != wanted or version != kept.held.count:
        raise BackupRefused(
            f"what the store has of conversation {kept.conversation_id} is not what the backup has: something else "
            "writes to it"
        )


async def _digests(commits: AsyncIterator[Commit], last: int) -> tuple[int, dict[int, str]]:
    """Return the last version up to `last`, and the digest of each session's events, by generation."""
    digests, version = SessionDigests(), 0
    async with closing(commits) as each:
        async for commit in each:
            if commit.version > last:
                break
            version = commit.version
            digests.add(commit)
    return version, {mark.generation: mark.digest for mark in digests.marks()}
