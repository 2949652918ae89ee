"""Reading stops while too many bytes are in hand, a little goes on, and all of it once half of them are settled."""

import asyncio

import pytest

from agentbus.workers.bus.rabbit import in_hand
from agentbus.workers.bus.rabbit.in_hand import InHand

MOST = 1_000
EACH = 0.02


class Socket(asyncio.Transport):
    """Says whether it is read from, and how often that began anew."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = True
        self.resumed = 0
        self.closing = False

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self.resumed += not self._reads
        self._reads = True

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_hand, "MOST_BYTES", MOST)
    monkeypatch.setattr(in_hand, "A_LITTLE_EACH", EACH)


def full(socket: Socket) -> InHand:
    hand = InHand(asyncio.get_running_loop())
    hand.reads_from(socket)
    hand.take(MOST)
    hand.look()
    assert socket.is_reading(), "so much fits"
    hand.take(1)
    hand.look()
    assert not socket.is_reading()
    return hand


async def test_it_goes_on_once_half_is_settled() -> None:
    socket = Socket()
    hand = full(socket)
    hand.settle(MOST // 2)
    assert not socket.is_reading()
    hand.settle(1)
    assert socket.is_reading()
    await asyncio.sleep(2 * EACH)
    assert (socket.resumed, hand.bytes) == (1, MOST // 2)


async def test_a_little_is_read_each_time_that_nothing_can_be_settled_for_long() -> None:
    socket = Socket()
    hand = full(socket)
    for times in (1, 2, 3):
        async with asyncio.timeout(5):
            while not socket.is_reading():
                await asyncio.sleep(EACH / 4)
        assert socket.resumed == times
        hand.take(5)
        hand.look()
        hand.look()  # what was on its way while it stopped
        assert not socket.is_reading()
    hand.settle(MOST + 16)
    assert (socket.is_reading(), hand.bytes) == (True, 0)


async def test_a_connection_that_is_gone_is_left_alone() -> None:
    socket, closing = Socket(), Socket()
    hand, other = full(socket), full(closing)
    hand.end()
    closing.closing = True
    await asyncio.sleep(2 * EACH)
    for one in (hand, other):
        one.settle(MOST + 1)
        one.take(2 * MOST)
        one.look()
    hand.end()
    assert socket.resumed == closing.resumed == 0
