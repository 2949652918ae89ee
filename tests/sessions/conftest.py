"""Session systems to try things on."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentbus.composition import app as app_module
from agentbus.contracts.clock import ManualClock
from agentbus.sessions import SessionSystem, SessionSystemConfig, StorageType
from agentbus.sessions import system as system_module
from agentbus.sessions.config import make_config
from tests.harness.sampling import sampled

STORAGES = ("memory", "sqlite", "file", "mongodb")


@pytest.fixture
async def system() -> AsyncIterator[SessionSystem]:
    """Start a system in memory."""
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=8)) as started:
        yield started


@pytest.fixture(params=[pytest.param(one, marks=sampled("storage")) for one in STORAGES])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return the storage settings of each backend."""
    match request.param:
        case "sqlite":
            return {"storage_type": StorageType.DATABASE, "storage_config": {"db_path": str(tmp_path / "sessions.db")}}
        case "file":
            return {"storage_type": StorageType.FILE, "storage_config": {"storage_dir": str(tmp_path / "sessions")}}
        case "mongodb":
            url = request.getfixturevalue("used_mongo_url")
            return {"storage_type": StorageType.MONGODB, "storage_config": {"url": url}}
        case _:
            return {"storage_type": StorageType.MEMORY}


@pytest.fixture
async def any_system(storage: dict[str, Any]) -> AsyncIterator[SessionSystem]:
    """Start a system on each backend."""
    config = make_config(enable_cleanup=False, enable_tracking=True, partitions=8, **storage)
    async with SessionSystem(config) as started:
        yield started


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Make a clock that stands still the one of the systems made after it."""
    chosen = ManualClock()
    for module in (app_module, system_module):
        monkeypatch.setattr(module, "make_clock", lambda: chosen)
    return chosen


@pytest.fixture
async def timed(clock: ManualClock) -> AsyncIterator[SessionSystem]:  # noqa: ARG001 -- it is set by then
    """Start a system in memory that goes by `clock`."""
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=8, idle_timeout=600)) as started:
        yield started
