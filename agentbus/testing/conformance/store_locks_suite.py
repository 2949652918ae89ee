"""The store contract of locks."""

import asyncio
import math
from datetime import timedelta

import pytest

from agentbus.contracts.records import Lock
from agentbus.storage.port import Store

HOUR = 3600.0
SHORT = 0.02


async def acquired(store: Store, name: str = "lock", ttl: float = HOUR) -> Lock:
    """Acquire a lock that is free."""
    lock = await store.locks.acquire(name, ttl=ttl)
    assert lock is not None
    return lock


async def ended(store: Store, name: str = "lock") -> Lock:
    """Acquire a lock that is free, for a short time, and wait until that is over by the store's clock."""
    lock = await acquired(store, name, SHORT)
    while (await store.info()).server_time <= lock.expires_at:
        await asyncio.sleep(SHORT / 4)
    return lock


class StoreLocksSuite:
    """What every store must do for locks. Subclasses define the fixture `store`."""

    async def test_lock_has_one_holder(self, store: Store) -> None:
        lock = await acquired(store)

        assert (lock.name, lock.token) == ("lock", 1)
        assert await store.locks.acquire("lock", ttl=HOUR) is None
        assert await store.locks.acquire("lock", ttl=SHORT) is None

    async def test_lease_is_told_by_the_clock_of_the_store(self, store: Store) -> None:
        before = (await store.info()).server_time
        lock = await acquired(store, ttl=60)
        after = (await store.info()).server_time

        assert before - timedelta(milliseconds=1) <= lock.expires_at - timedelta(seconds=60) <= after

    async def test_locks_are_separate(self, store: Store) -> None:
        for name in ("lock", "Lock", "lock ", "$lock.😀'"):
            assert (await acquired(store, name)).token == 1

        assert await store.locks.release("Lock", 1)
        assert await store.locks.acquire("lock", ttl=HOUR) is None
        assert (await acquired(store, "Lock")).token == 2

    async def test_one_of_many_racing_acquires_gets_it(self, store: Store) -> None:
        for token in (1, 2):
            outcomes = await asyncio.gather(*(store.locks.acquire("lock", ttl=HOUR) for _ in range(20)))

            [lock] = [outcome for outcome in outcomes if outcome]
            assert lock.token == token
            assert await store.locks.release("lock", token)

    async def test_many_that_are_free_are_acquired_at_once(self, store: Store) -> None:
        held = await acquired(store, "held")
        before = (await store.info()).server_time

        locks = await store.locks.acquire_many(["one", "held", "$two.", "three"], ttl=60)

        assert {(lock.name, lock.token) for lock in locks} == {("one", 1), ("$two.", 1), ("three", 1)}
        assert all(lock.expires_at - timedelta(seconds=59) >= before for lock in locks)
        assert await store.locks.acquire_many(["one", "three"], ttl=HOUR) == []
        assert await store.locks.release("held", held.token)

        await store.locks.release_many([*locks[:2], held])

        again = await store.locks.acquire_many([lock.name for lock in (*locks, held)], ttl=HOUR)
        assert {(lock.name, lock.token) for lock in again} == {(lock.name, 2) for lock in (*locks[:2], held)}
        await store.locks.release_many(locks)
        assert await store.locks.renew(again[0].name, again[0].token, ttl=HOUR), "it was not theirs"
        assert await store.locks.acquire_many([], ttl=HOUR) == []
        await store.locks.release_many([])

    async def test_each_is_got_by_one_of_those_who_acquire_many(self, store: Store) -> None:
        names = [f"lock {number}" for number in range(8)]
        for token in (1, 2):
            taken = await asyncio.gather(*(store.locks.acquire_many(names, ttl=HOUR) for _ in range(5)))

            locks = [lock for some in taken for lock in some]
            assert sorted((lock.name, lock.token) for lock in locks) == [(name, token) for name in names]
            await store.locks.release_many(locks)

    # Tokens

    async def test_tokens_only_grow(self, store: Store) -> None:
        tokens = []
        for _ in range(2):
            tokens.append((await ended(store)).token)
            tokens.append((lock := await acquired(store)).token)
            assert await store.locks.release("lock", lock.token)

        assert tokens == [1, 2, 3, 4]

    async def test_token_of_somebody_else_is_good_for_nothing(self, store: Store) -> None:
        lock = await acquired(store)

        for token in (lock.token - 1, lock.token + 1):
            assert not await store.locks.release("lock", token)
            assert await store.locks.renew("lock", token, ttl=HOUR) is None
        assert not await store.locks.release("unknown", lock.token)
        assert await store.locks.renew("unknown", lock.token, ttl=HOUR) is None

        assert await store.locks.acquire("lock", ttl=HOUR) is None
        assert (await acquired(store, "unknown")).token == 1

    # Leases

    async def test_lock_whose_lease_ended_is_free(self, store: Store) -> None:
        first = await ended(store)

        second = await acquired(store)

        assert second.token == first.token + 1
        assert not await store.locks.release("lock", first.token)
        assert await store.locks.renew("lock", first.token, ttl=HOUR) is None
        assert await store.locks.acquire("lock", ttl=HOUR) is None

    async def test_renewed_lease_lasts_longer(self, store: Store) -> None:
        lock = await acquired(store, ttl=60)

        renewed = await store.locks.renew("lock", lock.token, ttl=HOUR)

        assert renewed is not None
        assert (renewed.name, renewed.token) == ("lock", lock.token)
        assert renewed.expires_at - lock.expires_at >= timedelta(seconds=HOUR - 61)
        assert await store.locks.acquire("lock", ttl=HOUR) is None

    async def test_renewed_lease_may_be_shorter(self, store: Store) -> None:
        lock = await acquired(store)

        renewed = await store.locks.renew("lock", lock.token, ttl=SHORT)

        assert renewed is not None
        assert renewed.expires_at < lock.expires_at

    async def test_lease_that_ended_is_renewed_while_nobody_took_it(self, store: Store) -> None:
        lock = await ended(store)

        assert await store.locks.renew("lock", lock.token, ttl=HOUR) is not None

        assert await store.locks.acquire("lock", ttl=HOUR) is None
        assert await store.locks.release("lock", lock.token)

    async def test_lease_that_ended_is_released_while_nobody_took_it(self, store: Store) -> None:
        lock = await ended(store)

        assert await store.locks.release("lock", lock.token)
        assert not await store.locks.release("lock", lock.token)

    async def test_released_lock_is_not_renewed(self, store: Store) -> None:
        lock = await acquired(store)
        assert await store.locks.release("lock", lock.token)

        assert await store.locks.renew("lock", lock.token, ttl=HOUR) is None
        assert not await store.locks.release("lock", lock.token)

        assert (await acquired(store)).token == lock.token + 1

    # Bad input

    @pytest.mark.parametrize("ttl", [0, -1, math.nan, -math.inf])
    async def test_ttl_is_checked(self, store: Store, ttl: float) -> None:
        with pytest.raises(ValueError, match="ttl"):
            await store.locks.acquire("lock", ttl=ttl)
        with pytest.raises(ValueError, match="ttl"):
            await store.locks.acquire_many(["lock"], ttl=ttl)
        lock = await acquired(store)
        with pytest.raises(ValueError, match="ttl"):
            await store.locks.renew("lock", lock.token, ttl=ttl)

        assert lock.token == 1

    @pytest.mark.parametrize("name", ["", "x" * 256, "a\nb"])
    async def test_name_is_checked(self, store: Store, name: str) -> None:
        with pytest.raises(ValueError, match="string"):
            await store.locks.acquire(name, ttl=HOUR)

    async def test_ttl_may_be_endless_or_hardly_anything(self, store: Store) -> None:
        endless = await acquired(store, "endless", math.inf)
        short = await acquired(store, "short", 1e-9)

        assert endless.expires_at > short.expires_at + timedelta(days=365)


class DurableStoreLocksSuite(StoreLocksSuite):
    """What a store that outlives its process must do besides. The fixture `reopened` is a second one in its place."""

    async def test_one_of_two_processes_gets_it(self, store: Store, reopened: Store) -> None:
        taking = [one.locks.acquire("lock", ttl=HOUR) for _ in range(10) for one in (store, reopened)]

        [lock] = [outcome for outcome in await asyncio.gather(*taking) if outcome]

        assert lock.token == 1
        assert await reopened.locks.renew("lock", lock.token, ttl=HOUR) is not None
        assert await reopened.locks.release("lock", lock.token)
        assert (await acquired(store)).token == 2

    async def test_locks_are_found_again(self, store: Store, reopened: Store) -> None:
        held, released = await acquired(store, "held"), await acquired(store, "released")
        await store.locks.release("released", released.token)
        await store.close()

        assert await reopened.locks.acquire("held", ttl=HOUR) is None
        assert await reopened.locks.renew("held", held.token, ttl=HOUR) is not None
        assert (await acquired(reopened, "released")).token == released.token + 1

    async def test_holders_of_two_processes_take_turns(self, store: Store, reopened: Store) -> None:
        holding: list[int] = []

        async def work(mine: Store) -> None:
            for _ in range(5):
                while (lock := await mine.locks.acquire("lock", ttl=HOUR)) is None:
                    await asyncio.sleep(0.001)
                holding.append(lock.token)
                await asyncio.sleep(0)
                assert holding[-1] == lock.token
                assert await mine.locks.release("lock", lock.token)

        await asyncio.gather(work(store), work(reopened))

        assert holding == list(range(1, 11))
