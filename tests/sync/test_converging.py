"""Linked sessions come to the same, whatever order events come in, and however often; and they stop."""

import random

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.sync import ConflictStrategy
from tests.harness.sampling import sampled
from tests.sync.world import PLATFORMS, a_world

SESSIONS = 5
CHANGES = 12
PRIORITY = (Platform.WEB, Platform.TELEGRAM, Platform.LINE, Platform.SLACK, Platform.DISCORD)


@pytest.mark.parametrize(
    ("strategy", "bound"),
    [
        (ConflictStrategy.LATEST_WINS, SESSIONS),
        (ConflictStrategy.MERGE, SESSIONS),
        (ConflictStrategy.SOURCE_PRIORITY, 2 * SESSIONS),
    ],
)
@sampled("seed")
@pytest.mark.parametrize("seed", range(4))
async def test_five_linked_sessions_come_to_the_same(strategy: ConflictStrategy, bound: int, seed: int) -> None:
    chance = random.Random(seed)
    async with a_world() as world:
        await world.policy(strategy=strategy, priority=PRIORITY)
        sessions = await world.people(SESSIONS)
        before = world.counts()["context_merged"]
        for number in range(CHANGES):
            session = chance.choice(sessions)
            match chance.randint(0, 3):
                case 0:
                    await world.write(session, city=f"city {number}")
                case 1:
                    await world.write(session, profile={chance.choice("abc"): number, "deep": {"er": number}})
                case 2:
                    await world.write(session, profile={"deep": {chance.choice("xyz"): number}})
                case _:
                    await world.write(session, ["city", "profile"][: chance.randint(1, 2)])
        await world.settle(seed)
        found = await world.data(*sessions)
        assert found == [found[0]] * SESSIONS
        assert world.counts()["context_merged"] - before <= bound * CHANGES
        assert world.counts()["conflict_opened"] == 0


@pytest.mark.parametrize("strategy", [one for one in ConflictStrategy if one is not ConflictStrategy.MANUAL])
@sampled("seed")
@pytest.mark.parametrize("seed", range(2))
async def test_it_comes_to_the_same_when_the_worker_is_killed_and_sessions_begin_anew(
    strategy: ConflictStrategy, seed: int
) -> None:
    chance = random.Random(seed)
    async with a_world() as world:
        await world.policy(strategy=strategy, priority=PRIORITY)
        sessions = await world.people(SESSIONS)
        kills = 0
        for number in range(8):
            place = chance.randrange(SESSIONS)
            if chance.random() < 0.3:
                sessions[place] = await world.reset(sessions[place])
            else:
                await world.write(sessions[place], city=number, profile={chance.choice("abc"): number})
            if chance.random() < 0.4:
                kills += await world.settle_with_kills(seed + number)
        kills += await world.settle_with_kills(seed)
        found = await world.data(*sessions)
        assert found == [found[0]] * SESSIONS
        assert kills > 0


async def test_a_change_costs_one_merge_for_each_other_session() -> None:
    async with a_world() as world:
        sessions = await world.people(SESSIONS)
        before = world.counts()["context_merged"]
        await world.write(sessions[2], city="Paris")
        await world.settle(1)
        assert world.counts()["context_merged"] - before == SESSIONS - 1
        assert {merge.session_id for merge in world.merges()} == {*sessions} - {sessions[2]}


async def test_the_later_write_stands_however_late_the_earlier_one_comes() -> None:
    async with a_world() as world:
        first, second = await world.people(2)
        await world.write(first, city="Paris")
        await world.write(second, city="Rome")
        world.waiting.reverse()
        await world.settle()
        assert await world.data(first, second) == [{"city": "Rome"}] * 2


async def test_who_stands_first_keeps_their_value_and_tells_who_does_not_know() -> None:
    async with a_world() as world:
        await world.policy(strategy=ConflictStrategy.SOURCE_PRIORITY, priority=(Platform.TELEGRAM,))
        telegram, slack, web = await world.people(3)
        await world.write(telegram, city="Paris")
        await world.settle()
        await world.write(slack, city="Rome")
        await world.settle(3)
        assert await world.data(telegram, slack, web) == [{"city": "Paris"}] * 3


async def test_a_removed_key_goes_everywhere_and_does_not_come_back() -> None:
    async with a_world() as world:
        sessions = await world.people(4)
        await world.write(sessions[0], city="Paris", name="Ann")
        await world.settle()
        setting = [event for event in world.happened.values() if event.kind == "data_set"]
        await world.write(sessions[1], ["city"])
        await world.settle(5)
        assert await world.data(*sessions) == [{"name": "Ann"}] * 4
        for event in setting:  # delivered once more, late
            await world.take(EventEnvelope.of(event))
        newer = await world.reset(sessions[2])
        await world.settle(6)
        sessions[2] = newer
        assert await world.data(*sessions) == [{"name": "Ann"}] * 4


async def test_a_new_session_of_a_linked_conversation_gets_the_context() -> None:
    async with a_world() as world:
        first, second = await world.people(2)
        await world.write(first, city="Paris")
        await world.settle()
        newer = await world.reset(second)
        await world.settle(2)
        assert await world.data(newer) == [{"city": "Paris"}]
        await world.write(newer, city="Rome")
        await world.settle(3)
        assert await world.data(first) == [{"city": "Rome"}]


async def test_contexts_from_before_the_link_are_brought_together() -> None:
    async with a_world() as world:
        await world.policy(strategy=ConflictStrategy.MERGE)
        sessions = [await world.talk(platform) for platform in PLATFORMS[:3]]
        await world.write(sessions[0], profile={"name": "Ann"}, city="Paris")
        await world.write(sessions[1], profile={"age": 33}, city="Rome")
        await world.sync.identities.link("ann", sessions)
        await world.settle(4)
        both = {"profile": {"name": "Ann", "age": 33}, "city": "Rome"}
        assert await world.data(*sessions) == [both] * 3
