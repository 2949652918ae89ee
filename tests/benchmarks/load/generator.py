"""Publishing with confirms, in bulk or at a steady rate, while every event is taken off a queue and its moment kept.

Both go over plain sockets (see `wire`), in one thread: the load process shares the machine with what it measures.
"""

import asyncio
import select
from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Final, TextIO

from aiormq import spec

from agentbus.contracts.ids import ConversationId
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus
from agentbus.workers.bus.rabbit.connections import user_of
from agentbus.workers.bus.rabbit.frames import PublishFrames
from tests.benchmarks.layout import EVENTS, INBOUND, TOPOLOGY, WAYS, declare
from tests.benchmarks.load.arrivals import Arrivals, Key
from tests.benchmarks.messages import SHAPES, Talk, envelope_of
from tests.benchmarks.wire import DELIVER, Confirms, Wire

_PATIENCE: Final = 120.0
_LOOK: Final = 0.2
_PREFETCH: Final = 1000
_ACK_EACH: Final = 100
_WINDOW: Final = 1000
"""Unconfirmed messages at a time."""
_TOGETHER: Final = 50
"""Messages written at once."""
_MOST_BODY: Final = 131_064
_REMEMBERED: Final = 50_000

Outgoing = tuple[Key, str, bytes]
"""A message, its input id, and the frames that publish it."""


@lru_cache(_REMEMBERED)
def _letter(user: str, number: int) -> tuple[ConversationId, Message]:
    """Return a message's conversation and what is published: the same messages are said to every contender."""
    conversation, envelope = envelope_of(user, number)
    return conversation, Message(body=envelope.to_bytes(), message_id=envelope.id)


class Generator:
    """What the driver can ask of the load process: each public method is a call of the protocol (see `program`).

    `watch` and `drop` are the process's own.
    """

    def __init__(self) -> None:
        self._declared: set[tuple[str, str]] = set()
        self._way = WAYS["queue"]
        self._frames = PublishFrames(1, _MOST_BODY, None)
        self._out: Wire | None = None
        self._in: Wire | None = None
        self._forget()

    def _forget(self) -> None:
        self._arrivals = Arrivals()
        self._confirms = Confirms()
        self._published = self._delivered = self._acknowledged = 0

    def open(self, *, amqp_url: str, way: str) -> None:
        """Connect, declare everything, and begin to take events. Messages take the `way` of `layout.WAYS`."""
        self.close()
        self._forget()
        self._way = WAYS[way]
        self._frames = PublishFrames(1, _MOST_BODY, user_of(amqp_url))
        if (amqp_url, way) not in self._declared:
            asyncio.run(_declare(amqp_url, way))
            self._declared.add((amqp_url, way))
        self._out, self._in = Wire(amqp_url), Wire(amqp_url)
        self._out.call(spec.Confirm.Select())
        for queue in (EVENTS, INBOUND):
            self._in.call(spec.Queue.Purge(queue=queue))
        self._in.call(spec.Basic.Qos(prefetch_count=_PREFETCH))
        self._in.consume(EVENTS)

    def close(self) -> None:
        """Let go of the broker."""
        try:
            if self._in is not None and self._out is not None:
                self._acknowledge()
                self._in.close()
                self._out.close()
        finally:
            self.drop()

    def drop(self) -> None:
        """Let go of the broker at once."""
        for wire in (self._in, self._out):
            if wire is not None:
                wire.socket.close()
        self._in = self._out = None

    def watch(self, calls: TextIO) -> None:
        """Take events until there is something to read in `calls`."""
        while not self._turn(None, calls):
            pass

    def publish(self, *, shape: str, name: str, users: int, each: int, first: int = 1) -> float:
        """Publish `each` messages of each person, in order; return how many seconds the confirms took."""
        outgoing = self._prepared(name, SHAPES[shape](name, users, each, first))
        begun = monotonic()
        self._publish(outgoing)
        return monotonic() - begun

    def until_first(self) -> float:
        """Return the moment (monotonic clock) of the first event."""
        self._until(lambda: self._arrivals.first is not None)
        return self._arrivals.first or 0.0

    def until_all(self, *, name: str, ahead: int = 0, patience: float = _PATIENCE) -> dict[str, float]:
        """Wait until all that was published was announced; return what arrived of `name` (see `Arrivals.summary`)."""
        self._until_all(patience)
        return self._arrivals.summary(name, ahead)

    def announced(self, *, name: str) -> list[tuple[int, float]]:
        """Return the partition and the moment of each message of `name` announced so far, in their order."""
        self._arrivals.read_all()
        partition_of = lru_cache(None)(TOPOLOGY.partition_of)
        return [(partition_of(ConversationId(where)), at) for where, _, at in self._arrivals.of(name)]

    def block(self, *, name: str, first: int, count: int) -> float:
        """Publish `count` messages of one person, wait for their events; return the seconds that it took."""
        outgoing = self._prepared(name, SHAPES["bursts"](name, 1, count, first))
        begun = monotonic()
        self._publish(outgoing)
        self._until_all()
        return self._arrivals.last - begun

    def paced(
        self, *, rate: float, seconds: float, name: str, users: int, shape: str = "interleaved"
    ) -> list[tuple[str, str, float, float]]:
        """Publish at a steady rate, late or not (open loop).

        Returns for each message its input id and conversation, when it was to be published, and when its event
        arrived. A publish that is late counts as waiting: nothing slows the offered load down.
        """
        assert self._out is not None, "open it first"
        total = int(rate * seconds)
        talk = SHAPES[shape](name, users, -(-total // users), 1)
        outgoing = self._prepared(name, (one for one, _ in zip(talk, range(total), strict=False)))
        sent: list[tuple[str, Key, float]] = []
        begun = monotonic() + 0.05
        for index, (key, input_id, frames) in enumerate(outgoing):
            due = begun + index / rate
            self._turn(max(0.0, due - monotonic()))
            while (early := due - monotonic()) > 0:
                self._turn(early)
            self._out.socket.sendall(frames)
            self._published += 1
            sent.append((input_id, key, due))
        self._until_confirmed(0)
        self._until_all()
        return [(input_id, key[0], due, self._arrivals.at[key]) for input_id, key, due in sent]

    def _prepared(self, name: str, talk: Talk) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        for user, number in talk:
            conversation, message = _letter(user, number)
            key = (conversation, number)
            self._arrivals.expect(name, key)
            frames = self._frames.of(*self._way(conversation), message, mandatory=True)
            outgoing.append((key, message.message_id, b"".join(frames)))
        return outgoing

    def _publish(self, outgoing: list[Outgoing]) -> None:
        assert self._out is not None, "open it first"
        for start in range(0, len(outgoing), _TOGETHER):
            several = outgoing[start : start + _TOGETHER]
            self._until_confirmed(_WINDOW - len(several))
            self._out.socket.sendall(b"".join(frames for *_, frames in several))
            self._published += len(several)
        self._until_confirmed(0)

    def _until_confirmed(self, all_but: int) -> None:
        self._until(lambda: self._published - self._confirms.done <= all_but)

    def _until_all(self, patience: float = _PATIENCE) -> None:
        self._until(lambda: not self._arrivals.missing, patience)

    def _until(self, done: Callable[[], bool], patience: float = _PATIENCE) -> None:
        arrivals, deadline = self._arrivals, monotonic() + patience
        while not done():
            reading = arrivals.worth_reading
            if not self._turn(0 if reading else _LOOK) and reading:
                arrivals.read()
            if monotonic() > deadline:
                arrivals.read_all()
                missing = f"{self._published - self._confirms.done} unconfirmed, {arrivals.missing} not announced"
                raise TimeoutError(f"after {patience:g} s, of {self._published} messages: {missing}")

    def _turn(self, seconds: float | None, calls: TextIO | None = None) -> bool:
        """Take what the broker sent, for which it waits so long. Return whether there is anything, of `calls` if given.

        `select` because it waits to the microsecond; a poll waits whole milliseconds.
        """
        watched: list[Wire | TextIO] = [one for one in (self._in, self._out, calls) if one is not None]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self._in in ready and self._in is not None:
            self._in.receive(self._deliver, self._arrivals.note)
            if self._delivered - self._acknowledged >= _ACK_EACH:
                self._acknowledge()
        if self._out in ready and self._out is not None:
            self._out.receive(self._confirms.note)
        return calls in ready if calls else bool(ready)

    def _deliver(self, data: bytes, at: int) -> None:
        self._delivered += data[at : at + 4] == DELIVER

    def _acknowledge(self) -> None:
        if self._in is not None and self._delivered > self._acknowledged:
            self._acknowledged = self._delivered
            self._in.send(spec.Basic.Ack(self._delivered, multiple=True))


async def _declare(amqp_url: str, way: str) -> None:
    await declare(amqp_url)
    if way != "queue":
        bus = RabbitBus(amqp_url, TOPOLOGY, connection_name="bench.load")
        try:
            await bus.declare()
        finally:
            await bus.close()
