"""Cursors: opaque, checked, and good for one kind of list."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from agentbus.contracts.history import Page
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage import reading
from agentbus.storage.memory import MemoryStore
from agentbus.storage.paging import decode_cursor, encode_cursor, from_milliseconds, position_of, to_milliseconds


def test_cursor_comes_back() -> None:
    cursor = encode_cursor("history", "id-😀", 3, -4)

    assert decode_cursor("history", cursor, str, int, int) == ["id-😀", 3, -4]
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?")


@pytest.mark.parametrize("types", [(str,), (int, str), (str, int, int)])
def test_cursor_of_other_parts_is_refused(types: tuple[type, ...]) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("history", encode_cursor("history", "a", 1), *types)


def test_boolean_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        decode_cursor("history", encode_cursor("history", True), int)


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)])
def test_moments_come_back(moment: datetime) -> None:
    assert from_milliseconds(to_milliseconds(moment)) == moment


@pytest.mark.parametrize("milliseconds", [10**15, -(10**15), 10**30])
def test_position_outside_of_time_is_refused(milliseconds: int) -> None:
    with pytest.raises(ValueError, match="not a date"):
        position_of("sessions", encode_cursor("sessions", milliseconds, "id"))


async def test_what_moves_to_the_front_of_a_list_while_it_is_read_is_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 3)
    async with MemoryStore() as store:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)

        def record(number: int, moment: datetime) -> Record:
            return Record(kind=RecordKind.TEMPLATE, key=f"r{number}", created_at=moment, data={})

        def parked(number: int, moment: datetime) -> ParkedInput:
            where = {"queue": "q", "code": "boom", "reason": "boom", "body": b""}
            return ParkedInput.model_validate({"parked_id": f"{number:032x}", "parked_at": moment, **where})

        for number in range(10):
            await store.records.put(record(number, noon + timedelta(minutes=number)))
            await store.parked.put(parked(number, noon + timedelta(minutes=number)))

        found = list[str]()
        async for one in reading.iter_records(store, RecordKind.TEMPLATE, "default"):
            found.append(one.key)
            if len(found) == 4:  # A page was read, and the oldest is put anew; another comes.
                await store.records.put(record(0, noon + timedelta(hours=1)))
                await store.records.put(record(10, noon + timedelta(hours=1)))
        assert sorted(found) == sorted(f"r{number}" for number in range(11))

        ids = list[str]()
        async for item in reading.iter_parked(store):
            ids.append(item.parked_id)
            if len(ids) == 4:
                await store.parked.put(parked(0, noon + timedelta(hours=1)))
        assert sorted(ids) == sorted(parked(number, noon).parked_id for number in range(10))


async def test_of_a_long_list_that_was_read_little_is_kept() -> None:
    count, newest = 60_000, datetime(2026, 1, 1, 12, tzinfo=UTC)

    async def read(*, cursor: str | None) -> Page[int]:
        first = int(cursor or 0)
        last = min(first + 200, count)
        return Page(items=tuple(range(first, last)), cursor=str(last) if last < count else None)

    def place(number: int) -> tuple[datetime, str]:
        return newest - timedelta(seconds=number), f"session-{number:032}"

    read_them = reading._all_pages(read, place)
    tracemalloc.start()
    try:
        found = 0
        async for number in read_them:
            assert number == found
            found += 1
            if found == 10_000:
                before, _ = tracemalloc.get_traced_memory()
            if found == count:
                after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == count
    assert (after - before) / (count - 10_000) < 20, "bytes an item"


def test_a_name_is_new_once() -> None:
    seen = reading._Seen()
    names = [f"name-{number}" for number in range(20_000)]
    assert all(map(seen.is_new, names))
    assert not any(map(seen.is_new, names))
    assert seen.is_new("another")
