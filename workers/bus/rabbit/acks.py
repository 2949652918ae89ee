"""Acknowledgements of one channel, written together and as few frames as possible."""

import asyncio
from bisect import bisect_right

from aiormq.channel import Channel

from agentbus.workers.bus.rabbit.connections import is_usable
from agentbus.workers.bus.rabbit.frames import ack_frame, reject_frame, write


class Acks:
    """Collects what was settled during one turn of the loop, then writes it.

    One frame with `multiple` covers the run of tags from the oldest open one; what is settled beyond a gap is named
    singly. The tag of a `multiple` frame must itself be open, else the broker closes the channel.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._acked: list[int] = []
        self._rejected: dict[int, bool] = {}  # tag: whether it goes back to the queue
        self._beyond: set[int] = set()
        self._floor = 0
        self._writer: asyncio.Task[None] | None = None

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery soon."""
        self._acked.append(tag)
        self._wake()

    def requeue(self, tag: int) -> None:
        """Hand a delivery back soon."""
        self._rejected[tag] = True
        self._wake()

    def dead_letter(self, tag: int) -> None:
        """Have a delivery dead-lettered soon; a queue without a dead-letter exchange drops it."""
        self._rejected[tag] = False
        self._wake()

    async def flush(self) -> None:
        """Wait until everything is handed to the connection's writer."""
        if self._writer is not None:
            await asyncio.shield(self._writer)

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while (self._acked or self._rejected) and is_usable(self._channel):
                await write(self._channel, self._take())
        finally:
            self._writer = None

    def _take(self) -> bytes:
        acked, rejected = sorted(self._acked), sorted(self._rejected.items())
        self._acked.clear()
        self._rejected.clear()
        self._beyond.update(acked, (tag for tag, _ in rejected))
        while self._floor + 1 in self._beyond:
            self._floor += 1
            self._beyond.remove(self._floor)
        # In order of the queue, so that what was handed back together returns in its order.
        frames = [reject_frame(self._channel, tag, requeue=requeue) for tag, requeue in rejected]
        covered = bisect_right(acked, self._floor)
        if covered:
            frames.append(ack_frame(self._channel, acked[covered - 1], multiple=True))
        frames += [ack_frame(self._channel, tag, multiple=False) for tag in acked[covered:]]
        return b"".join(frames)
