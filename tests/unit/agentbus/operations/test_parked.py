"""What operators do with parked inputs, and what it says when it can't be done."""

from collections.abc import Awaitable, Callable

import pytest

from agentbus.contracts.address import Scope
from agentbus.contracts.errors import AgentBusError, StoreUnavailable
from agentbus.contracts.history import Page
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.contracts.topology import Topology
from agentbus.operations.paging import InvalidCursor
from agentbus.operations.parked import ParkedNotFound, discard_parked, get_parked, list_parked, replay_parked
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.parked import MemoryParked
from agentbus.workers.bus.memory import MemoryBus
from tests.harness.builders import a_parked

NOBODY = ParkedId("nothing-was-parked-so")


class _ParkedThatAreDown(MemoryParked):
    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        raise StoreUnavailable(f"nobody answers for {parked_id}")

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        raise StoreUnavailable(f"nobody makes {parked_id} {status}")


class StoreThatIsDown(MemoryStore):
    """A store that is gone when it is asked for parked inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.parked = _ParkedThatAreDown()


async def replay(store: MemoryStore, parked_id: ParkedId) -> object:
    async with MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        return await replay_parked(bus, store, parked_id, scope=Scope.PER_CHAT_USER)


OF_ONE: list[Callable[[MemoryStore, ParkedId], Awaitable[object]]] = [get_parked, discard_parked, replay]


@pytest.mark.parametrize("operation", OF_ONE)
@pytest.mark.parametrize(("kind", "error"), [(MemoryStore, ParkedNotFound), (StoreThatIsDown, StoreUnavailable)])
async def test_what_is_not_there_and_a_store_that_is_down_are_told_apart(
    operation: Callable[[MemoryStore, ParkedId], Awaitable[object]],
    kind: type[MemoryStore],
    error: type[AgentBusError],
) -> None:
    async with kind() as store:
        with pytest.raises(error):
            await operation(store, NOBODY)


async def test_parked_inputs_are_listed_a_page_at_a_time_and_by_their_status() -> None:
    async with MemoryStore() as store:
        kept = [a_parked(f"bad {number}", at=number) for number in range(3)]
        for one in kept:
            await store.parked.put(one)
        await discard_parked(store, kept[0].parked_id)
        first = await list_parked(store, limit=1)
        second = await list_parked(store, limit=1, cursor=first.cursor)
        assert {one.parked_id for page in (first, second) for one in page.items} == {one.parked_id for one in kept[1:]}
        assert second.cursor is None
        assert len((await list_parked(store, None)).items) == 3


async def test_a_cursor_of_another_list_is_refused_by_an_error_of_ours() -> None:
    async with MemoryStore() as store:
        with pytest.raises(InvalidCursor, match="not a cursor of this store"):
            await list_parked(store, cursor="!")


async def test_a_page_that_can_t_be_is_no_cursor_s_fault() -> None:
    async with MemoryStore() as store:
        with pytest.raises(ValueError, match="limit"):
            _: Page[ParkedInput] = await list_parked(store, limit=0)
