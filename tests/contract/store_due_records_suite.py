"""The store contract of records in bulk: guarded by their revision, found by when they are due."""

import asyncio

import pytest

from contracts.records import Record, RecordKind
from storage.port import MAX_PAGE, Store
from tests.builders import a_moment
from tests.contract.store_records_suite import ODD_DATA, a_record, keys

DEADLINE, TASK = RecordKind.DEADLINE, RecordKind.SYNC_TASK


def a_deadline(key: str, *, group: str = "group", due: float | None = 0, revision: int = 0) -> Record:
    return a_record(key, kind=DEADLINE, group=group, due=due, revision=revision)


async def due_keys(
    store: Store, before: float, *, kind: RecordKind = DEADLINE, groups: tuple[str, ...] | None = None, limit: int = 100
) -> list[str]:
    """Return the keys of the records due so many seconds after noon."""
    found = await store.records.due(kind, a_moment(before), groups=groups, limit=limit)
    return [record.key for record in found]


class StoreDueRecordsSuite:
    """What every store must do for records in bulk. Subclasses define the fixture `store`."""

    async def test_many_records_come_back_whole(self, store: Store) -> None:
        odd = Record(
            kind=DEADLINE,
            key="$k.😀'",
            group="$g.'",
            created_at=a_moment(0.001),
            data=ODD_DATA,
            revision=2**40,
            due_at=a_moment(0.002),
        )
        plain = a_record("never due", kind=TASK)

        await store.records.put_many([odd, plain])
        await store.records.put_many([])

        assert await store.records.get(DEADLINE, odd.key) == odd
        assert await store.records.get(TASK, "never due") == plain
        assert (await store.records.page(DEADLINE, "$g.'")).items == (odd,)
        assert await store.records.due(DEADLINE, a_moment(1), limit=10) == [odd]

    async def test_single_record_has_revision_and_due_at_too(self, store: Store) -> None:
        record = a_record(kind=DEADLINE, revision=5, due=1)

        assert await store.records.put(record)

        assert await store.records.get(DEADLINE, "key") == record
        assert await store.records.due(DEADLINE, a_moment(1), limit=1) == [record]
        # It does not look at revisions.
        lower = record.model_copy(update={"revision": 4, "due_at": None})
        assert await store.records.put(lower)
        assert await store.records.get(DEADLINE, "key") == lower
        assert await due_keys(store, 10) == []

    # Revisions

    async def test_lower_revision_changes_nothing(self, store: Store) -> None:
        kept = a_deadline("k", due=10, revision=5)
        await store.records.put_many([kept])

        await store.records.put_many([a_deadline("k", group="other", due=0, revision=4), a_deadline("new", due=20)])

        assert await store.records.get(DEADLINE, "k") == kept
        assert await due_keys(store, 100) == ["k", "new"]
        assert await keys(store, DEADLINE, "other") == []

    @pytest.mark.parametrize("revision", [5, 6])
    async def test_equal_or_higher_revision_replaces(self, store: Store, revision: int) -> None:
        await store.records.put_many([a_deadline("k", due=10, revision=5)])
        replacing = a_deadline("k", group="other", due=0, revision=revision)

        await store.records.put_many([replacing])

        assert await store.records.get(DEADLINE, "k") == replacing
        assert await due_keys(store, 5) == ["k"]
        assert await keys(store, DEADLINE) == []
        assert await keys(store, DEADLINE, "other") == ["k"]

    async def test_newest_of_racing_records_stays(self, store: Store) -> None:
        records = [a_deadline("k", group=f"g{revision}", revision=revision) for revision in range(1, 21)]

        await asyncio.gather(*(store.records.put_many([record]) for record in reversed(records)))

        assert await store.records.get(DEADLINE, "k") == records[-1]
        assert await store.records.due(DEADLINE, a_moment(), limit=10) == [records[-1]]

    async def test_kinds_have_revisions_of_their_own(self, store: Store) -> None:
        await store.records.put_many([a_deadline("k", revision=5), a_record("k", kind=TASK, revision=1)])

        await store.records.put_many([a_record("k", kind=TASK, revision=2, data="new")])

        assert await store.records.get(TASK, "k") == a_record("k", kind=TASK, revision=2, data="new")
        assert await store.records.get(DEADLINE, "k") == a_deadline("k", revision=5)

    # What is due

    async def test_records_are_due_earliest_first(self, store: Store) -> None:
        due = {"late": 30, "b": 10, "B": 10, "a": 10, "first": 0.001, "later": 50}
        await store.records.put_many([a_deadline(key, due=seconds) for key, seconds in due.items()])
        await store.records.put_many([a_deadline("never", due=None), a_record("task", kind=TASK, due=0)])
        expected = ["first", "B", "a", "b", "late"]

        assert await due_keys(store, 49.999) == expected
        assert await due_keys(store, 30) == expected
        assert await due_keys(store, 29.9999) == expected[:4]
        assert await due_keys(store, 49, limit=2) == expected[:2]
        assert await due_keys(store, 0) == []
        assert await due_keys(store, 0, kind=TASK) == ["task"]
        assert await due_keys(store, 100, kind=RecordKind.ERASURE) == []

    async def test_records_are_due_by_group(self, store: Store) -> None:
        groups = {"k0": "1", "k1": "2", "k2": "3", "k3": "1", "k4": "2", "k5": "10"}
        await store.records.put_many([a_deadline(key, group=group, due=int(key[1])) for key, group in groups.items()])

        assert await due_keys(store, 100, groups=("1", "2")) == ["k0", "k1", "k3", "k4"]
        assert await due_keys(store, 3, groups=("1", "2")) == ["k0", "k1", "k3"]
        assert await due_keys(store, 100, groups=("2", "1"), limit=3) == ["k0", "k1", "k3"]
        assert await due_keys(store, 100, groups=("10", "unknown")) == ["k5"]
        assert await due_keys(store, 100, groups=("unknown",)) == []
        assert await due_keys(store, 100, groups=()) == []
        assert await due_keys(store, 100, groups=tuple(str(number) for number in range(300))) == list(groups)

    async def test_record_that_is_put_off_is_due_later(self, store: Store) -> None:
        await store.records.put_many([a_deadline("k", due=0), a_deadline("other", due=1)])

        await store.records.put_many([a_deadline("k", due=5)])
        assert await due_keys(store, 4) == ["other"]
        assert await due_keys(store, 5) == ["other", "k"]

        await store.records.put_many([a_deadline("k", due=None)])
        assert await due_keys(store, 100) == ["other"]

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_limit_of_due_records_is_checked(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.records.due(DEADLINE, a_moment(), limit=limit)

    # Dropping

    async def test_records_are_dropped(self, store: Store) -> None:
        records = [a_deadline(f"k{n}", revision=5) for n in range(4)]
        await store.records.put_many([*records, a_record("k0", kind=TASK)])

        await store.records.drop([records[0], records[1].model_copy(update={"revision": 6}), a_deadline("unknown")])
        await store.records.drop([])

        assert await due_keys(store, 100) == ["k2", "k3"]
        assert sorted(await keys(store, DEADLINE)) == ["k2", "k3"]
        assert await store.records.get(DEADLINE, "k0") is None
        assert await store.records.get(TASK, "k0") is not None
        await store.records.drop([records[0]])
        assert await store.records.put(records[0], replace=False)

    async def test_dropping_with_a_lower_revision_does_nothing(self, store: Store) -> None:
        newer, same = a_deadline("newer", revision=6, due=9), a_deadline("same", revision=5)
        await store.records.put_many([newer, same])

        await store.records.drop([a_deadline("newer", revision=5), same])

        assert await store.records.get(DEADLINE, "newer") == newer
        assert await due_keys(store, 100) == ["newer"]

    async def test_dropped_wherever_its_group_is_now(self, store: Store) -> None:
        await store.records.put_many([a_deadline("k", group="old")])
        await store.records.put_many([a_deadline("k", group="new")])

        await store.records.drop([a_deadline("k", group="old")])

        assert await store.records.get(DEADLINE, "k") is None
        assert await keys(store, DEADLINE, "new") == []

    async def test_many_records_at_once(self, store: Store) -> None:
        records = [a_deadline(f"k{n:03}", group=str(n % 7), due=n, revision=1) for n in range(500)]
        await store.records.put_many(records)
        assert await store.records.due(DEADLINE, a_moment(1000), limit=1000) == records

        later = [record.model_copy(update={"revision": 2}) for record in records[:250]]
        await store.records.put_many([*later, *(a_deadline(f"n{n}", due=None) for n in range(250))])
        await store.records.drop(records)

        assert await store.records.due(DEADLINE, a_moment(1000), limit=1000) == later


class DurableStoreDueRecordsSuite(StoreDueRecordsSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_due_records_are_found_again(self, store: Store, reopened: Store) -> None:
        record = a_deadline("k", revision=3)
        await store.records.put_many([record, a_deadline("gone")])
        await store.records.drop([a_deadline("gone")])
        await store.close()

        assert await reopened.records.due(DEADLINE, a_moment(), groups=["group"], limit=10) == [record]
        await reopened.records.put_many([a_deadline("k", revision=2, due=-9)])
        assert await reopened.records.get(DEADLINE, "k") == record

    async def test_newest_record_of_two_processes_stays(self, store: Store, reopened: Store) -> None:
        records = [a_deadline("k", revision=revision) for revision in range(10)]

        await asyncio.gather(*(one.records.put_many([record]) for record in records for one in (store, reopened)))

        assert await store.records.get(DEADLINE, "k") == await reopened.records.get(DEADLINE, "k") == records[-1]
