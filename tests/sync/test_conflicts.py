"""Manual: a session is not changed until somebody has chosen, and the choice goes everywhere."""

from uuid import uuid4

import pytest

from agentbus.contracts.commands import CloseSession
from agentbus.contracts.errors import SessionNotCurrent, SessionNotFound
from agentbus.contracts.ids import SessionId
from agentbus.contracts.sync import ConflictStrategy, Resolution, SyncMode
from agentbus.storage.archive import open_archive
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.archive.restoring import restore_session
from tests.sync.world import World

TAKE = Resolution(take_offered=True)
KEEP = Resolution(take_offered=False)


async def in_conflict(world: World) -> list[SessionId]:
    """Let two of three sessions write a field without having seen each other."""
    await world.policy(strategy=ConflictStrategy.MANUAL)
    sessions = await world.people(3)
    await world.write(sessions[0], city="Paris")
    await world.write(sessions[1], city="Rome")
    await world.settle(7)
    return sessions


async def test_writes_that_did_not_know_of_each_other_are_a_conflict(world: World) -> None:
    first, second, third = await in_conflict(world)
    assert await world.data(first, second) == [{"city": "Paris"}, {"city": "Rome"}]
    assert (await world.data(third))[0] in ({"city": "Paris"}, {"city": "Rome"})
    page = await world.sync.conflicts.sessions("ann")
    assert {session.session_id for session in page.items} == {first, second, third}
    (conflict,) = (await world.head(first)).conflicts
    assert conflict.held is not None
    assert (conflict.field, conflict.held.value, conflict.offered.value) == ("/data/city", "Paris", "Rome")
    assert conflict.source == second
    assert (await world.sync.conflicts.sessions("bob")).items == ()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("resolution", [TAKE, KEEP, Resolution(strategy=ConflictStrategy.LATEST_WINS)])
async def test_the_choice_of_one_is_everywhere_and_no_conflict_is_left(
    world: World, place: int, resolution: Resolution
) -> None:
    sessions = await in_conflict(world)
    (conflict,) = (await world.head(sessions[place])).conflicts
    assert conflict.held is not None
    held, offered = conflict.held.value, conflict.offered.value
    wanted = {TAKE: offered, KEEP: held}.get(resolution, "Rome")
    resolved = await world.sync.conflicts.resolve([sessions[place]], resolution)
    await world.settle(8)
    assert [one.field for one in resolved] == ["/data/city"]
    assert await world.data(*sessions) == [{"city": wanted}] * 3
    assert (await world.sync.conflicts.sessions()).items == ()
    assert await world.sync.conflicts.resolve(sessions, resolution) == []


async def test_who_ended_has_nothing_to_choose_any_more(world: World) -> None:
    first, second, third = await in_conflict(world)
    await world.ask(CloseSession(session_id=first))
    await world.reset(second)
    assert (await world.head(first)).conflicts
    assert [one.session_id for one in (await world.sync.conflicts.sessions("ann")).items] == [third]
    for ended, refused in ((first, SessionNotFound), (second, SessionNotCurrent)):
        with pytest.raises(refused):
            await world.sync.conflicts.resolve([ended], TAKE)


@pytest.mark.parametrize("resolution", [TAKE, KEEP])
async def test_a_choice_is_known_for_one_by_a_sync_that_comes_before_the_worker_heard_of_it(
    world: World, resolution: Resolution
) -> None:
    first, second, third = await in_conflict(world)
    await world.sync.conflicts.resolve([first], resolution)
    await world.sync.on_demand.sync(first)
    assert await world.data(second, third) == await world.data(first, first)
    assert (await world.sync.conflicts.sessions()).items == ()


async def test_conflicts_are_open_still_after_the_archive_though_nobody_else_is_left(world: World) -> None:
    first, *others = await in_conflict(world)
    (conflict,) = before = (await world.head(first)).conflicts
    for other in others:
        await world.sync.identities.unlink(other)
    await world.ask(CloseSession(session_id=first))
    await world.settle()
    archive, commands = open_archive(f"memory://{uuid4().hex}"), world.commands
    await archive_session(world.store, archive, commands, await world.head(first))
    assert (await world.head(first)).conflicts == ()

    await restore_session(world.store, archive, commands, first, clock=world.clock)
    await world.settle()

    assert (await world.head(first)).conflicts == before
    await world.sync.conflicts.resolve([first], TAKE)
    assert await world.data(first) == [{"city": conflict.offered.value}]


async def test_what_was_turned_down_is_not_asked_again_after_the_archive(world: World) -> None:
    first, *_ = await in_conflict(world)
    await world.sync.conflicts.resolve([first], KEEP)
    await world.settle()
    kept = (await world.head(first)).turned_down
    assert kept
    await world.ask(CloseSession(session_id=first))
    archive, commands = open_archive(f"memory://{uuid4().hex}"), world.commands
    await archive_session(world.store, archive, commands, await world.head(first))
    await restore_session(world.store, archive, commands, first, clock=world.clock)
    assert (await world.head(first)).turned_down == kept
    await world.settle()
    assert (await world.sync.conflicts.sessions()).items == ()


@pytest.mark.parametrize("mode", list(SyncMode))
async def test_a_choice_is_passed_on_in_every_mode(world: World, mode: SyncMode) -> None:
    sessions = await in_conflict(world)
    await world.policy(strategy=ConflictStrategy.MANUAL, mode=mode)
    await world.sync.conflicts.resolve([sessions[0]], TAKE)
    await world.settle(9)
    assert await world.data(*sessions) == [{"city": "Rome"}] * 3


async def test_a_choice_after_the_policy_changed_touches_nothing_else(world: World) -> None:
    await world.policy(strategy=ConflictStrategy.MANUAL)
    first, second = await world.people(2)
    await world.write(first, home={"city": "Paris", "street": "Rue"})
    await world.settle()
    await world.write(first, home={"city": "Lyon", "street": "Rue"})
    await world.write(second, home={"city": "Rome", "street": "Rue"})
    await world.settle(1)
    await world.policy(strategy=ConflictStrategy.LATEST_WINS)
    await world.sync.conflicts.resolve([first], TAKE)
    await world.settle(2)
    assert await world.data(first, second) == [{"home": {"city": "Rome", "street": "Rue"}}] * 2


async def test_one_field_can_be_resolved_alone(world: World) -> None:
    await world.policy(strategy=ConflictStrategy.MANUAL)
    first, second = await world.people(2)
    await world.write(first, city="Paris", name="Ann")
    await world.write(second, city="Rome", name="Anna")
    await world.settle(3)
    resolved = await world.sync.conflicts.resolve([first], KEEP, ["/data/name"])
    await world.settle(4)
    assert [one.field for one in resolved] == ["/data/name"]
    assert await world.data(first, second) == [{"city": "Paris", "name": "Ann"}, {"city": "Rome", "name": "Ann"}]
    assert [one.field for one in (await world.head(second)).conflicts] == ["/data/city"]


async def test_a_session_that_is_not_there_has_no_conflicts_to_resolve(world: World) -> None:
    with pytest.raises(SessionNotFound):
        await world.sync.conflicts.resolve([SessionId("a" * 26 + ".1")], TAKE)
