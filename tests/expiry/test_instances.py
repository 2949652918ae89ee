"""Several instances, instances that die, events that come twice and in any order: each step is taken once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent, MessageAppended, StateChanged
from agentbus.contracts.expiry import CleanupAction, Step
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.archive import rewriting
from agentbus.workers.expiry.worker import ExpiryWorker
from agentbus.workers.reactive.batches import BatchedEvents
from tests.expiry.world import World, a_rule, a_world

ARCHIVE, DELETE, EXPIRE = CleanupAction.ARCHIVE, CleanupAction.DELETE, CleanupAction.EXPIRE


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A store that ends its caller at its `last` call, before or after that took effect, and at every later one."""

    def __init__(self, store: MemoryStore, last: int, *, after: bool) -> None:
        self._store = store
        self._left = last
        self._after = after
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return _MortalSection(self, found) if name in Store.__annotations__ else found

    async def call(self, found: Any, *args: Any, **given: Any) -> Any:
        self._left -= 1
        if self._left > 0:
            return await found(*args, **given)
        if self._left == 0 and self._after and not self.dead:
            await found(*args, **given)
        self.dead = True
        raise Killed


class _MortalSection:
    def __init__(self, store: Mortal, section: Any) -> None:
        self._store = store
        self._section = section

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._section, name)
        if name in {"heartbeat", "leave", "live"} or not asyncio.iscoroutinefunction(found):
            return found
        return partial(self._store.call, found)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world(archive="memory://expiry-instances") as world:
        yield world


async def until_all(world: World, sessions: list[SessionId], status: SessionStatus) -> None:
    async def all_have_it() -> bool:
        heads = await world.store.heads.get_many(sessions)
        return all(head.status is status for head in heads.values())

    await world.until(all_have_it)


async def turns_of(worker: ExpiryWorker) -> None:
    """Take turns until nothing is due, as the watch does, with what it begins."""
    for _ in range(4):
        while await worker._due.turn():
            pass
        await asyncio.gather(*worker._due._moving.values(), return_exceptions=True)


async def test_instances_side_by_side_share_the_work_and_take_each_step_once(world: World) -> None:
    rule = a_rule("silent")
    async with world.expiring(rule) as first, world.expiring() as second, world.expiring() as third:
        workers = (first, second, third)

        async def all_joined() -> bool:
            shares = [one._share.partitions for one in workers]
            return all(shares) and sum(map(len, shares)) == 4 and not any(one._share._alone for one in workers)

        await world.until(all_joined)
        sessions = [await world.session(f"user-{number}") for number in range(60)]
        await world.scheduled(*sessions)
        world.advance(60)
        await until_all(world, sessions, SessionStatus.EXPIRED)
        given = [one._due._metrics.expiry_commands.labels("expire")._value.get() for one in workers]
        assert min(given) > 0
        await world.until_steps(60)
    assert Counter(world.steps()) == {("silent", 0, EXPIRE): 60}


async def test_an_instance_that_is_gone_is_replaced(world: World) -> None:
    async with world.expiring(a_rule("silent")) as survivor:
        gone = world.expiry()
        await gone.start()
        await world.until(lambda: _shares(survivor, whole=False))
        await gone.close()
        session = await world.session()
        await world.scheduled(session)
        world.advance(60)
        await until_all(world, [session], SessionStatus.EXPIRED)


async def _shares(worker: ExpiryWorker, *, whole: bool) -> bool:
    return worker._share._alone is whole


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
async def test_a_death_at_any_call_leaves_work_that_another_finishes(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call of the store is a place to die: the session is archived, its log stripped, then deleted, once."""
    monkeypatch.setattr(rewriting, "_LEASE", 0.2)  # seconds for which the dead keep a log to themselves
    rule = a_rule("staged", ARCHIVE, Step(action=DELETE, after=10))
    last, died = 0, True
    while died:
        last += 1
        died = await _lives_and_dies(last, rule, after=after)
    assert last > 15  # there were that many places, and the last life came to its end


async def _lives_and_dies(last: int, rule: Any, *, after: bool) -> bool:
    async with a_world(archive=f"memory://expiry-death-{after}-{last}") as world:
        assert isinstance(world.store, MemoryStore)
        await world.expiry().rules.add(rule)
        watcher = world.expiry()
        await watcher.start()  # makes the deadlines
        session = await world.session()
        await world.say("hello")
        await world.scheduled(session)
        await watcher.close()
        mortal = Mortal(world.store, last, after=after)
        victim = world.expiry(store=mortal)
        victim._share._alone = True  # nobody else watches by now
        try:
            await victim._book.refresh()
            for seconds in (60, 5, 5, 70, 70):
                world.advance(seconds)
                await turns_of(victim)
        except Killed:
            pass
        await victim._due.close()
        async with world.expiring():

            async def ended() -> bool:
                world.advance(1)
                deleted = (await world.head(session)).status is SessionStatus.DELETED
                return deleted and await world.store.records.get(RecordKind.DEADLINE, session) is None

            await world.until(ended)
        await world.until_steps(2)
        assert world.steps(session) == [("staged", 0, ARCHIVE), ("staged", 1, DELETE)]
        log = await world.store.log.read((await world.head(session)).conversation_id, limit=100)
        assert not any(isinstance(event, MessageAppended) for commit in log for event in commit.events)
        return mortal.dead


async def test_events_that_come_often_and_in_any_order_change_nothing(world: World) -> None:
    async with world.expiring(a_rule("old", max_age=60.0), a_rule("many", max_messages=3)) as worker:
        sessions = [await world.session(f"user-{number}") for number in range(10)]
        await world.scheduled(*sessions)
        for number in range(0, 10, 2):
            for text in "abc":
                await world.say(text, f"user-{number}")
        world.advance(60)
        await until_all(world, sessions, SessionStatus.EXPIRED)
        await world.until(lambda: _counted(worker, 10))
        events = [event for event in world.events for _ in range(random.randint(1, 3))]
        random.shuffle(events)
        (own, _) = worker._events
        assert isinstance(own, BatchedEvents)
        await asyncio.gather(*(own._handler.handle(EventEnvelope.of(event)) for event in events))
        await turns_of(worker)
        assert (await worker.figures.statistics()).total == {"expired": 10}
    assert len(world.steps()) == 10
    ended = [one for one in _once(world.events) if isinstance(one, StateChanged)]
    assert len(ended) == 10


async def _counted(worker: ExpiryWorker, count: int) -> bool:
    return (await worker.figures.statistics()).total == {"expired": count}


def _once(events: list[AnyEvent]) -> list[AnyEvent]:
    return list({event.event_id: event for event in events}.values())


async def test_an_expiry_and_a_message_at_once_never_both_end_and_extend_a_session(world: World) -> None:
    """The message either comes first and the session lives on, or it is the next session's first."""
    async with world.expiring(a_rule("silent")) as worker:
        sessions = [await world.session(f"user-{number}") for number in range(100)]
        await world.scheduled(*sessions)
        world.advance(60)
        said = [world.say("still here", f"user-{number}") for number in range(100)]
        await asyncio.gather(*said, worker._due.turn())

        async def all_said() -> bool:
            page = await world.store.heads.page(SessionFilter(), limit=1000)
            return sum(head.message_count for head in page.items) == 100

        await world.until(all_said)
        await asyncio.sleep(0.1)  # for what is still to be announced
        for session in sessions:
            head = await world.head(session)
            taken = world.steps(session)
            assert (head.status is SessionStatus.EXPIRED) == bool(taken) == (head.message_count == 0)
