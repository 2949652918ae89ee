"""Figures come to the same, whoever follows a log, how often, in what order, and wherever one of them dies."""

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest

from agentbus.contracts.events import Commit
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.tracking import Tracked
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.tracking import catch_up as catch_up_module
from agentbus.workers.tracking.catch_up import Step, Tracker
from agentbus.workers.tracking.kept import read_tracked
from agentbus.workers.tracking.rebuilding import Rebuilding, Rebuilt
from tests.harness.conversations import CONVERSATION, NOW
from tests.harness.plain_figures import kept_figures, plain_figures
from tests.harness.sampling import sampled
from tests.harness.usage_logs import a_log

KEPT = (RecordKind.TRACKED, RecordKind.ROLLUP, RecordKind.USAGE)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


class _Follower:
    """Somebody who follows the log, a call at a time: what is read may be old by the time when it is kept."""

    def __init__(self, store: Store, random: Random) -> None:
        self._store = store
        self._random = random
        self._tracker = Tracker(store)
        self._tracked: Tracked | None = None
        self._step: Step | None = None

    async def go_on(self) -> None:
        if self._step is None:
            self._tracked = self._tracked or await read_tracked(self._store, CONVERSATION)
            self._step = await self._tracker.step(CONVERSATION, self._tracked)
            return
        beside = list(self._step.beside)
        self._random.shuffle(beside)  # a store that can't keep many at once keeps them in any order
        kept = self._random.randint(0, len(beside) + 3)
        for record in beside[:kept]:
            await self._store.records.put_many([record])
        if kept > len(beside):
            await self._store.records.put_many([self._step.mark])
            self._tracked, self._step = self._step.tracked, None
        else:  # killed on the way; somebody new is there
            self._tracked = self._step = None


def figures(store: MemoryStore) -> dict[str, Any]:
    """Return all that tracking keeps in a store, but for records with nothing in them."""
    found: list[Record] = [one for one in store.records._records.values() if one.kind in KEPT]
    return {f"{one.kind} {one.key}": (one.group, one.created_at, one.data) for one in found if one.data}


async def rebuilt(store: Store) -> Rebuilt:
    [*_, last] = [progress async for progress in Rebuilding(store).run()]
    return last


async def of_the_log(commits: list[Commit]) -> dict[str, Any]:
    async with MemoryStore() as other:
        for commit in commits:
            await other.log.append([commit])
        assert await rebuilt(other) == Rebuilt(conversations=1)
        return figures(other)


@sampled("seed", each=5)
@pytest.mark.parametrize("seed", range(20))
async def test_any_order_and_any_deaths_give_what_the_log_gives(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    commits = a_log(random, 60)
    followers = [_Follower(store, random) for _ in range(3)]
    left = list(commits)
    while left:
        monkeypatch.setattr(catch_up_module, "_COMMITS", random.randint(1, 6))
        if random.random() < 0.4:
            await store.log.append([left.pop(0)])
        else:
            await random.choice(followers).go_on()
    await Tracker(store).catch_up([CONVERSATION])
    for _ in range(12):  # whoever was late
        await random.choice(followers).go_on()

    there = figures(store)
    assert there == await of_the_log(commits)
    assert await rebuilt(store) == Rebuilt(conversations=1)
    assert figures(store) == there


@sampled("seed", each=5)
@pytest.mark.parametrize("seed", range(20))
async def test_figures_are_what_counting_the_whole_log_gives(store: MemoryStore, seed: int) -> None:
    commits = a_log(Random(seed), 60, erasures=False)
    for commit in commits:
        await store.log.append([commit])
    await Tracker(store).catch_up([CONVERSATION])
    found, plain = await kept_figures(store), plain_figures({CONVERSATION: commits})
    assert found.as_dict() == plain.as_dict()
    assert sum(plain.hours.values(), Counter())["message.user"] > 5


async def test_what_was_spoilt_is_mended_by_a_rebuild(store: MemoryStore) -> None:
    for commit in a_log(Random(1), 40, erasures=False):
        await store.log.append([commit])
    await Tracker(store).catch_up([CONVERSATION])
    right = figures(store)
    for (kind, _), record in list(store.records._records.items()):
        if kind is RecordKind.ROLLUP:
            await store.records.put(record.model_copy(update={"data": {"1": {"message.user": 77}}}))
    assert figures(store) != right

    await rebuilt(store)

    assert figures(store) == right


async def test_figures_of_what_has_left_the_log_stay(store: MemoryStore) -> None:
    commits = a_log(Random(2), 30, erasures=False)
    for commit in commits:
        await store.log.append([commit])
    await Tracker(store).catch_up([CONVERSATION])
    right = figures(store)
    await store.log.replace([commits[3].model_copy(update={"events": ()})])

    assert await rebuilt(store) == Rebuilt(conversations=1, kept=1)

    assert figures(store) == right


async def test_following_again_reads_nothing_and_changes_nothing(store: MemoryStore) -> None:
    for commit in a_log(Random(3), 20):
        await store.log.append([commit])
    first = await Tracker(store).catch_up([CONVERSATION])
    there = dict(store.records._records)

    assert await Tracker(store).catch_up([CONVERSATION]) == first
    assert store.records._records == there
    assert await Tracker(store).step(CONVERSATION, first[CONVERSATION]) is None


async def test_a_mark_that_can_not_be_read_is_passed_over_and_mended(store: MemoryStore) -> None:
    for commit in a_log(Random(4), 20):
        await store.log.append([commit])
    right = await of_the_log([commit async for commit in iter_log(store, CONVERSATION)])
    mark = Record(kind=RecordKind.TRACKED, key=CONVERSATION, created_at=NOW, data={"version": "soon"})
    await store.records.put(mark)

    assert await Tracker(store).catch_up([CONVERSATION]) == {}
    await rebuilt(store)

    assert figures(store) == right
