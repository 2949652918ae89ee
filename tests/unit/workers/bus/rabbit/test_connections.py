"""A connection that is still being opened when nobody wants it any more."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agentbus.contracts.errors import BrokerUnavailable
from agentbus.workers.bus.rabbit import connections
from agentbus.workers.bus.rabbit.connections import Link, user_of
from tests.harness.patience import PATIENCE


class Opening:
    """Stands in for aio-pika's connection: opens when it is let, and tells whether it was closed."""

    made: list["Opening"]
    let: asyncio.Event

    def __init__(self, *_: object) -> None:
        self.made.append(self)
        self.transport: Any = None
        self.kwargs: dict[str, object] = {}
        self.opened = self.cancelled = self.closed = False

    async def connect(self, **_: object) -> None:
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.opened = True
        self.transport = SimpleNamespace(connection=SimpleNamespace(is_opened=True, close=self.close))

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> type[Opening]:
    monkeypatch.setattr(connections, "Connection", Opening)
    monkeypatch.setattr(connections, "CANCEL_SECONDS", 0.05)
    Opening.made, Opening.let = [], asyncio.Event()
    return Opening


async def cancelled_link() -> tuple[Link, asyncio.Task[None]]:
    link = Link("amqp://localhost/", name="test", heartbeat=10, wait=5)
    asking = asyncio.create_task(link.connection())
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(link.close())
    await asyncio.sleep(0.01)
    asking.add_done_callback(lambda task: task.cancelled() or task.exception())
    return link, closing


async def test_a_connection_that_opens_while_the_link_is_closed_is_closed_too(opening: type[Opening]) -> None:
    link, closing = await cancelled_link()
    opening.let.set()
    await closing
    (made,) = opening.made
    assert (made.opened, made.cancelled, made.closed) == (True, False, True)
    with pytest.raises(BrokerUnavailable, match="closed"):
        await link.connection()


async def test_one_that_does_not_open_is_cut_short(opening: type[Opening]) -> None:
    _, closing = await cancelled_link()
    async with asyncio.timeout(PATIENCE):
        await closing
    (made,) = opening.made
    assert (made.opened, made.cancelled, made.closed) == (False, True, True)


async def test_a_lost_connection_is_counted_once_it_is_there_again(opening: type[Opening]) -> None:
    counted: list[None] = []
    opening.let.set()
    link = Link("amqp://localhost/", name="test", heartbeat=10, wait=5, on_reconnect=lambda: counted.append(None))
    for expected in (0, 1, 2):
        await link.connection()
        assert len(counted) == expected
        opening.made[-1].transport.connection.is_opened = False
    await link.close()


@pytest.mark.parametrize(
    ("url", "user"),
    [
        ("amqp://ada:secret@broker/", "ada"),
        ("amqp://ada%40home:secret@broker/", "ada@home"),
        ("amqp://broker/", "guest"),
        ("amqps://broker/?auth=external", None),
        ("amqps://ada@broker/?auth=EXTERNAL", "ada"),
    ],
)
def test_whom_a_url_signs_in_as(url: str, user: str | None) -> None:
    assert user_of(url) == user
