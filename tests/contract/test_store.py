"""The store contract on every backend."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentbus.storage.encryption import EncryptedStore
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.testing.conformance import DurableStoreConformance, StoreConformance
from agentbus.testing.conformance.store_cancelled_suite import StoreCancelledSuite
from agentbus.testing.conformance.store_damage_suite import StoreDamageSuite
from agentbus.testing.conformance.store_heads_suite import DurableStoreHeadsSuite, StoreHeadsSuite
from agentbus.testing.conformance.store_locks_suite import DurableStoreLocksSuite, StoreLocksSuite
from agentbus.testing.conformance.store_log_suite import DurableStoreLogSuite, StoreLogSuite
from agentbus.testing.conformance.store_many_suite import StoreManySuite
from agentbus.testing.conformance.store_members_suite import DurableStoreMembersSuite, StoreMembersSuite
from agentbus.testing.conformance.store_parked_suite import StoreParkedSuite
from agentbus.testing.conformance.store_processes_suite import StoreProcessesSuite
from agentbus.testing.conformance.store_records_suite import DurableStoreRecordsSuite, StoreRecordsSuite
from agentbus.testing.conformance.store_scans_suite import StoreScansSuite
from agentbus.testing.conformance.store_shared_suite import StoreSharedSuite
from agentbus.testing.conformance.store_states_suite import StoreStatesSuite
from agentbus.testing.conformance.store_suite import DurableStoreSuite, StoreSuite
from agentbus.testing.conformance.store_values_suite import StoreValuesSuite
from agentbus.testing.conformance.whole import Opened, UncancelledDurableStore
from tests.contract import store_inside  # noqa: F401 - it gives the suite its means
from tests.harness.encryption import MASTERS
from tests.harness.sampling import on_all_servers, sampled
from tests.services import LocalRedisCluster
from tests.services.used_databases import UsedDatabases


class _Alone(Opened, UncancelledDurableStore, StoreCancelledSuite):
    """All but what needs another process, which is costly: of these stores it is tested with --conformance."""


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a SQLite file with the tables of a store: to copy it takes a third of the time that making it takes."""
    file = tmp_path_factory.mktemp("new") / "store.db"

    async def make() -> None:
        async with open_store(f"sqlite:///{file}"):
            pass

    with ThreadPoolExecutor(1) as thread:  # This one may be running a loop.
        thread.submit(asyncio.run, make()).result()
    return file


@pytest.fixture
def sqlite_url(new_sqlite: Path, tmp_path: Path) -> str:
    """Give the URL of a file with tables and without rows."""
    return f"sqlite:///{shutil.copyfile(new_sqlite, tmp_path / 'store.db')}"


class TestMemory(StoreConformance):
    @pytest.fixture
    def store_url(self) -> str:
        return "memory://"


class TestEncryptedMemory(StoreConformance):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with EncryptedStore(open_store("memory://"), MASTERS) as store:
            yield store


class TestEncryptedSqlite(DurableStoreSuite, StoreParkedSuite, StoreDamageSuite):
    @pytest.fixture
    async def store(self, sqlite_url: str) -> AsyncIterator[Store]:
        async with EncryptedStore(open_store(sqlite_url), MASTERS) as store:
            yield store

    @pytest.fixture
    async def reopened(self, sqlite_url: str) -> AsyncIterator[Store]:
        async with EncryptedStore(open_store(sqlite_url), MASTERS) as store:
            yield store


class TestSqlite(DurableStoreConformance):
    @pytest.fixture
    def store_url(self, sqlite_url: str) -> str:
        return sqlite_url


class TestFiles(_Alone):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/store"


class TestPostgreSQL(DurableStoreConformance):
    @pytest.fixture
    def store_url(self, postgresql_url: str) -> str:
        return postgresql_url


class TestMariaDB(Opened, UncancelledDurableStore):
    @pytest.fixture
    def store_url(self, mariadb_url: str) -> str:
        return mariadb_url


@on_all_servers
class TestMariaDBCancelled(Opened, StoreCancelledSuite, StoreProcessesSuite):
    @pytest.fixture
    def store_url(self, mariadb_url: str) -> str:
        return mariadb_url


@on_all_servers
class TestFilesShared(Opened, StoreProcessesSuite):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/store"


@on_all_servers
class TestMongoShared(Opened, StoreProcessesSuite):
    @pytest.fixture
    def store_url(self, used_mongo_url: str) -> str:
        return used_mongo_url


class TestRedis(_Alone):
    @pytest.fixture
    def store_url(self, redis_url: str) -> str:
        return redis_url


@on_all_servers
class TestRedisShared(Opened, StoreProcessesSuite):
    @pytest.fixture
    def store_url(self, redis_url: str) -> str:
        return redis_url


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[LocalRedisCluster]:
    with LocalRedisCluster() as cluster:
        yield cluster


@on_all_servers
class TestRedisCluster(Opened, UncancelledDurableStore):
    @pytest.fixture
    def store_url(self, redis_cluster: LocalRedisCluster) -> Iterator[str]:
        with redis_cluster.fresh_database() as url:
            yield f"{url}&shards=9"


class _Mongo(Opened):
    @pytest.fixture
    def store_url(self, used_databases: UsedDatabases, request: pytest.FixtureRequest) -> Iterator[str]:
        """Give the URL of a database that a test of the same suite used before: calls cut off may write late."""
        with used_databases.one(request.function.__qualname__.partition(".")[0]) as url:
            yield url


class TestMongoThroughPyMongo(_Mongo, _Alone):
    pass


class _Motor(_Mongo):
    @pytest.fixture
    async def store(self, store_url: str) -> AsyncIterator[Store]:
        async with open_store(store_url, mongo_driver="motor") as store:
            yield store

    @pytest.fixture
    async def reopened(self, store_url: str) -> AsyncIterator[Store]:
        async with open_store(store_url, mongo_driver="motor") as store:
            yield store


@sampled(each=3)
class TestMongoThroughMotor(
    _Motor,
    DurableStoreSuite,
    DurableStoreLogSuite,
    DurableStoreHeadsSuite,
    DurableStoreLocksSuite,
    StoreSuite,
    StoreLogSuite,
    StoreHeadsSuite,
    StoreLocksSuite,
    StoreParkedSuite,
    StoreCancelledSuite,
):
    """What makes each call of the client that there is, and cuts each off; the store around it is that of PyMongo."""


@on_all_servers
class TestMongoThroughMotorRest(
    _Motor,
    DurableStoreMembersSuite,
    DurableStoreRecordsSuite,
    StoreDamageSuite,
    StoreMembersSuite,
    StoreRecordsSuite,
    StoreSharedSuite,
    StoreStatesSuite,
    StoreScansSuite,
    StoreValuesSuite,
    StoreManySuite,
):
    pass


def test_through_both_clients_the_same_is_tested() -> None:
    through_motor = _tests_of(TestMongoThroughMotor) | _tests_of(TestMongoThroughMotorRest)
    assert through_motor == _tests_of(TestMongoThroughPyMongo)


def _tests_of(kind: type) -> set[str]:
    return {name for name in dir(kind) if name.startswith("test_")}


@pytest.mark.parametrize("kind", [TestMemory, TestFiles])
def test_no_suite_hides_a_test_of_another(kind: type) -> None:
    names = [name for suite in kind.__mro__ for name in vars(suite) if name.startswith("test_")]
    assert [name for name, times in Counter(names).items() if times > 1] == []
