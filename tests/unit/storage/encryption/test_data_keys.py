"""Data keys: one a subject whoever asks first, and their ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import ConfigurationError, KeyMissing, StoreDamaged
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.encryption import DataKey, DataKeys, Destroyed, KeyState, LocalMasterKeys, data_keys
from agentbus.storage.encryption.data_keys import MOST_USES, NOTICED
from agentbus.storage.memory.records import MemoryRecords
from agentbus.testing.cancelling import When, cancel_everywhere
from tests.harness.encryption import FIRST, MASTERS, SECOND


class SlowRecords(MemoryRecords):
    """Records that others get at between any two calls."""

    async def put(self, record: Record, *, replace: bool = True) -> bool:
        await asyncio.sleep(0)
        return await super().put(record, replace=replace)

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        await asyncio.sleep(0)
        return await super().get(kind, key)


class Time:
    """Monotonic time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def records() -> SlowRecords:
    return SlowRecords()


@pytest.fixture
def time() -> Time:
    return Time()


async def keys_of(records: MemoryRecords, time: Time, masters: LocalMasterKeys = MASTERS) -> DataKeys:
    keys = DataKeys(records, masters, SystemClock(), monotonic=time)
    await keys.start(None)
    return keys


async def key(keys: DataKeys, subject: str = "user:ann") -> DataKey:
    found = (await keys.to_encrypt([subject]))[subject]
    assert isinstance(found, DataKey)
    return found


async def states(keys: DataKeys) -> list[KeyState]:
    found = sorted([(one.name, one.state) async for one in keys.all() if one.name != "index"])
    return [state for _, state in found]


async def test_processes_that_ask_at_once_get_one_key(records: SlowRecords, time: Time) -> None:
    processes = await asyncio.gather(*(keys_of(records, time) for _ in range(4)))

    found = await asyncio.gather(*map(key, processes))

    assert len({one.name for one in found}) == 1
    assert await states(processes[0]) == [KeyState.LIVE]
    sealed = found[0].encrypt(b"hello", "here")
    assert [one.decrypt(sealed, "here") for one in found] == [b"hello"] * 4


@pytest.mark.parametrize("when", When)
async def test_making_a_key_cancelled_at_any_await_leaves_none_or_one(when: When, time: Time) -> None:
    records = SlowRecords()

    async def prepare() -> Coroutine[Any, Any, object]:
        nonlocal records
        records = SlowRecords()
        return made()

    async def made() -> None:
        await key(await keys_of(records, time))

    async def check() -> None:
        later = await keys_of(records, time)
        assert (await key(later)).name.endswith(".1")
        assert await states(later) == [KeyState.LIVE]

    assert await cancel_everywhere(prepare, check, when=when) > 5


async def test_what_was_encrypted_is_read_by_others_later(records: SlowRecords, time: Time) -> None:
    sealing = await key(await keys_of(records, time))
    later = await keys_of(records, time)

    found = await later.to_decrypt([sealing.name, "unknown.1"])

    assert isinstance(there := found[sealing.name], DataKey)
    assert there.decrypt(sealing.encrypt(b"hello", "here"), "here") == b"hello"
    assert isinstance(missing := found["unknown.1"], KeyMissing)
    assert missing.details == {"data_key": "unknown.1"}


async def test_subjects_have_keys_of_their_own_whose_names_tell_nothing(records: SlowRecords, time: Time) -> None:
    ann, bob = (await (await keys_of(records, time)).to_encrypt(["user:ann", "user:bob"])).values()
    elsewhere = await key(await keys_of(SlowRecords(), time))

    assert isinstance(ann, DataKey)
    assert isinstance(bob, DataKey)
    assert len({ann.name, bob.name, elsewhere.name}) == 3
    with pytest.raises(ValueError, match="belongs elsewhere"):
        bob.decrypt(ann.encrypt(b"hello", "here"), "here")


async def test_a_retired_key_reads_and_the_next_one_writes(records: SlowRecords, time: Time) -> None:
    keys, other = await keys_of(records, time), await keys_of(records, time)
    first = await key(keys)
    assert await key(other) is await key(other)

    assert await keys.retire(["user:ann", "user:nobody"])

    assert (await key(keys)).name.endswith(".2")
    assert (await key(other)).name == first.name  # It does not know yet.
    time.now += NOTICED
    assert (await key(other)).name == (await key(keys)).name
    assert isinstance((await other.to_decrypt([first.name]))[first.name], DataKey)
    assert await states(keys) == [KeyState.RETIRED, KeyState.LIVE]
    assert not await keys.retire(["user:nobody"])


async def test_what_a_destroyed_key_encrypted_is_gone_for_all(records: SlowRecords, time: Time) -> None:
    keys, other = await keys_of(records, time), await keys_of(records, time)
    first = await key(keys)
    await other.to_decrypt([first.name])
    await keys.retire(["user:ann"])
    second = await key(keys)

    assert await keys.destroy(["user:ann"]) == 1
    assert await keys.destroy(["user:ann"]) == 0

    assert isinstance((await keys.to_decrypt([first.name]))[first.name], Destroyed)
    time.now += NOTICED
    assert isinstance((await other.to_decrypt([first.name]))[first.name], Destroyed)
    assert isinstance((await other.to_decrypt([second.name]))[second.name], DataKey)
    kept = await records.get(RecordKind.DATA_KEY, first.name)
    assert kept is not None
    assert kept.data == {"state": "destroyed"}


async def test_a_rotation_that_meets_a_destruction_does_not_undo_it(records: SlowRecords, time: Time) -> None:
    keys = await keys_of(records, time)
    first = await key(keys)
    rotating = DataKeys(records, LocalMasterKeys({"second": SECOND, "first": FIRST}), SystemClock(), monotonic=time)
    seen = [one async for one in rotating.all()]

    await keys.retire(["user:ann"])
    await keys.destroy(["user:ann"])
    assert [await rotating.wrap_anew(one) for one in seen] == [True, True]

    assert await states(keys) == [KeyState.DESTROYED]
    assert isinstance((await keys.to_decrypt([first.name]))[first.name], Destroyed)


async def test_a_key_that_was_used_often_is_followed_by_the_next(records: SlowRecords, time: Time) -> None:
    keys = await keys_of(records, time)
    first = await key(keys)
    first.uses = MOST_USES - 1
    sealed = (await key(keys)).encrypt(b"the last", "here")

    second = await key(keys)

    assert second.name != first.name
    assert await states(keys) == [KeyState.RETIRED, KeyState.LIVE]
    there = (await keys.to_decrypt([first.name]))[first.name]
    assert isinstance(there, DataKey)
    assert there.decrypt(sealed, "here") == b"the last"


async def test_keys_are_not_remembered_for_ever(
    records: SlowRecords, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_keys, "_CACHED", 5)
    keys = await keys_of(records, time)
    first = await key(keys)
    time.now += 3601

    again = await key(keys)

    assert again is not first
    assert again.name == first.name
    await keys.to_encrypt([f"user:{number}" for number in range(9)])
    assert len(keys._current._items) == 5
    assert await key(keys) is not again


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({"wrapped": "AAAA"}, "master key 'first'"),
        ({"master": "third"}, "'third' is needed"),
        ({"wrapped": "?"}, "damaged"),
    ],
)
async def test_a_damaged_key_fails_its_subject_alone(
    records: SlowRecords, time: Time, data: dict[str, Any], wrong: str
) -> None:
    keys = await keys_of(records, time)
    name = (await key(keys)).name
    record = await records.get(RecordKind.DATA_KEY, name)
    assert record is not None
    await records.put(record.model_copy(update={"data": record.data | data}))

    found = await (await keys_of(records, time)).to_encrypt(["user:ann", "user:bob"])

    assert isinstance(damage := found["user:ann"], StoreDamaged)
    assert wrong in str(damage)
    assert isinstance(found["user:bob"], DataKey)
    assert isinstance((await (await keys_of(records, time)).to_decrypt([name]))[name], StoreDamaged)


async def test_other_keys_than_before_are_refused(records: SlowRecords, time: Time) -> None:
    first = await DataKeys(records, MASTERS, SystemClock(), monotonic=time).start(None)
    assert await DataKeys(records, MASTERS, SystemClock(), monotonic=time).start(first) == first

    for others in (SlowRecords(), records):
        keys = DataKeys(others, MASTERS, SystemClock(), monotonic=time)
        with pytest.raises(ConfigurationError, match="not those that this store was encrypted with"):
            await keys.start("another")
    with pytest.raises(KeyMissing, match="'first' is needed"):
        await DataKeys(records, LocalMasterKeys({"x": FIRST}), SystemClock(), monotonic=time).start(first)
    with pytest.raises(StoreDamaged, match="another key was given by that name"):
        await DataKeys(records, LocalMasterKeys({"first": SECOND}), SystemClock(), monotonic=time).start(first)
