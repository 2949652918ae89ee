"""What a socket receives, in pieces of any size: hot frames to who takes them, the rest to aiormq as it came."""

import asyncio
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from aiormq import spec
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from agentbus.workers.bus.rabbit import wire as wires
from agentbus.workers.bus.rabbit.intake import Intake
from agentbus.workers.bus.rabbit.wire import Wire

HOT, COLD = 7, 3
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
OPEN_OK = marshal(spec.Channel.OpenOk(), COLD)


class Socket(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


class Ends:
    """A wire with an intake on channel HOT, and what came out at both ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, hot: bool = True) -> None:
        self.deliveries: list[tuple[int, bool, str | None, bytes]] = []
        self.reader = asyncio.StreamReader(loop=loop)
        self.wire = Wire(self.reader, loop)
        self.socket = Socket()
        self.wire.connection_made(self.socket)
        self.intake = Intake(lambda tag, again, read, body: self.deliveries.append((tag, again, read.message_id, body)))
        if hot:
            self.wire.attach(HOT, self.intake)

    def receive(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.wire.data_received(piece)

    @property
    def cold(self) -> bytes:
        return bytes(self.reader._buffer)  # type: ignore[attr-defined]  # what was passed on and not read yet


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def deliver(tag: int, *pieces: bytes, number: int = HOT, again: bool = False, message_id: str = "m") -> list[bytes]:
    method = spec.Basic.Deliver("ctag", tag, again, "exchange", "key")
    header = ContentHeader(
        body_size=sum(map(len, pieces)), properties=spec.Basic.Properties(message_id=message_id, delivery_mode=2)
    )
    return [marshal(method, number), marshal(header, number), *(marshal(ContentBody(one), number) for one in pieces)]


STREAM = b"".join(
    [
        OPEN_OK,
        *deliver(1, b"one"),
        HEARTBEAT,
        *deliver(2, b"", message_id="")[:2],
        *deliver(3, b"in ", b"three ", b"pieces", again=True),
        *deliver(9, b"another channel's", number=COLD),
        HEARTBEAT,
    ]
)
DELIVERED = [(1, False, "m", b"one"), (2, False, None, b""), (3, True, "m", b"in three pieces")]
PASSED_ON = b"".join([OPEN_OK, HEARTBEAT, *deliver(9, b"another channel's", number=COLD), HEARTBEAT])


def test_cut_at_each_byte_it_is_the_same(loop: asyncio.AbstractEventLoop) -> None:
    for cut in range(len(STREAM) + 1):
        ends = Ends(loop)
        ends.receive((STREAM[:cut], STREAM[cut:]))
        assert (ends.deliveries, ends.cold) == (DELIVERED, PASSED_ON), cut
    ends = Ends(loop)
    ends.receive(STREAM[at : at + 1] for at in range(len(STREAM)))
    assert (ends.deliveries, ends.cold) == (DELIVERED, PASSED_ON)


def test_contents_of_two_channels_may_be_between_each_other(loop: asyncio.AbstractEventLoop) -> None:
    ends = Ends(loop)
    ours, theirs = deliver(1, b"a", b"b"), deliver(2, b"c", b"d", number=COLD)
    ends.receive([b"".join(frame for pair in zip(ours, theirs, strict=True) for frame in pair)])
    assert (ends.deliveries, ends.cold) == ([(1, False, "m", b"ab")], b"".join(theirs))


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(min_value=1, max_value=60), max_size=40))
def test_whatever_a_body_holds_and_wherever_it_is_cut(bodies: list[bytes], sizes: list[int]) -> None:
    loop = asyncio.new_event_loop()
    ends = Ends(loop)
    stream = b"".join(
        b"".join([*deliver(tag, *([body] if body else [])), HEARTBEAT]) for tag, body in enumerate(bodies, start=1)
    )
    for size in sizes:
        ends.receive([stream[:size]] if stream else [])
        stream = stream[size:]
    ends.receive([stream])
    assert [(tag, body) for tag, _, _, body in ends.deliveries] == list(enumerate(bodies, start=1))
    assert ends.cold == HEARTBEAT * len(bodies)
    loop.close()


@given(st.binary(max_size=200), st.booleans())
def test_noise_ends_the_connection_or_is_left_to_aiormq(noise: bytes, hot: bool) -> None:
    loop = asyncio.new_event_loop()
    ends = Ends(loop, hot=hot)
    ends.receive(noise[at : at + 3] for at in range(0, len(noise), 3))
    assert not ends.deliveries
    if not hot:
        assert noise.startswith(ends.cold)
        assert not ends.socket.aborted
    loop.close()


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("no end", OPEN_OK[:-1] + b"\x00"),
        ("no kind", b"\x09" + OPEN_OK[1:]),
        ("too large", struct.pack(">BHI", 3, HOT, 2**30) + b"x" * 100),
        ("a method in a content", b"".join(deliver(1, b"a")[:1] + deliver(2, b"b"))),
        ("a body longer than said", b"".join(deliver(1, b"a")[:2]) + marshal(ContentBody(b"aa"), HOT)),
        ("a body before its header", deliver(1, b"a")[0] + marshal(ContentBody(b"a"), HOT)),
        ("a header cut short", deliver(1)[0] + struct.pack(">BHI", 2, HOT, 3) + b"abc\xce"),
        ("a method cut short", struct.pack(">BHI", 1, HOT, 4) + struct.pack(">I", spec.Basic.Deliver.index) + b"\xce"),
    ],
)
def test_what_no_broker_sends_ends_a_connection_that_is_in_use(
    loop: asyncio.AbstractEventLoop, what: str, frames: bytes
) -> None:
    ends = Ends(loop)
    ends.receive([b"".join(deliver(5, b"before")), frames])
    assert ends.socket.aborted, what
    assert ends.deliveries == [(5, False, "m", b"before")]
    ends.receive([b"".join(deliver(6, b"after"))])
    assert ends.deliveries == [(5, False, "m", b"before")], "nothing is known of what comes after it"


@pytest.mark.parametrize(("agreed", "taken"), [(0, True), (4096, False), (2**22, True)])
def test_a_frame_is_as_large_as_was_agreed(loop: asyncio.AbstractEventLoop, agreed: int, taken: bool) -> None:
    ends = Ends(loop)
    ends.wire.agree(agreed)
    large = b"x" * 2**21
    ends.receive(deliver(1, large))
    assert ends.deliveries == ([(1, False, "m", large)] if taken else [])
    assert ends.socket.aborted is not taken


def test_what_answers_and_is_no_broker_is_shown_to_aiormq_as_it_is(loop: asyncio.AbstractEventLoop) -> None:
    for answer in (b"AMQP\x00\x00\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        ends = Ends(loop, hot=False)
        ends.receive([answer[:3], answer[3:]])
        assert ends.cold == answer
        assert not ends.socket.aborted


@pytest.mark.parametrize("method", [spec.Channel.Close(404, "NOT_FOUND", 0, 0), spec.Channel.CloseOk()])
def test_a_channel_that_closes_is_let_go_of_and_its_number_is_free(
    loop: asyncio.AbstractEventLoop, method: spec.Channel.Close | spec.Channel.CloseOk
) -> None:
    ends = Ends(loop)
    closing = marshal(method, HOT)
    ends.receive([b"".join(deliver(1, b"last")) + closing])
    assert (ends.deliveries, ends.cold) == ([(1, False, "m", b"last")], closing)
    assert not ends.wire.takes(HOT, ends.intake)
    other = Intake(lambda *_: None)
    ends.wire.attach(HOT, other)
    ends.wire.detach(HOT, ends.intake)
    assert ends.wire.takes(HOT, other), "whoever comes late to let go takes nothing from who has the number now"


def test_aiormq_hears_that_the_broker_is_alive_though_all_is_taken_here(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "_ALIVE_SECONDS", -1.0)
    ends = Ends(loop)
    ends.receive([b"".join(deliver(1, b"a")), b"".join(deliver(2, b"b"))])
    assert ends.cold == HEARTBEAT * 2


def test_what_is_due_is_written_once(loop: asyncio.AbstractEventLoop) -> None:
    ends = Ends(loop)

    async def use() -> None:
        ends.wire.send_soon(lambda: b"a")
        ends.wire.send_soon(lambda: b"")
        ends.wire.send_soon(lambda: b"b")
        await asyncio.sleep(0)
        ends.wire.send_soon(lambda: b"c")
        await asyncio.sleep(0)
        ends.socket.abort()
        ends.wire.send_soon(lambda: b"d")
        await asyncio.sleep(0)

    loop.run_until_complete(use())
    assert ends.socket.written == [b"ab", b"c"], "nothing is written to a connection that is gone"
