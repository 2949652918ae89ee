"""The pace: how much a partition is given before what it was given is carried out."""

from collections.abc import Collection
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.ids import ConversationId, SessionId, digest_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.telemetry import EXPIRY_HELD_BACK, Action
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.watch import pace
from agentbus.workers.expiry.watch.pace import MOST, PATIENCE, Pace

PARTITIONS = 64
ROOM = MOST


class Counting(MemoryHeads):
    """Heads that count how many were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        self.asked += len(sessions)
        return await super().get_many(sessions)


class Bench:
    """A pace, and sessions whose commands are carried out when a test says so."""

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.store.heads = self.heads = Counting()
        self.registry = CollectorRegistry()
        self.pace = Pace(self.store, partitions, clock=self.clock, metrics=WorkerMetrics(self.registry))
        self._number = 0

    async def give(self, count: int, *groups: str) -> list[SessionState]:
        """Note commands to so many new sessions in each of some partitions; return their heads."""
        heads = []
        for group in groups:
            heads += [(group, self._session()) for _ in range(count)]
        await self.store.heads.save([head for _, head in heads])
        self.pace.given(heads)
        return [head for _, head in heads]

    async def carry_out(self, *heads: SessionState) -> None:
        done = {"version": 3, "status": SessionStatus.EXPIRED}
        await self.store.heads.save([head.model_copy(update=done) for head in heads])

    @property
    def held_back(self) -> float | None:
        return self.registry.get_sample_value(EXPIRY_HELD_BACK.name)

    def _session(self) -> SessionState:
        self._number += 1
        conversation = ConversationId(digest_of((str(self._number),)))
        return SessionState(conversation_id=conversation, generation=1, version=2, first_version=1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


ALL = [str(partition) for partition in range(PARTITIONS)]


async def test_at_first_each_partition_has_room(bench: Bench) -> None:
    assert await bench.pace.rooms(None) == dict.fromkeys(ALL, ROOM)
    assert await bench.pace.rooms(ALL[:3]) == dict.fromkeys(ALL[:3], ROOM)


async def test_a_full_partition_gets_no_more_until_what_it_was_given_is_carried_out(bench: Bench) -> None:
    first = await bench.give(ROOM // 2, "3")
    rooms = await bench.pace.rooms(None)
    assert rooms["3"] == ROOM - ROOM // 2
    second = await bench.give(ROOM // 2, "3")
    assert "3" not in await bench.pace.rooms(None)
    assert bench.held_back == 1

    await bench.carry_out(*first)
    bench.clock.advance(pace._AGAIN)
    assert (await bench.pace.rooms(None))["3"] == ROOM // 2
    await bench.carry_out(*second)
    await bench.give(ROOM // 2, "3")
    assert (await bench.pace.rooms(None))["3"] == ROOM // 2
    assert bench.held_back == 0


async def test_less_than_a_wave_costs_no_look(bench: Bench) -> None:
    await bench.give(ROOM // 2, *ALL)
    assert set((await bench.pace.rooms(None)).values()) == {ROOM - ROOM // 2}
    assert bench.heads.asked == 0


async def test_a_wave_costs_a_head_for_what_was_given_together(bench: Bench) -> None:
    await bench.give(ROOM, *ALL)
    assert await bench.pace.rooms(None) == {}
    assert bench.heads.asked == PARTITIONS


async def test_little_room_is_waited_with_until_there_is_more(bench: Bench) -> None:
    enough = PARTITIONS // pace._WORTH
    given = await bench.give(ROOM, *ALL)
    await bench.carry_out(*given[: (enough - 1) * ROOM])
    assert await bench.pace.rooms(None) == {}
    await bench.carry_out(*given[: enough * ROOM])
    bench.clock.advance(pace._AGAIN)
    assert await bench.pace.rooms(None) == dict.fromkeys(ALL[:enough], ROOM)


async def test_only_its_own_partitions_count(bench: Bench) -> None:
    await bench.give(ROOM, *ALL[:60])
    assert await bench.pace.rooms(ALL[60:]) == dict.fromkeys(ALL[60:], ROOM)
    assert bench.held_back == 0


async def test_a_silent_partition_gets_one_command_at_a_time_and_holds_up_no_other(bench: Bench) -> None:
    stopped = await bench.give(ROOM, "5")
    bench.clock.advance(PATIENCE)
    with capture_logs() as logs:
        rooms = await bench.pace.rooms(None)
    assert rooms == dict.fromkeys(ALL, ROOM) | {"5": 1}
    said = next(line for line in logs if line["event"] == Action.EXPIRY_HELD_BACK)
    assert (said["partitions"], said["log_level"]) == ("5", "warning")

    tried = []
    for _ in range(200):
        tried += await bench.give(1, "5")
        assert "5" not in await bench.pace.rooms(None)
        bench.clock.advance(PATIENCE)
        assert (await bench.pace.rooms(None))["5"] == 1
    assert len(bench.pace._partitions["5"].given) <= ROOM, "what waits for so long must not add up"

    await bench.carry_out(*stopped)  # its owner is back, and the last of it is not carried out yet
    bench.clock.advance(PATIENCE)
    await bench.carry_out(*tried)
    assert (await bench.pace.rooms(None))["5"] == ROOM
    assert bench.held_back == 0


async def test_one_that_is_slow_is_not_silent(bench: Bench) -> None:
    heads = [await bench.give(1, "5") for _ in range(ROOM)]
    for number in range(ROOM // 2):
        await bench.carry_out(*heads[number])
        with capture_logs() as logs:
            rooms = await bench.pace.rooms(None)
        assert ("5" in rooms) is (number == ROOM // 2 - 1)
        assert Action.EXPIRY_HELD_BACK not in [line["event"] for line in logs]
        bench.clock.advance(PATIENCE - timedelta(seconds=1))


async def test_where_nobody_answers_each_is_tried_all_the_same(bench: Bench) -> None:
    await bench.give(ROOM, *ALL)
    assert await bench.pace.rooms(None) == {}
    bench.clock.advance(PATIENCE)
    assert await bench.pace.rooms(None) == dict.fromkeys(ALL, 1)


async def test_what_came_to_nothing_is_passed_over(bench: Bench) -> None:
    """A command that was parked, or did nothing, is seen in no head."""
    await bench.give(ROOM // 2, "5")
    after = await bench.give(ROOM // 2, "5")
    await bench.carry_out(*after)
    assert "5" not in await bench.pace.rooms(None)
    bench.clock.advance(pace._SLOW)
    assert (await bench.pace.rooms(None))["5"] == ROOM


async def test_a_session_that_is_gone_is_dealt_with(bench: Bench) -> None:
    await bench.give(ROOM, "5")
    bench.heads._heads.clear()
    assert (await bench.pace.rooms(None))["5"] == ROOM


async def test_what_was_not_carried_out_yet_is_looked_for_now_and_then(bench: Bench) -> None:
    await bench.give(ROOM, *ALL)
    await bench.pace.rooms(None)
    asked = bench.heads.asked
    bench.clock.advance(pace._AGAIN - timedelta(milliseconds=1))
    await bench.pace.rooms(None)
    assert bench.heads.asked == asked
    bench.clock.advance(timedelta(milliseconds=1))
    await bench.pace.rooms(None)
    assert bench.heads.asked == 2 * asked
