"""The store contract on every backend."""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_type_hints

import pytest

from storage.factory import open_store
from storage.port import Store
from tests.contract.store_cancelled_suite import StoreCancelledSuite
from tests.contract.store_damage_suite import StoreDamageSuite
from tests.contract.store_due_records_suite import DurableStoreDueRecordsSuite, StoreDueRecordsSuite
from tests.contract.store_listing_suite import DurableStoreListingSuite, StoreListingSuite
from tests.contract.store_locks_suite import DurableStoreLocksSuite, StoreLocksSuite
from tests.contract.store_parked_suite import StoreParkedSuite
from tests.contract.store_records_suite import DurableStoreRecordsSuite, StoreRecordsSuite
from tests.contract.store_replacing_suite import DurableStoreReplacingSuite, StoreReplacingSuite
from tests.contract.store_shared_suite import StoreSharedSuite
from tests.contract.store_suite import DurableStoreSuite, StoreSuite
from tests.contract.store_workers_suite import DurableStoreWorkersSuite, StoreWorkersSuite


class _Durable(
    DurableStoreSuite,
    DurableStoreReplacingSuite,
    DurableStoreListingSuite,
    StoreSharedSuite,
    StoreParkedSuite,
    DurableStoreWorkersSuite,
    DurableStoreRecordsSuite,
    DurableStoreDueRecordsSuite,
    DurableStoreLocksSuite,
    StoreDamageSuite,
    StoreCancelledSuite,
):
    """All that a store must do which outlives its process."""


class TestMemory(
    StoreSuite,
    StoreReplacingSuite,
    StoreListingSuite,
    StoreSharedSuite,
    StoreParkedSuite,
    StoreWorkersSuite,
    StoreRecordsSuite,
    StoreDueRecordsSuite,
    StoreLocksSuite,
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


class TestMongoThroughMotor(_Durable):
    @pytest.fixture
    async def store(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="motor") as store:
            yield store

    @pytest.fixture
    async def reopened(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="motor") as store:
            yield store


class TestMongoThroughPyMongo(_Durable):
    @pytest.fixture
    async def store(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="pymongo") as store:
            yield store

    @pytest.fixture
    async def reopened(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="pymongo") as store:
            yield store


@pytest.mark.parametrize("url", ["file:///nowhere", "sqlite:////nowhere/store.db", "mongodb://nowhere/store"])
def test_calls_of_every_section_end_well(url: str) -> None:
    store = open_store(url)
    kinds = [type(store), *(type(getattr(store, name)) for name in get_type_hints(Store))]

    calls = [
        call for kind in kinds for name, call in inspect.getmembers(kind, inspect.iscoroutinefunction) if name[0] != "_"
    ]
    assert len(calls) == 39
    assert [call.__qualname__ for call in calls if not hasattr(call, "__wrapped__")] == []
