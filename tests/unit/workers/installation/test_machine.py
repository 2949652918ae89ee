"""The machine that a worker decides by is the one that the store has, as of a moment ago."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.memory import MemoryStore
from agentbus.workers.domain.checks.states import DEFAULT
from agentbus.workers.installation import machine as kept
from agentbus.workers.installation.machine import KEY, MachineBook, read_machine, set_machine, state_machine

OWN = StateMachine.model_validate({"states": [{"name": "waiting", "status": "active"}]})


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryStore]:
    monkeypatch.setattr(kept, "INTERVAL", 0.0)
    async with MemoryStore() as store:
        yield store


async def unreadable(store: MemoryStore) -> None:
    data = {"states": [{"name": "waiting", "status": "daydreaming"}]}
    await store.records.put(Record(kind=RecordKind.INSTALLATION, key=KEY, created_at=SystemClock().now(), data=data))


async def test_what_is_set_is_kept_and_without_it_the_default_one_holds(store: MemoryStore) -> None:
    assert (await read_machine(store), await state_machine(store)) == (None, DEFAULT)
    await set_machine(store, OWN, SystemClock())
    assert await state_machine(store) == OWN
    await set_machine(store, None, SystemClock())
    await set_machine(store, None, SystemClock())
    assert await state_machine(store) == DEFAULT


async def test_a_worker_looks_again_once_it_may_have_changed_and_when_it_takes_over(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, now = MachineBook(store), 100.0
    monkeypatch.setattr(kept, "INTERVAL", 1.0)
    monkeypatch.setattr(kept, "monotonic", lambda: now)
    assert await book.look() is DEFAULT
    monkeypatch.setattr(kept, "INTERVAL", 0.0)
    await set_machine(store, OWN, SystemClock())
    monkeypatch.setattr(kept, "INTERVAL", 1.0)
    now += 0.5
    assert await book.look() is DEFAULT, "it looked a moment ago"
    assert await book.look(anew=True) == OWN
    await store.records.delete(RecordKind.INSTALLATION, KEY)
    now += 1.0
    assert await book.look() is DEFAULT


async def test_nobody_begins_to_decide_by_a_machine_that_can_not_be_read(store: MemoryStore) -> None:
    await unreadable(store)
    with pytest.raises(StoreDamaged, match=r"state machine is damaged.*set it anew"):
        await MachineBook(store).look()


async def test_a_machine_that_can_not_be_read_any_more_leaves_the_one_before_in_force(store: MemoryStore) -> None:
    book = MachineBook(store)
    await set_machine(store, OWN, SystemClock())
    assert await book.look() == OWN
    await unreadable(store)
    with capture_logs() as said:
        assert await book.look() == OWN
    assert [line["event"] for line in said] == [Action.STATE_MACHINE_UNREADABLE]
