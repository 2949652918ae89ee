"""The store contract of going through all there is: for copying it to another store."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from agentbus.contracts.history import Page
from agentbus.contracts.ids import Partition
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.port import MAX_PAGE, Epoch, LastToken, Store
from agentbus.testing.builders import a_conversation, a_head, a_member, a_parked
from agentbus.testing.conformance.inside import age_heartbeat
from agentbus.testing.conformance.store_locks_suite import HOUR, acquired
from agentbus.testing.conformance.store_records_suite import CHECKPOINT, TEMPLATE, a_record

Item = TypeVar("Item")

ODD_NAMES = ("a", "A", "a b", "a ", "$a.'😀", "%", ".", "x" * 255, "ä" * 255)

SCANS: dict[str, Callable[[Store], Callable[..., Awaitable[Page[Any]]]]] = {
    "heads": lambda store: store.heads.scan,
    "parked": lambda store: store.parked.ids,
    "records": lambda store: lambda **given: store.records.scan(CHECKPOINT, **given),
    "locks": lambda store: store.locks.tokens,
}


async def gone_through(scan: Callable[..., Awaitable[Page[Item]]], limit: int) -> list[Item]:
    """Return all there is, read in pages of up to `limit`."""
    found: list[Item] = []
    cursor: str | None = None
    while True:
        page = await scan(limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.cursor
        if cursor is None:
            return found


class StoreScansSuite:
    """What every store must do to be copied. Subclasses define the fixture `store`."""

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_all_heads_are_gone_through_deleted_ones_too(self, store: Store, limit: int) -> None:
        one, other = a_conversation(), a_conversation()
        heads = [a_head(one, generation=number) for number in (1, 2, 10)]
        heads += [a_head(other, status=SessionStatus.DELETED)]
        await store.heads.save(heads)

        found = await gone_through(store.heads.scan, limit)

        assert sorted(head.session_id for head in found) == sorted(head.session_id for head in heads)
        assert all(head in found for head in heads)

    @pytest.mark.parametrize("limit", [1, 100])
    async def test_all_parked_inputs_are_gone_through(self, store: Store, limit: int) -> None:
        given = [a_parked(name) for name in ("one", "two", "three")]
        await store.parked.put_many(given)

        assert sorted(await gone_through(store.parked.ids, limit)) == sorted(one.parked_id for one in given)

    @pytest.mark.parametrize("limit", [1, 2, 100])
    async def test_records_of_a_kind_are_gone_through_whatever_their_groups(self, store: Store, limit: int) -> None:
        given = [a_record(name, group=f"group-{number % 2}", at=number) for number, name in enumerate(ODD_NAMES)]
        await store.records.put_many([*given, a_record("a", kind=TEMPLATE)])

        found = await gone_through(SCANS["records"](store), limit)

        assert sorted(found, key=lambda record: record.key) == sorted(given, key=lambda record: record.key)
        assert await gone_through(lambda **given: store.records.scan(RecordKind.DEADLINE, **given), limit) == []

    @pytest.mark.parametrize("limit", [1, 100])
    async def test_last_tokens_are_gone_through_of_locks_that_were_released_too(self, store: Store, limit: int) -> None:
        for name in ODD_NAMES:
            await acquired(store, name)
        await store.locks.release("a", 1)
        await acquired(store, "a")
        await store.locks.release("A", 1)

        found = await gone_through(store.locks.tokens, limit)

        assert sorted(found) == sorted(LastToken(name, 2 if name == "a" else 1) for name in ODD_NAMES)

    async def test_a_lock_goes_on_above_the_token_that_it_is_advanced_to(self, store: Store) -> None:
        lock = await acquired(store, "held")

        for name in ("held", "new"):
            for token in (7, 7, 3):
                await store.locks.advance(name, token)

        assert {one.name: one.token for one in await gone_through(store.locks.tokens, 100)} == {"held": 7, "new": 7}
        assert await store.locks.renew("held", lock.token, ttl=HOUR) is None
        assert (await acquired(store, "new")).token == 8
        with pytest.raises(ValueError, match="String should have at least 1 character"):
            await store.locks.advance("", 1)

    async def test_everyone_who_lives_is_found_in_all_groups(self, store: Store) -> None:
        assert await store.members.everyone(ttl=HOUR) == []
        for group, name in (("one", "w2"), ("one", "gone"), ("other", "w1"), ("x" * 255, "w2")):
            await store.members.heartbeat(group, a_member(name), ttl=HOUR)
        await age_heartbeat(store, "one", "gone", 2 * HOUR)

        found = await store.members.everyone(ttl=HOUR)

        assert [one.worker_id for one in found] == ["w1", "w2", "w2"]
        assert [one.host for one in found] == ["host"] * 3

    async def test_epochs_are_told_of_all_groups(self, store: Store) -> None:
        assert await store.members.epochs() == []
        for group, partition, above in (("one", 10, 0), ("one", 2, 6), ("other", 2, 0), ("other", 2, 0)):
            await store.members.take_epoch(group, Partition(partition), above=above)

        expected = [Epoch("one", Partition(2), 7), Epoch("one", Partition(10), 1), Epoch("other", Partition(2), 2)]
        assert await store.members.epochs() == expected

    @pytest.mark.parametrize("section", SCANS)
    async def test_limits_and_cursors_of_scans_are_checked(self, store: Store, section: str) -> None:
        scan = SCANS[section](store)
        page = await store.heads.scan(limit=1)
        assert page.cursor is None

        for limit in (0, MAX_PAGE + 1):
            with pytest.raises(ValueError, match="limit"):
                await scan(limit=limit)
        for cursor in ("", "nonsense", "WyJzZXNzaW9ucyIsMSwieCJd"):
            with pytest.raises(ValueError, match="not a cursor"):
                await scan(limit=1, cursor=cursor)
