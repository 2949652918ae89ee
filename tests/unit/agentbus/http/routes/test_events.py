"""Following events by HTTP: from now on or from a place, by topics, by who may; and what is told of what makes none."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentbus.contracts.commands import DeleteSession
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import RecordKind
from agentbus.http import access
from agentbus.http.streams import Streams
from agentbus.operations.api_keys import Role, key_id_in, revoke_key
from agentbus.workers.following.telling import Pace
from tests.harness.api import World, a_message
from tests.harness.following import Call, called
from tests.harness.patience import PATIENCE


@pytest.fixture
async def streams(world: World) -> AsyncIterator[Streams]:
    """Let people follow events."""
    await world.api.parts.streams.start()
    yield world.api.parts.streams
    await world.api.parts.streams.close()


async def said(world: World, text: str, *, user: str = "ann") -> str:
    """Say something, and return the session in which it was committed."""
    async with world.caller() as by:
        answer = await by.post("/v1/messages", json=a_message(text, user=user))
    assert answer.status_code == 200, answer.text
    session: str = answer.json()["session_id"]
    return session


async def until(call: Call, text: str) -> None:
    """Wait until an event has come that says so."""
    async with asyncio.timeout(PATIENCE):
        while not any(text in one for one in call.reader.texts):
            call.reader.more.clear()
            await call.reader.more.wait()


async def test_all_events_from_now_on_and_from_the_last_one(world: World, streams: Streams) -> None:
    await said(world, "before")
    async with called(world.api.app, "/v1/events") as call:
        assert (call.status, call.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        assert call.headers["cache-control"] == "no-store"
        assert "content-length" not in call.headers
        await call.reader.until_signs(1)
        await said(world, "first")
        await said(world, "of another", user="bob")
        await until(call, "of another")
        assert len(streams) == 1
    assert len(streams) == 0
    seen = call.reader
    await said(world, "missed")
    async with called(world.api.app, "/v1/events", Last_Event_ID=seen.places[0]) as call:
        await until(call, "missed")
        assert call.reader.ids[: len(seen.ids) - 1] == seen.ids[1:]
    async with called(world.api.app, "/v1/events", f"last_event_id={seen.places[0]}") as again:
        await until(again, "missed")
        assert again.reader.ids == call.reader.ids
    async with called(world.api.app, "/v1/events", "last_event_id=nonsense", Last_Event_ID=seen.last) as last:
        await until(last, "missed")
        assert "of another" not in "".join(last.reader.texts)


async def test_events_of_one_session_and_of_some_topics(world: World, streams: Streams) -> None:
    session = await said(world, "first")
    await said(world, "of another", user="bob")
    path = f"/v1/sessions/{session}/events"
    async with called(world.api.app, path, "from_sequence=1&topic=session.message.*") as call:
        await said(world, "second")
        await until(call, "second")
        assert ["of another" in one for one in call.reader.texts] == [False, False]
    async with called(world.api.app, path, Last_Event_ID=call.reader.places[0]) as again:
        await until(again, "second")
        assert again.reader.ids == call.reader.ids[1:]
    async with called(world.api.app, path) as now, called(world.api.app, "/v1/events", "topic=session.%23") as every:
        await now.reader.until_signs(1)
        await said(world, "third")
        await until(now, "third")
        await until(every, "third")
        assert len(now.reader.ids) == 1
    assert len(streams) == 0


async def test_what_is_no_place_is_told_and_is_no_fault(world: World, streams: Streams) -> None:
    session = await said(world, "first")
    chance = random.Random(11)
    name = streams.live.tail.name
    hostile = ["", "0", "-1", "1.1.1.1.1", f"{name}-", f"{name}-0.", f"{name}--1", "9" * 5000, f"{name}-{'9' * 13}"]
    hostile += [f"{name}-1.1.1.1.1", "\u0661.\u0661", "1 .1", "1.1 ", "'; drop", "%00", "..", "1.1\t"]
    hostile += ["".join(chance.choices("0123456789abcdef-. \u00e9", k=chance.randint(1, 40))) for _ in range(60)]
    for text in hostile:
        for path in ("/v1/events", f"/v1/sessions/{session}/events"):
            async with called(world.api.app, path, Last_Event_ID=text) as call:
                assert call.status in (400, 410), text
                assert call.headers["content-type"] == "application/problem+json"
                assert (b'"code":"bad_place"' if call.status == 400 else b'"code":"place_gone"') in call.body
    gone = [("/v1/events", "00000000-1"), ("/v1/events", f"{name}-999"), (f"/v1/sessions/{session}/events", "99.1")]
    for path, text in gone:
        async with called(world.api.app, path, Last_Event_ID=text) as call:
            assert (call.status, b'"code":"place_gone"' in call.body) == (410, True)
    assert len(streams) == 0


async def test_what_is_not_asked_for_rightly_is_told(world: World, streams: Streams) -> None:
    session = await said(world, "first")
    cases = [
        ("/v1/events", "topic=session.mesage.*", 422),
        ("/v1/events", "topic=%23.%23.%23.%23", 422),
        ("/v1/events", "&".join(["topic=session.%23"] * 21), 422),
        ("/v1/events", "from_sequence=1", 422),
        (f"/v1/sessions/{session}/events", "from_sequence=0", 422),
        (f"/v1/sessions/{session}/events", f"from_sequence={2**63}", 422),
        ("/v1/sessions/nowhere/events", "", 404),
        (f"/v1/sessions/{session[:-1]}9/events", "", 404),
    ]
    for path, query, status in cases:
        async with called(world.api.app, path, query) as call:
            assert (call.status, path, query) == (status, path, query)
    await world.api.parts.client.send(DeleteSession(session_id=SessionId(session)))
    async with called(world.api.app, f"/v1/sessions/{session}/events") as call:
        assert call.status == 404
    assert len(streams) == 0


async def test_who_may_follow_what(world: World, streams: Streams) -> None:
    session = await said(world, "hers")
    read, publish = await world.key(Role.READ), await world.key(Role.PUBLISH)
    path = f"/v1/sessions/{session}/events"
    for one in ("/v1/events", path):
        cases: list[tuple[dict[str, str], int]] = [
            ({}, 401),
            ({"Authorization": f"Bearer {publish}"}, 403),
            ({"Authorization": f"Bearer {read}"}, 200),
            ({"Authorization": f"Bearer {read}", "X_AgentBus_User": "ann"}, 200),
            ({"Authorization": f"Bearer {read}", "X_AgentBus_User": "eve"}, 403 if one == path else 200),
        ]
        for headers, status in cases:
            async with called(world.api.app, one, **headers) as call:
                assert (call.status, headers) == (status, headers)
    everything = f"{streams.live.tail.name}-0"
    hers = {"Authorization": f"Bearer {read}", "X_AgentBus_User": "ann", "Last_Event_ID": everything}
    async with (
        called(world.api.app, "/v1/events", **hers) as call,
        called(world.api.app, "/v1/events", **hers | {"X_AgentBus_User": "eve"}) as other,
    ):
        await until(call, "hers")
        await other.reader.until_signs(1)
        assert other.reader.ids == []


async def test_a_stream_ends_with_the_key_that_it_was_asked_for_with(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "pace", Pace(beat=0.01))
    monkeypatch.setattr(access, "BELIEVED_SECONDS", 0.0)
    session = await said(world, "first")
    other, key = await world.key(Role.READ), await world.key(Role.READ)
    async with (
        called(world.api.app, "/v1/events", Authorization=f"Bearer {key}") as call,
        called(world.api.app, f"/v1/sessions/{session}/events", Authorization=f"Bearer {key}") as of_one,
        called(world.api.app, "/v1/events", Authorization=f"Bearer {other}") as stays,
    ):
        await call.reader.until_signs(3)
        with monkeypatch.context() as away:
            away.setattr(world.app.store.records, "get", failing)
            signs = call.reader.signs
            await call.reader.until_signs(signs + 3)
        await revoke_key(world.app.store, world.app.clock, key_id_in(key) or "")
        async with asyncio.timeout(PATIENCE):
            await call.over.wait()
            await of_one.over.wait()
        signs = stays.reader.signs
        await stays.reader.until_signs(signs + 3)
        assert not stays.over.is_set()


async def failing(*_: object, **__: object) -> Any:
    raise StoreUnavailable


async def test_there_is_room_for_so_many(world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_most", 2)
    async with (
        called(world.api.app, "/v1/events"),
        called(world.api.app, "/v1/events"),
        called(world.api.app, "/v1/events") as call,
    ):
        assert (call.status, b'"code":"too_many_streams"' in call.body) == (503, True)
        assert int(call.headers["retry-after"]) >= 1
    async with called(world.api.app, "/v1/events") as call:
        assert call.status == 200


async def test_a_server_that_ends_lets_them_go_and_takes_no_more(world: World, streams: Streams) -> None:
    session = await said(world, "first")
    async with (
        called(world.api.app, "/v1/events") as call,
        called(world.api.app, f"/v1/sessions/{session}/events") as other,
    ):
        await world.api.drain(PATIENCE)
        assert call.over.is_set()
        assert other.over.is_set()
        assert len(streams) == 0
        async with called(world.api.app, "/v1/events") as late:
            assert late.status == 503
    world.api.open()
    with pytest.raises(AssertionError):
        async with called(world.api.app, "/v1/events") as late:  # not before it is started again
            assert late.status == 200
    await streams.close()
    await streams.start()
    async with called(world.api.app, "/v1/events") as again:
        assert again.status == 200


async def test_what_cant_be_read_ends_a_stream_that_can_be_taken_up_again(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await said(world, "first")
    async with called(world.api.app, "/v1/events") as call:
        await call.reader.until_signs(1)
    place = call.reader.last
    await said(world, "second")
    async with called(world.api.app, "/v1/events", Last_Event_ID=place) as there:
        await until(there, "second")
    real = streams.live.tail.page

    async def gone(number: int, **_: Any) -> Any:
        await world.app.store.records.delete(RecordKind.JOURNAL, f"{number:012}")
        return await real(number, late=True)

    monkeypatch.setattr(streams.live.tail, "page", gone)
    async with called(world.api.app, "/v1/events", Last_Event_ID=place) as call:
        async with asyncio.timeout(PATIENCE):
            await call.over.wait()
    async with called(world.api.app, "/v1/events", Last_Event_ID=place) as call:
        assert call.status == 410
    assert session


async def test_who_comes_while_many_begin_waits_and_holds_nothing(
    world: World, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await said(world, "first")
    path, read = f"/v1/sessions/{session}/events", 0
    real, go = world.app.store.heads.get, asyncio.Event()

    async def slow(asked: SessionId) -> Any:
        nonlocal read
        read += 1
        await go.wait()
        return await real(asked)

    monkeypatch.setattr(streams, "_beginning", asyncio.Semaphore(2))
    monkeypatch.setattr(world.app.store.heads, "get", slow)
    tasks = [asyncio.create_task(_greeted(world, path)) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        while len(streams) < 5 or read < 2:
            await asyncio.sleep(0)
    gone = tasks.pop()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    go.set()
    assert await asyncio.gather(*tasks) == [200] * 4
    assert (read, len(streams)) == (4, 0)
    go.clear()
    waiting = asyncio.create_task(_greeted(world, path))
    async with asyncio.timeout(PATIENCE):
        while read < 5:
            await asyncio.sleep(0)
    streams.let_go()
    assert await waiting == 503


async def _greeted(world: World, path: str) -> int:
    async with called(world.api.app, path) as call:
        return call.status
