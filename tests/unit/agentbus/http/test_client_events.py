"""The client follows events: each once and in order, over servers that end, streams that die, and nonsense."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from time import monotonic

import httpx
import pytest

from agentbus.composition.app import App
from agentbus.composition.running import embedded
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.errors import AccessDenied, SessionNotFound
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.messages import TextContent
from agentbus.http import Client, Followed, PlaceGone, ServerUnavailable
from agentbus.http import client as client_module
from agentbus.http.hosting import make_api_worker
from agentbus.http.problems import Ending, ServerFault
from agentbus.operations.api_keys import Role, create_key
from agentbus.settings import load_settings
from agentbus.testing.clock import later
from tests.harness.patience import PATIENCE
from tests.services.ports import free_port

WHERE = Address(platform=Platform.WEB, chat="lobby", user="ann")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BACK_IN", 0.1)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=4, api_port=free_port())
    async with embedded(settings) as app:
        yield app


@asynccontextmanager
async def served(app: App, **given: object) -> AsyncIterator[Client]:
    """Serve the API of an app, and give a client of it."""
    worker = make_api_worker(app)
    await worker.start()
    try:
        async with a_client(app, **given) as client:
            yield client
    finally:
        await worker.close()


@asynccontextmanager
async def a_client(app: App, **given: object) -> AsyncIterator[Client]:
    _, key = await create_key(app.store, app.clock, "a test's", list(Role))
    async with Client(f"http://127.0.0.1:{app.settings.api.api_port}", key=key, **given) as client:  # type: ignore[arg-type] # a test's
        yield client


async def some(following: AsyncIterator[Followed], count: int) -> list[Followed]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(following) for _ in range(count)]


def said(followed: Followed) -> str:
    data = followed.event.data
    assert isinstance(data, MessageAppended)
    assert isinstance(data.message.content, TextContent)
    return data.message.content.text


async def test_events_of_a_session_and_of_all_from_the_beginning_and_from_a_place(app: App) -> None:
    async with served(app) as api:
        session = (await api.publish(WHERE, "one")).session_id
        await api.publish(WHERE, "two")
        of_one = api.events("session.message.*", session=session, from_sequence=1)
        every = api.events("session.message.#")
        async with aclosing(of_one), aclosing(every):
            seen = await some(of_one, 2)
            assert list(map(said, seen)) == ["one", "two"]
            later = asyncio.create_task(some(every, 1))
            while not later.done():  # it begins "now", which is when the server says so
                await api.publish(WHERE, "three")
                await asyncio.sleep(0.05)
            assert said((await later)[0]) == "three"
        async with aclosing(api.events("session.message.*", session=session, after=seen[0].place)) as again:
            assert [said(one) for one in await some(again, 2)] == ["two", "three"]


async def test_each_once_over_servers_that_end(app: App) -> None:
    async with a_client(app) as api:
        async with served(app) as first:
            session = (await first.publish(WHERE, "0")).session_id
            following = api.events("session.message.*", session=session, from_sequence=1)
            assert [said(one) for one in await some(following, 1)] == ["0"]
        for number in range(1, 4):
            async with served(app) as another:
                await another.publish(WHERE, f"{number}")
                assert [said(one) for one in await some(following, 1)] == [f"{number}"]
        await following.aclose()


async def test_what_cannot_be_followed_is_raised(app: App) -> None:
    async with served(app) as api, served_for(app, "bob") as bob:
        session = (await api.publish(WHERE, "one")).session_id
        with pytest.raises(PlaceGone):
            await some(api.events(after="00000000-1"), 1)
        with pytest.raises(SessionNotFound):
            await some(api.events(session="a" * 26 + ".1"), 1)
        with pytest.raises(AccessDenied):
            await some(bob.events(session=session), 1)


@asynccontextmanager
async def served_for(app: App, user: str) -> AsyncIterator[Client]:
    async with a_client(app, user=user) as client:
        yield client


Answer = Callable[[httpx.Request], httpx.Response]
FULL = (
    b'id: 1.1\ndata: {"specversion":"1.0","type":"agentbus.event.v9","id":"x","source":"/agentbus"}\n\n'
    b"id: 1.2\n\n"
    b"data: nonsense\n\n"
)


def stream(content: bytes, *, of: str = "text/event-stream") -> Answer:
    return lambda _: httpx.Response(200, content=content, headers={"content-type": of})


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (stream(b"<html>", of="text/html"), ServerFault),
        (stream(FULL), ServerFault),
        (lambda _: httpx.Response(404, text="<html>"), ServerFault),
        (lambda _: httpx.Response(503, json={"code": "ending"}), Ending),
        (stream(b""), ServerUnavailable),
    ],
)
async def test_what_is_no_stream_is_told(answer: Answer, error: type[Exception]) -> None:
    async with Client(transport=httpx.MockTransport(answer), patience=0) as api:
        with pytest.raises(error):
            await some(api.events(), 1)
    gc.collect()  # httpx-sse leaves a generator of httpx for the loop to close, once it is found
    await later()


async def test_it_goes_on_from_where_a_stream_died_and_gives_up_where_nobody_answers() -> None:
    asked: list[str | None] = []

    class Dying(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield FULL.partition(b"data: nonsense")[0]
            raise httpx.ReadError("the connection died")

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) > 2:
            raise httpx.ConnectError("nobody is there")
        return httpx.Response(200, stream=Dying(), headers={"content-type": "text/event-stream"})

    async with Client(transport=httpx.MockTransport(answer), patience=0) as api:
        with pytest.raises(ServerUnavailable):
            await some(api.events(after="1.0"), 1)
    assert asked == ["1.0", "1.2", "1.2"]


async def test_streams_that_end_before_anything_comes_are_borne_for_as_long_as_there_is_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentbus.http.client._BACK_IN", 0.1)
    begun: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        begun.append(monotonic())
        return stream(b"")(request)

    async with Client(transport=httpx.MockTransport(answer), patience=0.5) as api:
        with pytest.raises(ServerUnavailable, match="before anything comes"):
            await some(api.events(), 1)
    assert len(begun) > 2
    assert begun[-1] - begun[0] >= 0.4


async def test_any_other_call_by_its_path(app: App) -> None:
    async with served(app) as api:
        assert await api.call("PUT", "/v1/templates/shop", {"context": {"cart": []}}) is not None
        listed = await api.call("GET", "/v1/sessions", params={"limit": 5})
        assert isinstance(listed, dict)
        assert await api.call("DELETE", "/v1/templates/shop") is None
        with pytest.raises(SessionNotFound):
            await api.call("GET", f"/v1/sessions/{'a' * 26}.1")
