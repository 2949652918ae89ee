"""Encrypting and decrypting many things at once: the keys are asked for first, the rest needs no wait."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.history import Page
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.encryption.contents import decrypted, encrypted, key_of, subject_of, words_in
from agentbus.storage.encryption.data_keys import DataKey, DataKeys, Opened

Item = TypeVar("Item")
_Given = TypeVar("_Given")
Keys = Mapping[str, DataKey | StoreDamaged]


class Coder:
    """Encrypts with the data keys, if there are any, and decrypts. One thing that can't be does not fail the others."""

    def __init__(self, keys: DataKeys | None) -> None:
        self.keys = keys

    async def encrypt_commits(self, commits: Sequence[Commit]) -> list[Commit | StoreDamaged]:
        """Return commits as they are kept, or why one can't be encrypted."""
        keys = await self.encrypting(subject_of(one) for commit in commits for one in commit.events if words_in(one))
        return _each(_encrypted, commits, keys)

    async def encrypt_heads(self, heads: Sequence[SessionState]) -> list[SessionState | StoreDamaged]:
        """Return heads as they are kept, or why one can't be encrypted."""
        keys = await self.encrypting(subject_of(head) for head in heads if words_in(head))
        return _each(encrypted, heads, keys)

    async def encrypt_records(self, records: Sequence[Record]) -> list[Record]:
        """Return records as they are kept. Raises KeyMissing, StoreDamaged."""
        keys = await self.encrypting(subject_of(record) for record in records if words_in(record))
        return [encrypted(record, keys) for record in records]

    async def decrypt_commits(self, commits: Sequence[Commit]) -> list[Commit | StoreDamaged]:
        """Return commits as they were written, or why one can't be read."""
        keys = await self.decrypting(event.sealed for commit in commits for event in commit.events)
        return _each(_decrypted, commits, keys)

    async def decrypt_heads(self, heads: Sequence[SessionState]) -> list[SessionState | StoreDamaged]:
        """Return heads as they were written, or why one can't be read."""
        keys = await self.decrypting(head.sealed for head in heads)
        return _each(_decrypted_head, heads, keys)

    async def decrypt_records(self, records: Sequence[Record]) -> list[Record | StoreDamaged]:
        """Return records as they were written, or why one can't be read."""
        keys = await self.decrypting(record.sealed for record in records)
        return _each(_decrypted_record, records, keys)

    async def encrypting(self, subjects: Iterable[str]) -> Keys:
        """Return the keys that subjects' things are encrypted with; none if nothing is encrypted."""
        wanted = set(subjects) if self.keys else set()
        return await self.keys.to_encrypt(wanted) if self.keys and wanted else {}

    async def decrypting(self, sealed: Iterable[str | None]) -> Mapping[str, Opened]:
        """Return the keys that are needed to read something."""
        return await self.named(key_of(one) for one in sealed if one is not None)

    async def named(self, names: Iterable[str]) -> Mapping[str, Opened]:
        """Return keys by their names."""
        wanted = set(names)
        return await self.keys.to_decrypt(wanted) if self.keys and wanted else {}


async def page_of(
    page: Page[Item], found: Sequence[Item | StoreDamaged], scan: Callable[[int], Awaitable[Page[Item]]]
) -> Page[Item]:
    """Return what could be read of a page. Raises the damage of the first that could not, with the cursor behind it.

    `scan` scans so many of the page again.
    """
    for number, one in enumerate(found, start=1):
        if isinstance(one, StoreDamaged):
            one.details["cursor"] = (await scan(number)).cursor
            raise one
    return Page(items=tuple(map(read, found)), cursor=page.cursor)


def read(item: Item | StoreDamaged) -> Item:
    """Return what could be read. Raises what became of it else."""
    if isinstance(item, StoreDamaged):
        raise item
    return item


def _encrypted(commit: Commit, keys: Keys) -> Commit:
    if not keys:
        return commit
    return commit.model_copy(update={"events": tuple(encrypted(event, keys) for event in commit.events)})


def _decrypted(commit: Commit, keys: Mapping[str, Opened]) -> Commit:
    if all(event.sealed is None for event in commit.events):
        return commit
    what = f"commit {commit.version} of conversation {commit.conversation_id}"
    events = tuple(decrypted(event, keys, what, version=commit.version) for event in commit.events)
    return commit.model_copy(update={"events": events})


def _decrypted_head(head: SessionState, keys: Mapping[str, Opened]) -> SessionState:
    return decrypted(head, keys, f"the head of session {head.session_id}") if head.sealed else head


def _decrypted_record(record: Record, keys: Mapping[str, Opened]) -> Record:
    return decrypted(record, keys, f"{record.kind.value} record {record.key}") if record.sealed else record


def _each(change: Callable[[Item, _Given], Item], items: Sequence[Item], keys: _Given) -> list[Item | StoreDamaged]:
    """Return each item changed, or why it can't be."""
    found: list[Item | StoreDamaged] = []
    for item in items:
        try:
            found.append(change(item, keys))
        except StoreDamaged as damage:
            found.append(damage)
    return found
