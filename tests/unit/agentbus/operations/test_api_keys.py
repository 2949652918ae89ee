"""Keys of the HTTP API: what is kept of them, what can't be one, and one that can't be read."""

from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.records import RecordKind
from agentbus.operations.api_keys import (
    LONGEST,
    ApiKeyNotFound,
    Role,
    any_key,
    create_key,
    list_keys,
    recognised,
    revoke_key,
    without_keys,
)
from agentbus.operations.paging import InvalidCursor
from agentbus.storage.memory import MemoryStore


async def test_a_key_is_recognised_by_its_text_and_listed_without_it() -> None:
    clock = ManualClock()
    async with MemoryStore() as store:
        assert not await any_key(store)
        made, text = await create_key(store, clock, "website", [Role.READ, Role.PUBLISH], expires_in=60)
        assert await any_key(store)
        assert await recognised(store, text) == made
        assert (await list_keys(store)).items == (made,)
        assert made.roles == (Role.PUBLISH, Role.READ)
        assert made.holds(clock.now())
        assert not made.holds(clock.now() + timedelta(seconds=60))
        assert text not in repr(await store.records.get(RecordKind.API_KEY, made.key_id))
        for other in ("", text[:-1], text + "a", text.upper(), text.replace(made.key_id, "a" * 10), "ab__"):
            assert await recognised(store, other) is None, other
        assert without_keys(f"x {text} y") == f"x ab_{made.key_id}_*** y"


async def test_a_revoked_key_stays_in_the_list_and_is_good_for_nothing() -> None:
    clock = ManualClock()
    async with MemoryStore() as store:
        made, text = await create_key(store, clock, "n", [Role.ADMIN])
        revoked = await revoke_key(store, clock, made.key_id)
        clock.advance(timedelta(seconds=5))
        assert await revoke_key(store, clock, made.key_id) == revoked, "again is no change"
        assert await recognised(store, text) == revoked
        assert not revoked.holds(clock.now())
        assert revoked.created_at == made.created_at
        assert (await list_keys(store)).items == (revoked,)


async def test_what_can_not_be() -> None:
    clock = ManualClock()
    async with MemoryStore() as store:
        for name, roles, seconds in (
            ("", [Role.READ], None),
            ("x" * 300, [Role.READ], None),
            ("n", [], None),
            ("n", [Role.READ], 0.0),
            ("n", [Role.READ], LONGEST * 2),
            ("n", [Role.READ], float("nan")),
        ):
            with pytest.raises(SchemaViolation):
                await create_key(store, clock, name, roles, expires_in=seconds)
        assert not await any_key(store)
        for key_id in ("a" * 10, "../x", "", "\x00", "a" * 500):
            with pytest.raises(ApiKeyNotFound):
                await revoke_key(store, clock, key_id)
        with pytest.raises(InvalidCursor):
            await list_keys(store, cursor="x")


async def test_one_that_can_not_be_read_is_no_key_and_hides_no_other() -> None:
    clock = ManualClock()
    async with MemoryStore() as store:
        broken, text = await create_key(store, clock, "broken", [Role.READ])
        made, _ = await create_key(store, clock, "n", [Role.READ])
        record = await store.records.get(RecordKind.API_KEY, broken.key_id)
        assert record is not None
        await store.records.put(record.model_copy(update={"data": {"name": "broken"}}))
        assert await recognised(store, text) is None
        assert (await list_keys(store)).items == (made,)


async def test_a_role_of_a_later_release_is_passed_over() -> None:
    clock = ManualClock()
    async with MemoryStore() as store:
        made, text = await create_key(store, clock, "n", [Role.READ])
        record = await store.records.get(RecordKind.API_KEY, made.key_id)
        assert record is not None
        await store.records.put(record.model_copy(update={"data": record.data | {"roles": ["read", "fly"]}}))
        assert await recognised(store, text) == made
