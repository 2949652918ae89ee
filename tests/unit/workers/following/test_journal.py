"""The journal: each commit is in it once, in the order of its conversation, whoever writes and whatever is heard."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import StoreDamaged, StoreUnavailable
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.testing.builders import a_commit, a_conversation, a_moment, appended
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.following.chronicler import Chronicler
from agentbus.workers.following.journal import KEPT, MOST, Behind, Journal, Named, Place

ADA, BOB, EVE = map(a_conversation, ("ada", "bob", "eve"))


class World:
    """A store, its journal, and as many chroniclers as a test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock(a_moment(0))
        self.store = MemoryStore(self.clock)
        self.bus = MemoryBus(Topology(partitions=1))
        self.versions: dict[ConversationId, int] = {}

    def journal(self, *, kept: timedelta = KEPT) -> Journal:
        return Journal(self.store, self.clock, kept=kept)

    def chronicler(self, journal: Journal | None = None) -> Chronicler:
        return Chronicler(self.bus, self.store, journal or self.journal(), written=lambda: None)

    async def commit(self, conversation: ConversationId, count: int = 1, **changes: Any) -> None:
        for _ in range(count):
            version = self.versions[conversation] = self.versions.get(conversation, 0) + 1
            commit = a_commit(conversation, version, events=[appended(conversation, version, f"m{version}")])
            [failed] = await self.store.log.append([commit.model_copy(update={"at": self.clock.now(), **changes})])
            assert failed is None

    async def written(self) -> list[Named]:
        """Return all that is in the journal, in its order."""
        journal = self.journal()
        found: list[Named] = []
        for number in range(1, await journal.last() + 1):
            found += await journal.page(number) or ()
        return found

    async def check(self, *conversations: ConversationId) -> None:
        """Check that each commit of these is in the journal once, in its order, and nothing else."""
        written = await self.written()
        for one in conversations:
            assert [named.version for named in written if named.conversation == one] == list(
                range(1, self.versions[one] + 1)
            )
        assert {named.conversation for named in written} == set(conversations)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.journal().beginning()
    return world


async def test_what_is_heard_twice_or_late_is_written_once(world: World) -> None:
    chronicler = world.chronicler()
    await world.commit(ADA, 50)  # more than is read of a conversation at a time
    await world.commit(BOB, 3)
    await chronicler.record([ADA, BOB, ADA])
    await chronicler.record([BOB])
    await world.commit(BOB)
    await chronicler.record([BOB, ADA, EVE])
    await world.chronicler().record([ADA, BOB])
    await world.check(ADA, BOB)
    pages = [await world.journal().page(number) for number in range(1, await world.journal().last() + 1)]
    assert all(page and len(page) <= MOST for page in pages)


async def test_many_at_once_take_several_pages(world: World) -> None:
    many = [a_conversation(str(number)) for number in range(MOST + 20)]
    for one in many:
        await world.commit(one, 2)
    await world.chronicler().record(many)
    await world.check(*many)
    assert await world.journal().last() == 3


async def test_chroniclers_that_think_it_is_their_turn_write_nothing_twice(world: World) -> None:
    first, second = world.chronicler(), world.chronicler()
    for _ in range(3):
        await world.commit(ADA, 2)
        await first.record([ADA])
        await world.commit(BOB)
        await second.record([BOB, ADA])  # whose memory of the journal's end is old, as it was frozen
        await world.commit(ADA)
        await first.record([BOB, ADA])
    await world.check(ADA, BOB)


class Failing(Journal):
    """A journal whose calls fail once each, done or not."""

    def __init__(self, store: Store, clock: ManualClock, *, done: bool) -> None:
        super().__init__(store, clock)
        self.fails = {"write", "mark"}
        self._done = done

    async def write(self, number: int, commits: Sequence[Named]) -> bool:
        if self._done or "write" not in self.fails:
            written = await super().write(number, commits)
        self._fail("write")
        return written

    async def mark(self, versions: Any) -> None:
        if self._done or "mark" not in self.fails:
            await super().mark(versions)
        self._fail("mark")

    def _fail(self, name: str) -> None:
        if name in self.fails:
            self.fails.remove(name)
            raise StoreUnavailable


async def test_a_call_that_failed_and_may_have_been_done_does_no_harm(world: World) -> None:
    for done in (False, True):
        journal = Failing(world.store, world.clock, done=done)
        chronicler = world.chronicler(journal)
        await world.commit(ADA, 3)
        while journal.fails:
            with pytest.raises(StoreUnavailable):
                await chronicler.record([ADA])
            await world.commit(BOB)
            await world.chronicler().record([BOB])  # another one goes on meanwhile
        await chronicler.record([ADA, BOB])
        await world.check(ADA, BOB)


async def test_who_dies_between_a_page_and_its_marks_leaves_nothing_to_write_twice(world: World) -> None:
    journal = Failing(world.store, world.clock, done=False)
    journal.fails = {"mark"}
    await world.commit(ADA, 3)
    with pytest.raises(StoreUnavailable):
        await world.chronicler(journal).record([ADA])
    assert await world.journal().marks([ADA]) == {}
    await world.chronicler().record([ADA])
    await world.check(ADA)
    assert await world.journal().marks([ADA]) == {ADA: 3}


async def test_others_that_write_for_ever_are_a_fault_of_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    journal = world.journal()
    monkeypatch.setattr(journal, "write", never)
    await world.commit(ADA)
    with pytest.raises(StoreUnavailable, match="others write"):
        await world.chronicler(journal).record([ADA])


async def test_what_was_there_before_the_journal_is_not_in_it() -> None:
    world = World()
    await world.commit(ADA, 30)
    world.clock.advance(timedelta(hours=1))
    chronicler = world.chronicler()
    await world.journal().beginning()
    await chronicler.record([ADA])
    assert await world.written() == []
    await world.commit(ADA, 2)
    await chronicler.record([ADA])
    assert [named.version for named in await world.written()] == [31, 32]


async def test_what_a_restore_brought_back_is_not_in_it(world: World) -> None:
    chronicler = world.chronicler()
    await world.commit(ADA, 2, restored="restore-1")
    await chronicler.record([ADA])
    assert await world.written() == []
    await world.commit(ADA)
    await chronicler.record([ADA])
    assert [named.version for named in await world.written()] == [3]


async def test_what_is_too_old_goes_and_does_not_come_back(world: World) -> None:
    journal = world.journal()
    chronicler = world.chronicler(journal)
    for _ in range(3):
        await world.commit(ADA, 2)
        await chronicler.record([ADA])
    world.clock.advance(KEPT + timedelta(seconds=1))
    await journal.forget(3)
    assert [await journal.page(number) is not None for number in (1, 2, 3)] == [False, False, True]
    assert await world.journal().last() == 3  # the number that comes next is kept, however quiet it is
    assert await journal.marks([ADA]) == {ADA: 6}
    world.clock.advance(KEPT)
    await journal.forget(3)
    assert await journal.marks([ADA]) == {}
    await world.chronicler().record([ADA])  # what is repeated now was in it long ago
    assert await world.journal().last() == 3
    await world.commit(ADA)
    await world.chronicler().record([ADA])
    assert await journal.page(4) == (Named(ADA, 7),)


async def test_the_end_is_found_by_whatever_clocks_it_was_written(world: World) -> None:
    for number in range(1, 31):
        await world.commit(ADA)
        ahead = timedelta(days=1) * (number % 7)
        await Journal(world.store, ManualClock(a_moment(0) + ahead)).write(number, [Named(ADA, number)])
    assert await world.journal().last() == 30


async def test_a_log_that_cant_be_read_does_not_stop_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = world.store.log.read

    async def damaged(conversation: ConversationId, **asked: Any) -> Any:
        if conversation == ADA:
            raise StoreDamaged("commit 1")
        return await real(conversation, **asked)

    await world.commit(ADA)
    await world.commit(BOB)
    monkeypatch.setattr(world.store.log, "read", damaged)
    with capture_logs() as logs, pytest.raises(StoreDamaged):
        await world.chronicler().record([ADA, BOB])
    assert [one["conversation_id"] for one in logs if one["event"] == "not_journaled"] == [ADA]
    await world.check(BOB)


async def test_a_page_that_cant_be_read_says_nothing(world: World) -> None:
    hostile: Iterable[Any] = ({}, {"commits": 1}, {"commits": [1]}, {"commits": [["a", "b"]]})
    for number, data in enumerate(hostile, start=1):
        key = f"{number:012}"
        await world.store.records.put(
            Record(kind=RecordKind.JOURNAL, key=key, group="pages", created_at=a_moment(0), data=data)
        )
        with capture_logs() as logs:
            assert await world.journal().page(number) == ()
        assert [one["event"] for one in logs] == ["not_journaled"]
    await world.commit(ADA)
    await world.chronicler().record([ADA])
    assert await world.journal().page(5) == (Named(ADA, 1),)


def test_a_place_is_read_as_it_is_written_and_nothing_else_is_one() -> None:
    for place in (Place("0123abcd", 0), Place("0123abcd", 12, Behind(3, 1, 17))):
        assert Place.read(str(place)) == place
    for text in ("", "0123abcd", "0123abcd-", "0123ABCD-1", "0123abcd-1.", "0123abcd-1.1.1", "0123abcd-1.1.1.1.1"):
        assert Place.read(text) is None
    for text in ("0123abcd-" + "9" * 13, "0123abcd--1", "0123abcd-1\n", " 0123abcd-1", "0123abcd-\u0661", "x" * 10_000):
        assert Place.read(text) is None
