"""What a backup holds beside the sessions: which of it is brought back, and what is not, with the reason."""

from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from agentbus.contracts.errors import BackupRefused, StoreUnavailable
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import RecoveryStrategy
from agentbus.storage.backup.reading import BackupReader
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.patience import Patience
from agentbus.workers.recovery.receipts import Erasures
from agentbus.workers.store_parts import EpochsPart, ParkedPart, TokensPart

if TYPE_CHECKING:
    from agentbus.storage.encryption import DataKeys

_AT_ONCE: Final = 32
_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=5)

NOT_RESTORED: Final[Mapping[RecordKind, str]] = {
    RecordKind.UNANNOUNCED: "what was still to be announced then was announced since",
    RecordKind.DEADLINE: "made anew from the sessions as they are",
    RecordKind.SYNC_TASK: "what was still to be synced then was synced since; the next change syncs again",
    RecordKind.OUTBOX: "found anew from the replies that are open in the sessions",
    RecordKind.SENDING: "how far a reply was then: it was sent since",
    RecordKind.HELD_BACK: "for how long a platform took nothing then",
    RecordKind.WRITING: "a reply that was being written then",
    RecordKind.ASKED: "how far a platform was read then: it was read on since",
    RecordKind.CLAIM_CODE: "a code that was used since would be good once more",
    RecordKind.TRACKED: "how far logs were followed: these are followed again from their beginning",
    RecordKind.MIGRATION: "of the store that was backed up",
    RecordKind.RESTORE: "of the store that was backed up",
    RecordKind.API_KEY: "a key of the HTTP API that was revoked since would be good once more: make new ones",
    RecordKind.JOURNAL: "an order of what was announced then: places in it are none in what comes after",
    RecordKind.JOURNALED: "how far logs were in that order",
    RecordKind.HAND_BACK: "who was to own a partition then: it was about workers that were at work then",
    RecordKind.SIGN_IN: "who was signed in then: they sign in again",
    RecordKind.JOB: "work that was under way then, in processes that are gone",
    RecordKind.DATA_KEY: "kept by themselves, before all that they are needed for",
}
"""Kinds of records that stay in the backup, each with the reason."""

_OF_THE_STORE: Final = frozenset({RecordKind.INSTALLATION, RecordKind.FIGURE})
"""What a store has of its own once somebody uses it."""
_REPLACED: Final = frozenset(
    {
        RecordKind.CHECKPOINT,
        RecordKind.TEMPLATE,
        RecordKind.COMPONENTS,
        RecordKind.EXPIRY_RULE,
        RecordKind.SYNC_POLICY,
    }
)
"""What `replace` puts in the place of what there is; of all others what there is stays."""

SCAN: Final = "expiry/scan"
"""How far expiry rules were applied to what there is: to what comes back they are applied anew."""


async def restore_keys(store: Store, reader: BackupReader) -> None:
    """Bring back the keys that are needed to read what was encrypted; one that was destroyed since stays so."""
    keys = _keys_of(store)
    async with aclosing(reader.data_keys()) as records:
        async for record in records:
            if keys is None:  # A store of keys, say: it holds them for others.
                await _PATIENCE.call(partial(store.records.put, record, replace=False))
            else:
                await _PATIENCE.call(partial(keys.bring, record))


async def end_keys(store: Store, erasures: Erasures) -> None:
    """Destroy the keys that came along of people, and conversations, that were erased: the store may be a new one."""
    from agentbus.storage.encryption import of_conversation, of_user  # noqa: PLC0415 - for who opens a store

    if (keys := _keys_of(store)) is not None:
        await keys.destroy_brought([*map(of_user, erasures.people), *map(of_conversation, erasures.away)])


def check_readable(store: Store, reader: BackupReader) -> None:
    """Raise BackupRefused if a backup is encrypted and the store has no keys to read it with."""
    from agentbus.storage.encryption import SETTING  # noqa: PLC0415 - as above

    if reader.manifest.encrypted and _keys_of(store) is None:
        raise BackupRefused(f"backup {reader.manifest.backup_id} is encrypted: give the master keys by {SETTING}")


def _keys_of(store: Store) -> "DataKeys | None":
    from agentbus.storage.encryption import keys_of  # noqa: PLC0415 - as above

    return keys_of(store)


async def restore_records(
    store: Store, reader: BackupReader, erasures: Erasures, strategy: RecoveryStrategy, *, unused: bool
) -> int:
    """Bring the records back, into a store that is `unused` those of its own too; return how many were.

    Raises BackupError, StoreError.
    """
    restored = 0
    waiting: list[Record] = []
    async with aclosing(reader.records()) as records:
        async for record in records:
            if record.kind is RecordKind.ERASURE and not unused:
                erasures.told.append(record)
            elif _comes_back(record, unused=unused) and not erasures.keeps_out(record):
                waiting.append(record)
            if len(waiting) == _AT_ONCE:
                restored += await _put(store, waiting, strategy)
                waiting = []
    return restored + await _put(store, waiting, strategy)


async def restore_rest(store: Store, reader: BackupReader, erasures: Erasures) -> None:
    """Bring back what else an unused store needs: parked inputs, epochs, the locks' last tokens."""
    from agentbus.storage.encryption import EncryptedStore  # noqa: PLC0415 - for who opens a store

    # Encrypted ones are kept as they were: their keys came before.
    kept = store.store if isinstance(store, EncryptedStore) else store
    async with aclosing(reader.parked()) as parked:
        async for one in parked:
            if not erasures.keeps_out_parked(one):
                await _PATIENCE.call(partial(ParkedPart().put, kept, [one]))
    epochs = [one async for one in reader.epochs()]
    await _PATIENCE.call(partial(EpochsPart().put, store, epochs))
    async with aclosing(reader.tokens()) as tokens:
        async for token in tokens:
            await _PATIENCE.call(partial(TokensPart().put, store, [token]))


def _comes_back(record: Record, *, unused: bool) -> bool:
    if record.kind in NOT_RESTORED or (record.kind is RecordKind.FIGURE and record.key == SCAN):
        return False
    return unused or record.kind not in _OF_THE_STORE


async def _put(store: Store, records: list[Record], strategy: RecoveryStrategy) -> int:
    replace = strategy is RecoveryStrategy.REPLACE
    done: list[bool] = []
    for some in chunks(records, _AT_ONCE):
        done += await side_by_side(
            _PATIENCE.call(partial(store.records.put, record, replace=replace and record.kind in _REPLACED))
            for record in some
        )
    return sum(done)
