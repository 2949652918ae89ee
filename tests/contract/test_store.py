"""The store contract on every backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.factory import open_store
from storage.port import Store
from tests.contract.store_parked_suite import StoreParkedSuite
from tests.contract.store_suite import DurableStoreSuite, StoreSuite
from tests.contract.store_workers_suite import DurableStoreWorkersSuite, StoreWorkersSuite


class TestMemory(StoreSuite, StoreParkedSuite, StoreWorkersSuite):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with open_store("memory://") as store:
            yield store


class TestSqlite(DurableStoreSuite, StoreParkedSuite, DurableStoreWorkersSuite):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
            yield store

    @pytest.fixture
    async def reopened(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
            yield store


class TestMongoThroughMotor(DurableStoreSuite, StoreParkedSuite, DurableStoreWorkersSuite):
    @pytest.fixture
    async def store(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="motor") as store:
            yield store

    @pytest.fixture
    async def reopened(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="motor") as store:
            yield store


class TestMongoThroughPyMongo(DurableStoreSuite, StoreParkedSuite, DurableStoreWorkersSuite):
    @pytest.fixture
    async def store(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="pymongo") as store:
            yield store

    @pytest.fixture
    async def reopened(self, mongo_url: str) -> AsyncIterator[Store]:
        async with open_store(mongo_url, mongo_driver="pymongo") as store:
            yield store
