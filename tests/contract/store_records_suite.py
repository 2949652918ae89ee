"""The store contract of records."""

import asyncio

import pytest
from pydantic import JsonValue

from contracts.history import SessionFilter
from contracts.records import Record, RecordKind
from storage.port import MAX_PAGE, Store
from tests.builders import a_conversation, a_head, a_moment

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

    async def test_pages_stay_right_while_others_write(self, store: Store) -> None:
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
