"""The whole suite: what a class of tests inherits that gives a store."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
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


class Opened:
    """Opens the store of a test by the URL that its class gives as the fixture `store_url`."""

    pytestmark = pytest.mark.asyncio

    @pytest_asyncio.fixture
    async def store(self, store_url: str) -> AsyncIterator[Store]:
        """Give the store, which is empty."""
        async with open_store(store_url) as store:
            yield store

    @pytest_asyncio.fixture
    async def reopened(self, store_url: str) -> AsyncIterator[Store]:
        """Give a second store at the same place, as another process opens it."""
        async with open_store(store_url) as store:
            if not store.capabilities.is_durable:
                pytest.skip("it says that it does not outlive its process")
            yield store


class _Uncancelled(
    StoreSuite,
    StoreLogSuite,
    StoreHeadsSuite,
    StoreSharedSuite,
    StoreParkedSuite,
    StoreMembersSuite,
    StoreRecordsSuite,
    StoreLocksSuite,
    StoreStatesSuite,
    StoreScansSuite,
    StoreValuesSuite,
    StoreManySuite,
):
    """What every store must do, uncancelled."""


class StoreConformance(Opened, _Uncancelled, StoreCancelledSuite):
    """What every store must do. A class that inherits it gives the fixture `store_url`, or `store`."""


class UncancelledDurableStore(
    DurableStoreSuite,
    DurableStoreLogSuite,
    DurableStoreHeadsSuite,
    DurableStoreMembersSuite,
    DurableStoreRecordsSuite,
    DurableStoreLocksSuite,
    StoreDamageSuite,
    _Uncancelled,
):
    """What every store must do that outlives its process, uncancelled."""


class DurableStoreConformance(Opened, UncancelledDurableStore, StoreCancelledSuite, StoreProcessesSuite):
    """What every store must do that outlives its process; `reopened` is the same store once more."""
