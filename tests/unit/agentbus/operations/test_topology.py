"""Declaring the topology and changing the partitions: what is returned, and what is raised."""

from pathlib import Path

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import BrokerUnavailable, ConfigurationError, StoreUnavailable, Unroutable
from agentbus.contracts.installation import Installation
from agentbus.operations.topology import change_partitions, declare_topology
from agentbus.settings import Settings, load_settings
from agentbus.storage.factory import open_store
from agentbus.workers.installation.joining import keep_installation, read_installation


def settings_in(folder: Path) -> Settings:
    return load_settings(
        amqp_url="memory://", store_url=f"sqlite:///{folder}/sessions.db", partitions=4, store_timeout=0.2
    )


async def test_what_is_declared_is_returned(tmp_path: Path) -> None:
    topology = await declare_topology(settings_in(tmp_path))
    assert len(topology.queues()) == 4 + 2
    assert topology.partitions == 4


async def test_a_broker_that_is_not_there_is_told_in_time() -> None:
    with pytest.raises(BrokerUnavailable):
        await declare_topology(load_settings(amqp_url="amqp://guest@localhost:9/", broker_timeout=0.2))


async def test_no_partitions_are_changed_where_nobody_ever_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start a worker on it first"):
        await change_partitions(settings_in(tmp_path), 8)


async def test_as_many_partitions_as_there_are_is_no_change(tmp_path: Path) -> None:
    settings, told = settings_in(tmp_path), list[str]()
    async with open_store(settings.store.store_url) as store:
        await keep_installation(store, Installation.of(settings.topology), SystemClock())
    assert await change_partitions(settings, 4, say=told.append) is None
    assert told == []


async def test_where_the_queues_of_before_are_gone_nothing_is_changed(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with open_store(settings.store.store_url) as store:
        await keep_installation(store, Installation.of(settings.topology), SystemClock())
    with pytest.raises(Unroutable, match="declare the topology first"):
        await change_partitions(settings, 8)
    async with open_store(settings.store.store_url) as store:
        kept = await read_installation(store)
    assert kept
    assert (kept.partitions, kept.moving_to, kept.collected) == (4, 8, False)


async def test_a_store_that_is_not_there_is_told_in_time() -> None:
    settings = load_settings(
        amqp_url="memory://", store_url="mongodb://localhost:9/agentbus", store_timeout=0.2, partitions=4
    )
    with pytest.raises(StoreUnavailable):
        await change_partitions(settings, 8)
