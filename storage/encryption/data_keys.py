"""Data keys: what things are encrypted with. One a subject, such as a user; made when it is first needed.

They are records, of their own store if there is one: each holds its key, encrypted with a master key. A subject's
keys are numbered: the first one that is live encrypts. One that is retired decrypts only, one that was destroyed
nothing any more, for anybody; its record stays, so that this is known.
"""

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from itertools import count
from typing import Any, Final, Generic, TypeVar
from uuid import uuid4

from pydantic import JsonValue

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import ConfigurationError, KeyMissing, StoreDamaged
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import RESTORE, read_as
from agentbus.storage.encryption.masters import BYTES, MasterKeys, random_bytes
from agentbus.storage.port import MAX_PAGE, Records

NOTICED: Final = 10.0
"""Seconds after which a process knows at the latest that a key was retired."""
SURELY_NOTICED: Final = 2 * NOTICED
"""Seconds after which nobody encrypts with a retired key: what was under way has ended by then."""

MOST_USES: Final = 2**20
"""How often a process encrypts with one key before the subject gets the next: with random nonces of 96 bits one key is
good for 2^32 (NIST SP 800-38D), which many processes would have to reach together."""

_AT_ONCE: Final = 16
"""Keys that are asked for at the same time."""
_CACHED: Final = 10_000
_CACHED_FOR: Final = 3600.0
_NONCE: Final = 12
_GROUP: Final = "data_keys"
_INDEX: Final = "index"
_OTHERS: Final = "index."
"""What the names of other stores' indexes begin with; a number follows."""
_MOST_INDEXES: Final = 1_000
_CHANGES: Final = "changes"
_RANK: Final = 10**9
"""Between the revisions of a key's states: no number of times that it is wrapped anew reaches from one to the next."""

_Item = TypeVar("_Item")


class KeyState(StrEnum):
    """What a data key is still good for."""

    LIVE = "live"
    """To encrypt and to decrypt."""
    RETIRED = "retired"
    """To decrypt alone."""
    DESTROYED = "destroyed"
    """Nothing: what it encrypted is gone for good."""


_ORDER: Final = tuple(KeyState)


class DataKey:
    """A key at work, AES-256-GCM, a random nonce each time."""

    __slots__ = ("_cipher", "_wrong", "name", "uses")

    def __init__(self, name: str, secret: bytes) -> None:
        with importing_extras("crypto"):  # Slow to import, and most processes encrypt nothing.
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see above
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

        self.name = name
        self.uses = 0
        self._cipher = AESGCM(secret)
        self._wrong = InvalidTag

    def encrypt(self, plain: bytes, place: str) -> bytes:
        """Encrypt something, bound to its place."""
        self.uses += 1
        nonce = random_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, self._bound(place))

    def decrypt(self, sealed: bytes, place: str) -> bytes:
        """Decrypt what is at its place. Raises ValueError for anything but what was encrypted for it."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._bound(place))
        except self._wrong:
            raise ValueError("it was changed, or belongs elsewhere") from None

    def _bound(self, place: str) -> bytes:
        return f"{self.name}\n{place}".encode()


class Destroyed:
    """In the place of a key that was destroyed."""


Opened = DataKey | Destroyed | StoreDamaged
"""What became of asking for a key."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known of a data key without decrypting it."""

    name: str
    state: KeyState
    master: str | None
    record: Record


class DataKeys:
    """The data keys in a store's records. Any number of processes may use the same.

    Every call may raise what the store's calls do. `monotonic` tells how old what is remembered is, in seconds.
    """

    def __init__(
        self, records: Records, masters: MasterKeys, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._records = records
        self._masters = masters
        self._clock = clock
        self._monotonic = monotonic
        self._index = b""
        self._current = _Bounded[DataKey](monotonic)
        self._opened = _Bounded[DataKey | Destroyed](monotonic)
        self._changes: JsonValue = None
        self._looked_at: float | None = None

    @property
    def masters(self) -> MasterKeys:
        """The master keys."""
        return self._masters

    async def start(self, known: str | None) -> str:
        """Read the key that subjects' names are digested with, or make it; return which it is. Idempotent.

        `known`: which it has to be. Raises ConfigurationError if it is another one or none: these are other keys than
        those that were used until now. Raises KeyMissing, StoreDamaged as its master key is missing or another one.
        """
        record = await self._records.get(RecordKind.DATA_KEY, _INDEX)
        if record is None and known is None:
            made = await self._wrapped(_INDEX, random_bytes(BYTES), id=uuid4().hex)
            await self._records.put(made, replace=False)
            record = await self._records.get(RecordKind.DATA_KEY, _INDEX)
        if record is None or known not in {None, record.data.get("id")}:
            raise ConfigurationError(
                "the data keys are not those that this store was encrypted with: check AGENTBUS_ENCRYPTION_KEY_STORE"
            )
        self._index = await self._unwrapped(record)
        return str(record.data["id"])

    # Encrypting and decrypting

    async def to_encrypt(self, subjects: Iterable[str]) -> dict[str, DataKey | StoreDamaged]:
        """Return the key that each subject's things are encrypted with from now on, made if there is none."""
        await self._notice_changes()
        found: dict[str, DataKey | StoreDamaged] = {}
        missing: list[str] = []
        for subject in dict.fromkeys(subjects):
            key = self._current.get(subject)
            if key is not None and key.uses < MOST_USES:
                found[subject] = key
            else:
                missing.append(subject)
        return found | await _together(missing, self._current_of)

    async def to_decrypt(self, names: Iterable[str]) -> dict[str, Opened]:
        """Return keys by their names; one that can't be had does not fail the others."""
        await self._notice_changes()
        found: dict[str, Opened] = {}
        missing: list[str] = []
        for name in dict.fromkeys(names):
            if key := self._opened.get(name):
                found[name] = key
            else:
                missing.append(name)
        return found | await _together(missing, self._named)

    async def _current_of(self, subject: str) -> DataKey:
        key = await self._find(subject, worn=self._current.get(subject))
        self._current.put(subject, key)
        self._opened.put(key.name, key)
        return key

    async def _find(self, subject: str, *, worn: DataKey | None) -> DataKey:
        for number in count(1):
            name = _name(self._index, subject, number)
            record = await self._records.get(RecordKind.DATA_KEY, name)
            if record is None:
                secret = random_bytes(BYTES)
                made = await self._wrapped(name, secret)
                if await self._records.put(made, replace=False):
                    return DataKey(name, secret)
                record = await self._records.get(RecordKind.DATA_KEY, name)  # Somebody else was faster.
            if record is None or _state(record) is not KeyState.LIVE:
                continue
            if worn is None or worn.name != name:
                return DataKey(name, await self._unwrapped(record))
            await self._set_state(record, KeyState.RETIRED)
        raise AssertionError  # `count` has no end.

    async def _named(self, name: str) -> DataKey | Destroyed:
        record = await self._records.get(RecordKind.DATA_KEY, name)
        if record is None:
            raise KeyMissing(f"the data key {name} is not among the data keys: {RESTORE}", data_key=name)
        destroyed = _state(record) is KeyState.DESTROYED
        key = Destroyed() if destroyed else DataKey(name, await self._unwrapped(record))
        self._opened.put(name, key)
        return key

    async def _notice_changes(self) -> None:
        """Forget what is remembered if a key was retired or destroyed since."""
        now = self._monotonic()
        if self._looked_at is not None and now - self._looked_at < NOTICED:
            return
        record = await self._records.get(RecordKind.DATA_KEY, _CHANGES)
        changes = record.data.get("last") if record else None
        if changes != self._changes:
            self._forget()
        # As of the moment before it was asked: who retires a key waits from the moment after it said so.
        self._changes, self._looked_at = changes, now

    def _forget(self) -> None:
        self._current.clear()
        self._opened.clear()

    # Keys of other stores

    async def bring(self, record: Record) -> None:
        """Keep a data key of a backup, to read with it what is in there; one that is here already stays as it is.

        A key of another store has a name that is digested with that one's key: this is kept too, so that keys can be
        found by their subjects. Nothing is encrypted with them here. Raises KeyMissing, StoreDamaged.
        """
        if record.key == _INDEX or record.key.startswith(_OTHERS):
            await self._bring_index(record)
        elif record.key != _CHANGES and record.group == _GROUP:
            await self._records.put(record, replace=False)

    async def _bring_index(self, record: Record) -> None:
        name = str(record.data.get("id"))
        for key in (_INDEX, *(f"{_OTHERS}{number}" for number in range(1, _MOST_INDEXES + 1))):
            known = await self._records.get(RecordKind.DATA_KEY, key)
            if known is None:
                wrapped = await self._wrapped(key, await self._unwrapped(record), id=name)
                await self._records.put(wrapped, replace=False)
                known = await self._records.get(RecordKind.DATA_KEY, key)  # Somebody else may have been faster.
            if known is not None and known.data.get("id") == name:
                return
        raise StoreDamaged(f"keys of more than {_MOST_INDEXES} other stores were brought here")

    async def destroy_brought(self, subjects: Iterable[str]) -> int:
        """Destroy the keys that subjects had in other stores, of which backups were restored here; return how many.

        At once: nobody encrypts with them. What that store, or its backup, holds can't be read here any more.
        """
        destroyed = 0
        for index in await self._other_indexes():
            for subject in subjects:
                for record in await self._all_under(index, subject):
                    if _state(record) is not KeyState.DESTROYED:
                        await self._set_state(record, KeyState.DESTROYED)
                        destroyed += 1
        if destroyed:
            await self._tell()
        return destroyed

    async def _other_indexes(self) -> list[bytes]:
        found: list[bytes] = []
        for number in count(1):
            record = await self._records.get(RecordKind.DATA_KEY, f"{_OTHERS}{number}")
            if record is None:
                break
            found.append(await self._unwrapped(record))
        return found

    # Ends of keys

    async def retire(self, subjects: Iterable[str]) -> bool:
        """Let nobody encrypt with the subjects' keys any more; return whether somebody may still be at it.

        If so, nobody is after SURELY_NOTICED seconds; those who encrypt for a subject meanwhile begin its next key.
        """
        waiting = False
        others = await self._other_indexes()
        for subject in subjects:
            for record in await self._all_of(subject, others):
                if _state(record) is KeyState.LIVE:
                    await self._set_state(record, KeyState.RETIRED)
                waiting |= _state(record) is not KeyState.DESTROYED
        if waiting:
            await self._tell()
        return waiting

    async def destroy(self, subjects: Iterable[str]) -> int:
        """Destroy the subjects' retired keys; return how many. What they encrypted is gone for good."""
        destroyed = 0
        others = await self._other_indexes()
        for subject in subjects:
            for record in await self._all_of(subject, others):
                if _state(record) is KeyState.RETIRED:
                    await self._set_state(record, KeyState.DESTROYED)
                    destroyed += 1
        if destroyed:
            await self._tell()
        return destroyed

    async def _all_of(self, subject: str, others: Sequence[bytes]) -> list[Record]:
        """Return a subject's keys, those too that came with backups of other stores."""
        return [record for index in (self._index, *others) for record in await self._all_under(index, subject)]

    async def _all_under(self, index: bytes, subject: str) -> list[Record]:
        found: list[Record] = []
        for number in count(1):
            record = await self._records.get(RecordKind.DATA_KEY, _name(index, subject, number))
            if record is None:
                break
            found.append(record)
        return found

    async def _set_state(self, record: Record, state: KeyState) -> None:
        kept = {"state": state.value} if state is KeyState.DESTROYED else record.data | {"state": state.value}
        await self._records.put_many([record.model_copy(update={"data": kept, "revision": _revision(record, state)})])

    async def _tell(self) -> None:
        """Say to all processes that something has changed."""
        data: dict[str, JsonValue] = {"last": uuid4().hex}
        await self._records.put(self._record(_CHANGES, data))
        self._forget()

    # Master keys

    async def all(self) -> AsyncIterator[KeyInfo]:
        """Yield all data keys."""
        cursor: str | None = None
        while True:
            page = await self._records.page(RecordKind.DATA_KEY, _GROUP, limit=MAX_PAGE, cursor=cursor)
            for record in page.items:
                if record.key != _CHANGES:
                    master = record.data.get("master")
                    yield KeyInfo(record.key, _state(record), str(master) if master else None, record)
            cursor = page.cursor
            if cursor is None:
                return

    async def wrap_anew(self, key: KeyInfo) -> bool:
        """Wrap a data key with the active master key; return whether it was wrapped with another one before.

        Raises KeyMissing, StoreDamaged.
        """
        if key.master in {None, self._masters.active}:
            return False
        secret = await self._unwrapped(key.record)
        data = key.record.data | await self._wrapping(key.name, secret)
        revision = _revision(key.record, key.state)
        await self._records.put_many([key.record.model_copy(update={"data": data, "revision": revision})])
        return True

    async def _wrapped(self, name: str, secret: bytes, **more: str) -> Record:
        return self._record(name, {"state": KeyState.LIVE.value, **more, **await self._wrapping(name, secret)})

    async def _wrapping(self, name: str, secret: bytes) -> dict[str, JsonValue]:
        wrapped = await self._masters.wrap(secret, _bound(name))
        return {"master": self._masters.active, "wrapped": base64.b64encode(wrapped).decode()}

    async def _unwrapped(self, record: Record) -> bytes:
        def read(data: Mapping[str, JsonValue]) -> tuple[str, bytes]:
            return str(data["master"]), base64.b64decode(str(data["wrapped"]), validate=True)

        master, wrapped = read_as(f"the data key {record.key}", read, record.data)
        return await self._masters.unwrap(master, wrapped, _bound(record.key))

    def _record(self, name: str, data: Mapping[str, Any]) -> Record:
        return Record(
            kind=RecordKind.DATA_KEY, key=name, group=_GROUP, created_at=self._clock.now(), data=dict(data), revision=0
        )


def _name(index: bytes, subject: str, number: int) -> str:
    """Return the name of a subject's key: nothing tells the subject but the key that names are digested with."""
    digest = blake2b(subject.encode(), key=index, digest_size=16).digest()
    return f"{base64.b32encode(digest).decode().rstrip('=').lower()}.{number}"


class _Bounded(Generic[_Item]):
    """Remembers what was used last, each for an hour at most."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._items: OrderedDict[str, tuple[float, _Item]] = OrderedDict()

    def get(self, name: str) -> _Item | None:
        """Return what is remembered, or None."""
        if (found := self._items.get(name)) is None:
            return None
        since, item = found
        if self._monotonic() - since > _CACHED_FOR:
            del self._items[name]
            return None
        self._items.move_to_end(name)
        return item

    def put(self, name: str, item: _Item) -> None:
        """Remember something."""
        self._items[name] = self._monotonic(), item
        if len(self._items) > _CACHED:
            self._items.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()


async def _together(names: Sequence[str], ask: Callable[[str], Awaitable[_Item]]) -> dict[str, _Item | StoreDamaged]:
    """Return what asking for each name gives, or the damage: several at a time, as each costs some round trips.

    What else is raised is raised once all that were asked for have ended.
    """
    found: dict[str, _Item | StoreDamaged] = {}
    for some in chunks(names, _AT_ONCE):
        for name, answer in zip(some, await asyncio.gather(*map(ask, some), return_exceptions=True), strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, StoreDamaged):
                raise answer
            found[name] = answer
    return found


def _state(record: Record) -> KeyState:
    return read_as(f"the data key {record.key}", lambda data: KeyState(str(data["state"])), record.data)


def _revision(record: Record, state: KeyState) -> int:
    """Return a revision above the record's, and above all of the states before: no older one replaces it."""
    return max(record.revision + 1, _ORDER.index(state) * _RANK)


def _bound(name: str) -> bytes:
    return f"agentbus data key\n{name}".encode()
