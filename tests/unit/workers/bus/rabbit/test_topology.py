"""Declaring queues side by side: one that is refused cancels none of the others, and is what is raised in the end."""

import asyncio
from typing import Any, cast

import pytest

from agentbus.contracts.errors import BrokerRejected, TopologyMismatch
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.rabbit import topology as declaring
from agentbus.workers.bus.rabbit.connections import Link, close_channel
from agentbus.workers.bus.rabbit.topology import declare_topology
from tests.harness.patience import PATIENCE

TOPOLOGY = Topology(partitions=8)


class Shares:
    """Stands in for the declarations of some queues on a channel: each goes on when it is let."""

    def __init__(self, *, refused: dict[int, Exception]) -> None:
        self.refused = refused
        self.begun = 0
        self.ended: list[str] = []
        self.let = asyncio.Event()

    async def declare(self, *_: object) -> None:
        number, self.begun = self.begun, self.begun + 1
        try:
            if number in self.refused:
                raise self.refused[number]
            await self.let.wait()
            await asyncio.sleep(0)  # the broker's answer to the last of them
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("declared")


def declared_by(shares: Shares, monkeypatch: pytest.MonkeyPatch) -> "asyncio.Task[None]":
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(declaring, "declare_exchanges", nothing)
    monkeypatch.setattr(declaring, "declare_queues", shares.declare)
    return asyncio.create_task(declare_topology(cast("Link", None), TOPOLOGY))


async def test_a_refused_one_lets_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled just then, a channel was closed by us and by the broker at once, which ends the connection."""
    shares = Shares(refused={1: TopologyMismatch("another argument"), 2: BrokerRejected("no right")})
    task = declared_by(shares, monkeypatch)
    async with asyncio.timeout(PATIENCE):
        while len(shares.ended) < 2:
            await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done(), "it waits for the others"
    shares.let.set()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(TopologyMismatch, match="another argument"):
            await task
    assert sorted(shares.ended) == ["BrokerRejected", "TopologyMismatch", "declared", "declared"]


async def test_a_fault_of_ours_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(refused={0: ZeroDivisionError()})
    shares.let.set()
    with pytest.raises(ZeroDivisionError):
        await declared_by(shares, monkeypatch)


async def test_who_is_cancelled_cancels_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(refused={1: TopologyMismatch("another argument")})
    task = declared_by(shares, monkeypatch)
    async with asyncio.timeout(PATIENCE):
        while not shares.ended:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert shares.ended.count("CancelledError") == 3


class Closing:
    """Stands in for a channel that the broker has closed meanwhile: its number is somebody else's, or free."""

    number = 1
    is_closed = False

    def __init__(self, others: dict[int, object]) -> None:
        self.connection: Any = type("Connection", (), {"channels": others, "is_opened": True})()
        self.closes = 0

    async def close(self) -> None:
        self.closes += 1


@pytest.mark.parametrize("taken", [False, True], ids=["free", "another channel's"])
async def test_a_channel_that_the_broker_closed_first_is_not_closed_again(*, taken: bool) -> None:
    channel = Closing({1: object()} if taken else {})
    await close_channel(cast("Any", channel))
    assert channel.closes == 0
    channel.connection.channels[1] = channel
    await close_channel(cast("Any", channel))
    assert channel.closes == 1
