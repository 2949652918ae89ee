"""Following events: each once and in order, whenever one comes back, wherever, and however slow one is."""

import asyncio
from typing import Any

import pytest

from agentbus.contracts.commands import DeleteMessage, DeleteSession, SetVisibility, ShareSession
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.profile import Permission, Visibility
from agentbus.contracts.records import RecordKind
from agentbus.workers.following import tail
from agentbus.workers.following.journal import Place
from agentbus.workers.following.tail import PlaceGone
from agentbus.workers.following.telling import Pace, follow_all
from tests.harness.following import CALM, Reader, by_conversation, following
from tests.harness.patience import PATIENCE

CHATS = ("lobby", "kitchen", "garden")


async def test_all_that_happens_comes_once_and_in_order() -> None:
    async with following() as world:
        live = await world.live()
        reader = world.follow(live)
        sessions = [await world.session(chat) for chat in CHATS]
        await world.say(*CHATS, count=20)
        await world.settle(*sessions)
        await world.check(reader)
        assert "token" not in "".join(reader.texts)
        assert live.running


async def test_who_comes_back_gets_what_came_after_whatever_they_saw_last_elsewhere_too() -> None:
    async with following() as world:
        first = await world.live()
        second = await world.live()
        reader = world.follow(first)
        sessions = [await world.session(chat) for chat in CHATS]
        await world.say(*CHATS, count=5)
        await world.settle(*sessions)
        await world.check(reader)
        await world.kill(first)  # in whose place the other one writes from now on
        await world.say(*CHATS, count=2)
        await world.settle(*sessions)
        whole = world.follow(second, str(Place(second.tail.name, 0)))
        await world.check(whole)
        assert whole.ids[: len(reader.ids)] == reader.ids
        for at in range(0, len(whole.ids), 7):
            await second.tail.check(Place.read(whole.places[at]) or Place("", 0))
            again = world.follow(second, whole.places[at])
            assert await again.until(len(whole.ids) - at - 1) == whole.ids[at + 1 :]


async def test_who_is_slow_gets_all_of_it_and_takes_up_no_room() -> None:
    async with following() as world:
        live = await world.live(_most=2000)
        slow, quick = world.follow(live, stuck=asyncio.Event()), world.follow(live)
        sessions = [await world.session(chat) for chat in CHATS]
        for _ in range(12):
            await world.say(*CHATS)
            await world.settle(*sessions)
            await world.check(quick)
            assert live.tail._size <= 2000
        assert len(live.tail._held) < live.tail.last
        assert slow.stuck is not None
        slow.stuck.set()
        await world.check(slow)


async def test_what_happens_while_one_catches_up_comes_once() -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        for _ in range(5):
            await world.say("lobby")
            await world.settle(session)
        reader = world.follow(live, str(Place(live.tail.name, 0)))
        await world.say("lobby", count=5)
        await world.settle(session)
        await world.check(reader)


async def test_many_who_come_back_at_once_are_one_look_at_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        for _ in range(3):
            await world.say("lobby")
            await world.settle(session)
        await world.check(world.follow(live, str(Place(live.tail.name, 0))))
        pages, made, real = live.tail.last, 0, live.tail._made

        async def counted(number: int, *, late: bool) -> Any:
            nonlocal made
            made += 1
            return await real(number, late=late)

        monkeypatch.setattr(tail, "_FRESH", PATIENCE)
        monkeypatch.setattr(live.tail, "_made", counted)
        live.tail._made_late.clear()
        readers = [world.follow(live, str(Place(live.tail.name, 0))) for _ in range(20)]
        for one in readers:
            await world.check(one)
        assert made == pages
        monkeypatch.setattr(tail, "_FRESH", 0.0)
        await world.check(world.follow(live, str(Place(live.tail.name, 0))))
        assert made == 2 * pages


async def test_what_was_deleted_or_taken_back_is_not_read_by_catching_up() -> None:
    async with following() as world:
        live = await world.live()
        there = world.follow(live)
        kept, gone = await world.session("lobby"), await world.session("kitchen")
        await world.say("lobby", "kitchen", count=2)
        await world.settle(kept, gone)
        await world.check(there)
        said = [one for one in there.texts if f'"{kept}"' in one and '"message_appended"' in one]
        assert "says 1" in said[0]
        commits = await world.store.log.read(kept.partition(".")[0], limit=100)  # type: ignore[arg-type] # a test
        [first, _] = [one for commit in commits for one in commit.events if isinstance(one, MessageAppended)]
        await world.client.send(DeleteMessage(session_id=kept, target=first.message.key))
        await world.client.send(DeleteSession(session_id=gone))
        await world.check(there)
        late = world.follow(live, str(Place(live.tail.name, 0)))
        every = (await world.events())[kept.partition(".")[0]]
        await late.until(len(every) + 1)
        assert by_conversation(late.ids)[kept.partition(".")[0]] == every
        of_gone = [one for one in late.texts if f'"{gone}"' in one]
        assert len(of_gone) == 1
        assert "session_deleted" in of_gone[0]
        texts = "".join(late.texts)
        assert "says 1" not in texts
        assert "says 2" in texts


async def test_on_behalf_of_a_user_only_their_sessions_are_followed() -> None:
    async with following() as world:
        live = await world.live()
        hers, shared, other = world.follow(live, user="ann"), world.follow(live, user="bob"), world.follow(live)
        session, second = await world.session("lobby", "ann"), await world.session("kitchen", "eve")
        await world.client.send(ShareSession(session_id=session, actor="ann", user="bob", permission=Permission.READ))
        await world.say("lobby", "kitchen")
        await world.settle(session, second)
        await world.check(other)
        every = await world.events()
        await hers.until(len(every[session.partition(".")[0]]))
        assert by_conversation(hers.ids) == {session.partition(".")[0]: every[session.partition(".")[0]]}
        assert shared.ids
        assert set(by_conversation(shared.ids)) == {session.partition(".")[0]}


async def test_a_place_that_there_is_not_is_told() -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        await world.say("lobby")
        await world.settle(session)
        await world.check(world.follow(live, str(Place(live.tail.name, 0))))
        await world.check(world.follow(live, str(Place(live.tail.name, 0))))  # reads the pages as one who comes late
        for place in (Place("00000000", 0), Place(live.tail.name, live.tail.last + 1)):
            with pytest.raises(PlaceGone):
                await live.tail.check(place)
        await live.tail.check(live.tail.end)
        assert await world.store.records.delete(RecordKind.JOURNAL, f"{1:012}")
        with pytest.raises(PlaceGone):
            await live.tail.check(Place(live.tail.name, 0))
        live.tail._made_late.clear()  # what somebody has read who came late is given to others for some seconds
        with pytest.raises(PlaceGone):
            async with asyncio.timeout(PATIENCE):
                await follow_all(
                    live.tail, world.store, Place(live.tail.name, 0), lambda _: True, None, Reader().say, pace=CALM
                )


async def test_a_sign_of_life_moves_the_place_on() -> None:
    async with following() as world:
        live = await world.live()
        reader = world.follow(live, user="nobody", pace=Pace(beat=0.01))
        session = await world.session()
        await world.say("lobby")
        await world.settle(session)
        await world.check(world.follow(live, str(Place(live.tail.name, 0))))
        signs = reader.signs
        await reader.until_signs(signs + 2)
        assert Place.read(reader.last) == live.tail.end
        assert reader.ids == []


async def test_the_store_may_be_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with following() as world:
        live = await world.live()
        reader = world.follow(live)
        session = await world.session()
        await world.check(reader)
        real, fails = world.store.records.get, 5

        async def away(*given: object) -> object:
            nonlocal fails
            if fails:
                fails -= 1
                raise StoreUnavailable
            return await real(*given)  # type: ignore[arg-type] # as it was called

        monkeypatch.setattr(world.store.records, "get", away)
        await world.say("lobby", count=3)
        await world.settle(session)
        await world.check(reader)


async def test_nothing_is_missed_while_the_bus_is_lost() -> None:
    async with following() as world:
        live = await world.live()
        reader = world.follow(live)
        session = await world.session()
        one, _ = await world.follow_one(live, session)
        for _ in range(3):
            world.bus.disconnect()  # type: ignore[attr-defined] # the one in memory
            await world.say("lobby")
            await world.settle(session)
        await world.check(reader)
        await world.check(one)


async def test_one_session_is_followed_from_any_place() -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        await world.session("kitchen")
        await world.say("lobby", "kitchen", count=5)
        await world.settle(session)
        reader, _ = await world.follow_one(live, session)
        await world.say("lobby", "kitchen", count=5)
        await world.settle(session)
        every = (await world.events())[session.partition(".")[0]]
        assert await reader.until(len(every)) == every
        for at in range(0, len(every), 3):
            again, _ = await world.follow_one(live, session, reader.places[at])
            assert await again.until(len(every) - at - 1) == every[at + 1 :]


async def test_following_a_session_ends_with_the_right_to_read_it() -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session(owner="ann")
        await world.client.send(ShareSession(session_id=session, actor="ann", user="bob", permission=Permission.READ))
        (hers, ann), (his, bob), (_, app) = [
            await world.follow_one(live, session, user=user) for user in ("ann", "bob", None)
        ]
        await world.client.send(ShareSession(session_id=session, actor="ann", user="bob"))
        async with asyncio.timeout(PATIENCE):
            await bob
        await world.client.send(SetVisibility(session_id=session, actor="ann", visibility=Visibility.PUBLIC))
        await world.say("lobby")
        await world.settle(session)
        every = (await world.events())[session.partition(".")[0]]
        assert await hers.until(len(every)) == every
        assert len(his.ids) < len(every)
        await world.client.send(DeleteSession(session_id=session))
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(ann, app)


async def test_a_session_is_looked_at_though_nothing_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        monkeypatch.setattr(live.waking, "wake", lambda _: None)
        reader, _ = await world.follow_one(live, session, pace=Pace(beat=0.005))
        await reader.until(1)
        await world.say("lobby")
        await world.settle(session)
        await world.check(reader)


async def test_cancelling_leaves_nothing_behind() -> None:
    async with following() as world:
        live = await world.live()
        session = await world.session()
        reader = world.follow(live)
        await world.follow_one(live, session)
        await world.say("lobby")
        await world.settle(session)
        await reader.until(1)
        assert live.tail._listeners == 1
        assert len(live.waking) == 1
        await world.kill(live)
        assert live.tail._listeners == 0
        assert not live.tail._held
        assert len(live.waking) == 0
        assert not [task for task in asyncio.all_tasks() if "journal" in task.get_name()]
