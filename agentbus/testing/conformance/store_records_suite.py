"""The store contract of records: one by one, and in bulk."""

import asyncio

import pytest
from pydantic import JsonValue

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import MAX_PAGE, Store
from agentbus.testing.builders import a_conversation, a_head, a_moment

CHECKPOINT, TEMPLATE = RecordKind.CHECKPOINT, RecordKind.TEMPLATE
ODD_DATA: dict[str, JsonValue] = {
    "a.b": {"$set": 1, "%2E": [{"x.y": "$z"}]},
    "$where": "'\"\\",
    "data": {"metadata": {"a.b": 1}},
    "int64": [2**63 - 1, -(2**63)],
    "text": "😀 \u0000",
    "": None,
}


def a_record(
    key: str = "key",
    *,
    kind: RecordKind = CHECKPOINT,
    group: str = "group",
    at: float = 0,
    data: JsonValue = None,
    revision: int = 0,
    due: float | None = None,
) -> Record:
    """Return a record made so many seconds after noon that holds `data`; due so many seconds after noon, or never."""
    due_at = None if due is None else a_moment(due)
    return Record(
        kind=kind,
        key=key,
        group=group,
        created_at=a_moment(at),
        data={"data": data},
        revision=revision,
        due_at=due_at,
    )


async def keys(store: Store, kind: RecordKind = CHECKPOINT, group: str = "group") -> list[str]:
    return [record.key for record in (await store.records.page(kind, group)).items]


DEADLINE, TASK, FIGURE = RecordKind.DEADLINE, RecordKind.SYNC_TASK, RecordKind.FIGURE


def a_deadline(key: str, *, group: str = "group", due: float | None = 0, revision: int = 0) -> Record:
    return a_record(key, kind=DEADLINE, group=group, due=due, revision=revision)


async def due_keys(
    store: Store, before: float, *, kind: RecordKind = DEADLINE, groups: tuple[str, ...] | None = None, limit: int = 100
) -> list[str]:
    """Return the keys of the records due so many seconds after noon."""
    found = await store.records.due(kind, a_moment(before), groups=groups, limit=limit)
    return [record.key for record in found]


class StoreRecordsSuite:
    """What every store must do for records. Subclasses define the fixture `store`."""

    async def test_record_comes_back_whole(self, store: Store) -> None:
        record = Record(
            kind=TEMPLATE, key="$k.😀'" + "x" * 249, group="$g.'", created_at=a_moment(0.001), data=ODD_DATA
        )

        assert await store.records.put(record)

        assert await store.records.get(TEMPLATE, record.key) == record
        assert (await store.records.page(TEMPLATE, "$g.'")).items == (record,)

    async def test_unknown_record_is_none(self, store: Store) -> None:
        await store.records.put(a_record())

        assert await store.records.get(CHECKPOINT, "Key") is None
        assert await store.records.get(TEMPLATE, "key") is None
        assert (await store.records.page(CHECKPOINT, "other")).items == ()

    async def test_record_replaces_the_one_before(self, store: Store) -> None:
        await store.records.put(a_record(data={"a": 1, "b": 2}))
        replacing = a_record(group="other", at=5, data={"a": 3})

        assert await store.records.put(replacing)

        assert await store.records.get(CHECKPOINT, "key") == replacing
        assert await keys(store) == []
        assert await keys(store, group="other") == ["key"]

    async def test_record_is_kept_unless_it_may_be_replaced(self, store: Store) -> None:
        first = a_record(data="first")

        assert await store.records.put(first, replace=False)
        assert not await store.records.put(a_record(group="other", at=5, data="second"), replace=False)

        assert await store.records.get(CHECKPOINT, "key") == first
        assert await keys(store, group="other") == []

    async def test_kinds_have_keys_of_their_own(self, store: Store) -> None:
        one, other = a_record(data=1), a_record(kind=TEMPLATE, data=2)

        assert await store.records.put(one, replace=False)
        assert await store.records.put(other, replace=False)

        assert await store.records.get(CHECKPOINT, "key") == one
        assert await store.records.get(TEMPLATE, "key") == other
        assert (await store.records.page(TEMPLATE, "group")).items == (other,)

    async def test_one_of_many_racing_records_is_first(self, store: Store) -> None:
        outcomes = await asyncio.gather(*(store.records.put(a_record(data=n), replace=False) for n in range(20)))

        assert outcomes.count(True) == 1
        assert await store.records.get(CHECKPOINT, "key") == a_record(data=outcomes.index(True))

    async def test_racing_replacements_leave_one(self, store: Store) -> None:
        assert all(await asyncio.gather(*(store.records.put(a_record(data=n)) for n in range(20))))

        assert await keys(store) == ["key"]

    # Lists

    async def test_records_are_listed_latest_first(self, store: Store) -> None:
        records = [a_record(f"k{n}", at=at) for n, at in enumerate((3, 1, 2, 2, 2, 5))]
        for record in [*records, a_record("other", group="other"), a_record("k", kind=TEMPLATE)]:
            await store.records.put(record)
        expected = ["k5", "k0", "k2", "k3", "k4", "k1"]

        seen: list[str] = []
        page = await store.records.page(CHECKPOINT, "group", limit=2)
        seen += [record.key for record in page.items]
        while page.cursor:
            page = await store.records.page(CHECKPOINT, "group", limit=2, cursor=page.cursor)
            seen += [record.key for record in page.items]

        assert await keys(store) == expected
        assert seen == expected

    async def test_pages_of_records_stay_right_while_others_write(self, store: Store) -> None:
        for second in range(6):
            await store.records.put(a_record(f"k{second}", at=second))

        first = await store.records.page(CHECKPOINT, "group", limit=2)
        await store.records.put(a_record("new", at=100))
        await store.records.delete(CHECKPOINT, "k4")
        await store.records.delete(CHECKPOINT, "k2")
        rest = await store.records.page(CHECKPOINT, "group", limit=10, cursor=first.cursor)

        assert [record.key for record in first.items] == ["k5", "k4"]
        assert [record.key for record in rest.items] == ["k3", "k1", "k0"]
        assert rest.cursor is None

    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_limit_of_records_is_checked(self, store: Store, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            await store.records.page(CHECKPOINT, "group", limit=limit)

    async def test_foreign_cursors_of_records_are_refused(self, store: Store) -> None:
        await store.heads.save([a_head(a_conversation()), a_head(a_conversation())])
        of_sessions = (await store.heads.page(SessionFilter(), limit=1)).cursor
        assert of_sessions is not None

        for cursor in ("", "nonsense", "é", "bnVsbA", "WzEsMl0", of_sessions):
            with pytest.raises(ValueError, match="not a cursor"):
                await store.records.page(CHECKPOINT, "group", cursor=cursor)

    # Deletion

    async def test_record_is_deleted_once(self, store: Store) -> None:
        await store.records.put(a_record())
        await store.records.put(a_record(kind=TEMPLATE))

        assert await store.records.delete(CHECKPOINT, "key")
        assert not await store.records.delete(CHECKPOINT, "key")

        assert await store.records.get(CHECKPOINT, "key") is None
        assert await keys(store) == []
        assert await store.records.get(TEMPLATE, "key") is not None
        assert await store.records.put(a_record(data="again"), replace=False)

    async def test_group_is_deleted_whole(self, store: Store) -> None:
        for n in range(3):
            await store.records.put(a_record(f"k{n}"))
        kept = [a_record("other", group="groups"), a_record("k", kind=TEMPLATE)]
        for record in kept:
            await store.records.put(record)

        assert await store.records.delete_group(CHECKPOINT, "group") == 3
        assert await store.records.delete_group(CHECKPOINT, "group") == 0

        assert await keys(store) == []
        assert await store.records.get(CHECKPOINT, "k0") is None
        assert await keys(store, group="groups") == ["other"]
        assert await keys(store, TEMPLATE) == ["k"]

    # In bulk: guarded by their revision, found by when they are due

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

    async def test_what_is_added_again_is_there_once(self, store: Store) -> None:
        records = [a_record(f"k{n}", kind=FIGURE, data={"$a.b": n}) for n in range(4)]

        await store.records.add_many(records[:2])
        await store.records.add_many([records[1], records[2], records[0], records[3]])
        await store.records.add_many([])

        assert [await store.records.get(FIGURE, one.key) for one in records] == records
        assert await keys(store, FIGURE) == ["k0", "k1", "k2", "k3"]

    async def test_putting_off_changes_when_it_is_due_and_what_it_says(self, store: Store) -> None:
        kept = [a_deadline(f"k{n}", due=n, revision=5) for n in range(4)]
        newer, other = a_deadline("newer", due=4, revision=7), a_record("k0", kind=TASK, due=1, revision=5)
        await store.records.put_many([*kept, newer, other])
        changes = {"due_at": a_moment(60), "data": {"$tries": 1, "a.b": [True]}}
        off = [one.model_copy(update=changes) for one in kept[:3]]
        off[1] = off[1].model_copy(update={"revision": 6})
        off[2] = off[2].model_copy(update={"data": {"$tries": 2}, "due_at": a_moment(30)})

        await store.records.put_off([*off, newer.model_copy(update={**changes, "revision": 6})])
        await store.records.put_off([])

        assert [await store.records.get(DEADLINE, one.key) for one in off] == off
        assert await due_keys(store, 10) == ["k3", "newer"]
        assert await due_keys(store, 60) == ["k3", "newer", "k2", "k0", "k1"]
        assert await store.records.get(DEADLINE, "newer") == newer
        assert await store.records.get(TASK, "k0") == other

    async def test_many_are_put_off_alike_but_those_that_are_newer(self, store: Store) -> None:
        kept = [a_deadline(f"k{n:02}", due=n, revision=5) for n in range(24)]
        newer = [a_deadline(f"n{n:02}", due=n, revision=7) for n in range(12)]
        await store.records.put_many([*kept, *newer, a_record("k00", kind=TASK, due=1, revision=5)])
        changes = {"due_at": a_moment(60), "data": {"$tries": 1, "a.b": [True]}, "revision": 6}

        await store.records.put_off([one.model_copy(update=changes) for one in (*kept, *newer)])

        expected = [one.model_copy(update=changes) for one in kept]
        assert await store.records.due(DEADLINE, a_moment(60), limit=100) == [*newer, *expected]
        assert await due_keys(store, 60, kind=TASK) == ["k00"]

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


class DurableStoreRecordsSuite(StoreRecordsSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_records_are_found_again(self, store: Store, reopened: Store) -> None:
        record = a_record(data=ODD_DATA)
        await store.records.put(record)
        await store.records.put(a_record("gone"))
        await store.records.delete(CHECKPOINT, "gone")
        await store.close()

        assert await reopened.records.get(CHECKPOINT, "key") == record
        assert (await reopened.records.page(CHECKPOINT, "group")).items == (record,)
        assert not await reopened.records.put(a_record(), replace=False)

    async def test_one_record_of_two_processes_is_first(self, store: Store, reopened: Store) -> None:
        putting = [one.records.put(a_record(data=n), replace=False) for n in range(10) for one in (store, reopened)]

        assert (await asyncio.gather(*putting)).count(True) == 1
        assert await store.records.get(CHECKPOINT, "key") == await reopened.records.get(CHECKPOINT, "key")

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
