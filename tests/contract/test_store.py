"""The store contract on every backend."""

import inspect
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from tests.contract.store_cancelled_suite import StoreCancelledSuite
from tests.contract.store_damage_suite import StoreDamageSuite
from tests.contract.store_heads_suite import DurableStoreHeadsSuite, StoreHeadsSuite
from tests.contract.store_locks_suite import DurableStoreLocksSuite, StoreLocksSuite
from tests.contract.store_log_suite import DurableStoreLogSuite, StoreLogSuite
from tests.contract.store_members_suite import DurableStoreMembersSuite, StoreMembersSuite
from tests.contract.store_parked_suite import StoreParkedSuite
from tests.contract.store_records_suite import DurableStoreRecordsSuite, StoreRecordsSuite
from tests.contract.store_shared_suite import StoreSharedSuite
from tests.contract.store_states_suite import StoreStatesSuite
from tests.contract.store_suite import DurableStoreSuite, StoreSuite
from tests.harness.conformance import on_all_servers
from tests.services import LocalRedisCluster
from tests.services.used_databases import UsedDatabases


class _Kept(
    DurableStoreSuite,
    DurableStoreLogSuite,
    DurableStoreHeadsSuite,
    StoreSharedSuite,
    StoreParkedSuite,
    DurableStoreMembersSuite,
    DurableStoreRecordsSuite,
    DurableStoreLocksSuite,
    StoreStatesSuite,
    StoreDamageSuite,
):
    """All that a store must do which outlives its process, uncancelled."""


class _Durable(_Kept, StoreCancelledSuite):
    """All that a store must do which outlives its process."""


class TestMemory(
    StoreSuite,
    StoreLogSuite,
    StoreHeadsSuite,
    StoreSharedSuite,
    StoreParkedSuite,
    StoreMembersSuite,
    StoreRecordsSuite,
    StoreLocksSuite,
    StoreStatesSuite,
    StoreCancelledSuite,
):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with open_store("memory://") as store:
            yield store


class TestSqlite(_Durable):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
            yield store

    @pytest.fixture
    async def reopened(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
            yield store


class TestFiles(_Durable):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"file://{tmp_path}/store") as store:
            yield store

    @pytest.fixture
    async def reopened(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"file://{tmp_path}/store") as store:
            yield store


class TestPostgreSQL(_Durable):
    @pytest.fixture
    async def store(self, postgresql_url: str) -> AsyncIterator[Store]:
        async with open_store(postgresql_url) as store:
            yield store

    @pytest.fixture
    async def reopened(self, postgresql_url: str) -> AsyncIterator[Store]:
        async with open_store(postgresql_url) as store:
            yield store


class TestRedis(_Durable):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[Store]:
        async with open_store(redis_url) as store:
            yield store

    @pytest.fixture
    async def reopened(self, redis_url: str) -> AsyncIterator[Store]:
        async with open_store(redis_url) as store:
            yield store


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[LocalRedisCluster]:
    with LocalRedisCluster() as cluster:
        yield cluster


@on_all_servers
class TestRedisCluster(_Kept):
    @pytest.fixture
    def url(self, redis_cluster: LocalRedisCluster) -> Iterator[str]:
        with redis_cluster.fresh_database() as url:
            yield f"{url}&shards=9"

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url) as store:
            yield store

    @pytest.fixture
    async def reopened(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url) as store:
            yield store


class _MariaDB:
    @pytest.fixture
    async def store(self, mariadb_url: str) -> AsyncIterator[Store]:
        async with open_store(mariadb_url) as store:
            yield store

    @pytest.fixture
    async def reopened(self, mariadb_url: str) -> AsyncIterator[Store]:
        async with open_store(mariadb_url) as store:
            yield store


class TestMariaDB(_MariaDB, _Kept):
    pass


@on_all_servers
class TestMariaDBCancelled(_MariaDB, StoreCancelledSuite):
    pass


class _Mongo(_Durable):
    @pytest.fixture
    def url(self, used_databases: UsedDatabases, request: pytest.FixtureRequest) -> Iterator[str]:
        """Give the URL of a database that a test of the same suite used before: calls cut off may write late."""
        with used_databases.one(request.function.__qualname__.partition(".")[0]) as url:
            yield url


class TestMongoThroughMotor(_Mongo):
    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url, mongo_driver="motor") as store:
            yield store

    @pytest.fixture
    async def reopened(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url, mongo_driver="motor") as store:
            yield store


class TestMongoThroughPyMongo(_Mongo):
    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url, mongo_driver="pymongo") as store:
            yield store

    @pytest.fixture
    async def reopened(self, url: str) -> AsyncIterator[Store]:
        async with open_store(url, mongo_driver="pymongo") as store:
            yield store


@pytest.mark.parametrize(
    "url",
    [
        "file:///nowhere",
        "sqlite:////nowhere/store.db",
        "postgresql://nowhere/store",
        "mongodb://nowhere/store",
        "redis://nowhere",
    ],
)
def test_calls_of_every_section_end_well(url: str) -> None:
    store = open_store(url)
    kinds = [type(store), *(type(getattr(store, name)) for name in get_type_hints(Store))]

    calls = [
        call for kind in kinds for name, call in inspect.getmembers(kind, inspect.iscoroutinefunction) if name[0] != "_"
    ]
    assert len(calls) == 39
    assert [call.__qualname__ for call in calls if not hasattr(call, "__wrapped__")] == []


@pytest.mark.parametrize("kind", [TestMemory, TestFiles])
def test_no_suite_hides_a_test_of_another(kind: type) -> None:
    names = [name for suite in kind.__mro__ for name in vars(suite) if name.startswith("test_")]
    assert [name for name, times in Counter(names).items() if times > 1] == []
