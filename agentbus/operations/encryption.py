"""Encryption at rest: which master keys are needed, changing the active one, encrypting what was kept before."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from agentbus.contracts.errors import ArchiveNotFound, ConfigurationError, StoreDamaged
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import RecordKind
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.encryption import (
    ENCRYPTED_RECORDS,
    SETTING,
    DataKeys,
    EncryptedStore,
    KeyState,
    keys_of,
    new_key,
    words_in,
)
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked, iter_sessions
from agentbus.workers.archive.rewriting import PAGE, pages_of, rewriting
from agentbus.workers.erasure.search import EVERYTHING

__all__ = ["EncryptedAnew", "MasterKey", "Progress", "Rotated", "encrypt_all", "master_keys", "new_key", "rotate"]

Progress = Callable[[str, int], None]
"""Told what is being done, and how many of it by now."""

_EVERY: Final = 100


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key that is at hand, or that something is wrapped with."""

    name: str
    active: bool
    """Whether new data keys are wrapped with it."""
    here: bool
    """Whether it is at hand."""
    data_keys: int
    """How many data keys are wrapped with it: none, and it is needed no more."""


@dataclass(slots=True)
class Rotated:
    """What became of wrapping data keys anew."""

    looked_at: int = 0
    wrapped: int = 0
    damaged: list[str] = field(default_factory=list)
    """What is wrong with those that could not be."""


@dataclass(slots=True)
class EncryptedAnew:
    """What was in the clear, and is encrypted now."""

    commits: int = 0
    heads: int = 0
    records: int = 0
    archived: int = 0
    parked_left: int = 0
    """Parked inputs from before, which stay as they are until they are erased."""


async def master_keys(store: Store) -> list[MasterKey]:
    """Return the master keys, and how many data keys need each. Raises ConfigurationError if nothing is encrypted."""
    keys = keys_needed(store)
    used = Counter([one.master async for one in keys.all() if one.master and one.state is not KeyState.DESTROYED])
    names = sorted({*used, *keys.masters.names})
    return [MasterKey(name, name == keys.masters.active, name in keys.masters.names, used[name]) for name in names]


async def rotate(store: Store, progress: Progress) -> Rotated:
    """Wrap every data key with the active master key. Stopped, it goes on when it is run again.

    What is encrypted stays as it is. Raises ConfigurationError if nothing is encrypted, StoreError.
    """
    keys, done = keys_needed(store), Rotated()
    async for one in keys.all():
        done.looked_at += 1
        try:
            done.wrapped += await keys.wrap_anew(one)
        except StoreDamaged as damage:  # Also where its master key is not at hand.
            done.damaged.append(f"{one.name}: {damage}")
        if done.looked_at % _EVERY == 0:
            progress("data keys looked at", done.looked_at)
    return done


async def encrypt_all(store: Store, archive: ArchiveStore | None, progress: Progress) -> EncryptedAnew:
    """Encrypt what the store and the archive hold from before it was switched on. Goes on when it is run again.

    Workers may go on meanwhile; a component's state that is saved in the same moment may be lost. Raises
    ConfigurationError if nothing is encrypted, StoreError, ArchiveError, LockTimeout.
    """
    if not isinstance(store, EncryptedStore) or store.keys is None:
        raise _no_keys()
    done = EncryptedAnew()
    after: ConversationId | None = None
    while page := await store.log.conversations(after=after, limit=_EVERY):
        for conversation in page:
            done.commits += await _encrypt_log(store, conversation)
            progress("commits encrypted", done.commits)
        after = page[-1]
    for where in EVERYTHING:
        async for head in iter_sessions(store.store, where):
            if words_in(head):
                await store.heads.save([head])  # A newer one has been written through what encrypts it.
                done.heads += 1
                progress("sessions encrypted", done.heads)
    for kind in ENCRYPTED_RECORDS:
        done.records += await _encrypt_records(store, kind)
    done.parked_left = len([one async for one in iter_parked(store.store) if one.sealed is None])
    if archive:
        done.archived = await _encrypt_archive(archive, progress)
    await store.log.replace(())  # The old bytes of what was replaced go too.
    return done


def keys_needed(store: Store) -> DataKeys:
    """Return a store's data keys. Raises ConfigurationError if it does not encrypt."""
    if keys := keys_of(store):
        return keys
    raise _no_keys()


def _no_keys() -> ConfigurationError:
    return ConfigurationError(f"nothing is encrypted here: give master keys by {SETTING}; agentbus store keys new")


async def _encrypt_log(store: EncryptedStore, conversation: ConversationId) -> int:
    """Put the commits that say something in the clear in their own places, through what encrypts them."""
    count = 0
    async for kept in pages_of(store.store, conversation):
        plain = {commit.version for commit in kept if any(map(words_in, commit.events))}
        if not plain:
            continue
        async with rewriting(store, conversation) as log:
            page = await store.log.read(conversation, first=min(plain), last=max(plain), limit=PAGE)
            await log.put([commit for commit in page if commit.version in plain])
        count += len(plain)
    return count


async def _encrypt_records(store: EncryptedStore, kind: RecordKind) -> int:
    count = 0
    cursor: str | None = None
    while True:
        page = await store.store.records.scan(kind, limit=PAGE, cursor=cursor)
        for record in filter(words_in, page.items):
            await store.records.put(record)
            count += 1
        if (cursor := page.cursor) is None:
            return count


async def _encrypt_archive(archive: ArchiveStore, progress: Progress) -> int:
    count = 0
    async for entry in archive.entries():
        with suppress(ArchiveNotFound):  # It went meanwhile.
            if await archive.is_encrypted(entry):
                continue
            await archive.verify(entry)
            await archive.write(await archive.head(entry), archive.commits(entry))
            count += 1
            progress("archived sessions encrypted", count)
    return count
