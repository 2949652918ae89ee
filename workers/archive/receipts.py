"""Receipts of erasures: kept in the store and beside the archive, so that what was erased stays erased.

They name nobody: a user is a keyed digest, HMAC-SHA256 under a salt that is kept in both places too. Whoever has the
salt can tell whether a user they know was erased, which is what it is for.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from agentbus.contracts.clock import Clock
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import ArchiveDamaged
from agentbus.contracts.expiry import ErasureReceipt
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.damage import read_as
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records

_RECEIPTS: Final = "receipts"
_SALTS: Final = "salts"
_SALT: Final = "salt"
_NOTE: Final = "erasure-"
_BYTES: Final = 32
_LISTED: Final = 5_000
"""Sessions that a record lists; the note in the archive lists them all."""


class Receipts:
    """What was erased until now, and the salts that its subjects are digested by."""

    def __init__(self, salts: list[bytes], receipts: Iterable[ErasureReceipt]) -> None:
        self.salts = salts
        self._by_subject: dict[str, ErasureReceipt] = {}
        self._cache: dict[str, datetime | None] = {}
        self.all = sorted(receipts, key=lambda receipt: receipt.at)
        for receipt in self.all:
            self._by_subject[receipt.subject] = receipt

    def __bool__(self) -> bool:
        return bool(self._by_subject)

    @classmethod
    async def load(cls, store: Store, archive: ArchiveStore | None) -> "Receipts":
        """Read those in the store and those beside the archive: either may be from an old backup."""
        salts: dict[bytes, None] = {}
        found: dict[tuple[str, str], ErasureReceipt] = {}
        for name in await archive.notes() if archive else ():
            note = await archive.note(name) if archive else None
            if note and name == _SALT:
                salts[_salt_in(note, name)] = None
            elif note and name.startswith(_NOTE):
                receipt = _receipt_in(note, name)
                found[receipt.subject, receipt.receipt_id] = receipt
        if record := await store.records.get(RecordKind.ERASURE, _SALT):
            salts[bytes.fromhex(str(record.data["salt"]))] = None
        async for record in iter_records(store, RecordKind.ERASURE, _SALTS):  # those too that came with backups
            salts[bytes.fromhex(str(record.data["salt"]))] = None
        for record in [record async for record in iter_records(store, RecordKind.ERASURE, _RECEIPTS)]:
            receipt = read_as(f"the erasure receipt {record.key}", ErasureReceipt.model_validate, record.data)
            found.setdefault((receipt.subject, receipt.receipt_id), receipt)
        return cls(list(salts), found.values())

    def and_those_in(self, records: Iterable[Record]) -> "Receipts":
        """Return these receipts and salts with those in records of erasures, which may be from anywhere."""
        salts = dict.fromkeys(self.salts)
        found = {(one.subject, one.receipt_id): one for one in self.all}
        for record in records:
            if record.group == _SALTS:
                salts[bytes.fromhex(str(record.data["salt"]))] = None
            else:
                receipt = read_as(f"the erasure receipt {record.key}", ErasureReceipt.model_validate, record.data)
                found.setdefault((receipt.subject, receipt.receipt_id), receipt)
        return Receipts(list(salts), found.values())

    def has_all_of(self, records: Iterable[Record]) -> bool:
        """Whether the receipts in records of erasures, which may be from anywhere, are among these."""
        mine = {(one.subject, one.receipt_id) for one in self.all}
        return mine.issuperset((one.subject, one.receipt_id) for one in self.and_those_in(records).all)

    @classmethod
    async def for_looking(cls, store: Store, archive: ArchiveStore | None) -> "Receipts":
        """Read them as `load` does; where there is no salt yet, a passing one does for a look."""
        receipts = await cls.load(store, archive)
        receipts.salts = receipts.salts or [secrets.token_bytes(_BYTES)]
        return receipts

    @classmethod
    async def for_writing(cls, store: Store, archive: ArchiveStore | None, clock: Clock) -> "Receipts":
        """Read them as `load` does, and see to it that there is a salt, the same for all, in both places."""
        receipts = await cls.load(store, archive)
        salt = receipts.salts[0] if receipts.salts else secrets.token_bytes(_BYTES)
        data = {"salt": salt.hex()}
        record = Record(kind=RecordKind.ERASURE, key=_SALT, group=_SALTS, created_at=clock.now(), data={**data})
        if not await store.records.put(record, replace=False) and not receipts.salts:
            return await cls.for_writing(store, archive, clock)  # Somebody else was faster.
        if archive and await archive.note(_SALT) is None:
            await archive.put_note(_SALT, json.dumps(data).encode())
        receipts.salts = receipts.salts or [salt]
        return receipts

    def subject_of(self, user: str) -> str:
        """Return the keyed digest of a user's id."""
        return self._digests(user)[0]

    def of(self, subject: str) -> ErasureReceipt | None:
        """Return the latest receipt of a subject, or None."""
        return self._by_subject.get(subject)

    def pseudonym_of(self, user: str) -> str:
        """Return what stands in the place of a user's id: always the same."""
        return "erased-" + hmac.new(self.salts[0], b"pseudonym\0" + user.encode(), hashlib.sha256).hexdigest()[:24]

    def erased_at(self, user: str) -> datetime | None:
        """Return when a user was erased, the last time; None: never."""
        if user not in self._cache:
            moments = [receipt.at for one in self._digests(user) if (receipt := self.of(one))]
            self._cache[user] = max(moments, default=None)
        return self._cache[user]

    def _digests(self, user: str) -> list[str]:
        return [hmac.new(salt, user.encode(), hashlib.sha256).hexdigest() for salt in self.salts]


async def keep_brought(store: Store, records: Iterable[Record]) -> None:
    """Keep records of erasures that came with a backup, beside the store's own. Idempotent."""
    for record in records:
        if record.group == _SALTS:  # What its receipts are digested by: the store has a salt of its own.
            named = {"key": f"{_SALT}-{str(record.data['salt'])[:16]}"}
            await store.records.put(record.model_copy(update=named), replace=False)
        else:
            await store.records.put(record, replace=False)


async def put_receipt(store: Store, archive: ArchiveStore | None, receipt: ErasureReceipt) -> None:
    """Keep a receipt in the store and beside the archive. Idempotent."""
    if archive:
        await archive.put_note(f"{_NOTE}{receipt.subject}", receipt.model_dump_json().encode())
    shown = receipt.model_copy(update={"sessions": receipt.sessions[:_LISTED]})
    await store.records.put(
        Record(
            kind=RecordKind.ERASURE,
            key=receipt.subject,
            group=_RECEIPTS,
            created_at=receipt.at,
            data=shown.model_dump(mode="json"),
        )
    )


def _salt_in(note: bytes, name: str) -> bytes:
    try:
        return bytes.fromhex(json_in(note)["salt"])
    except (ValueError, KeyError, TypeError):
        raise ArchiveDamaged(f"the note {name} beside the archive is damaged: it holds no salt") from None


def _receipt_in(note: bytes, name: str) -> ErasureReceipt:
    try:
        return ErasureReceipt.model_validate_json(note)
    except ValidationError:
        raise ArchiveDamaged(f"the note {name} beside the archive is damaged: it holds no receipt") from None
