"""Acknowledgements of one channel, written together and as few frames as possible."""

from bisect import bisect_right

from agentbus.workers.bus.rabbit.frames import ack_frame, reject_frame
from agentbus.workers.bus.rabbit.wire import Taker, Wire


class Acks:
    """Collects what was settled during one turn of the loop; it is written at its end, with that of other channels.

    One frame with `multiple` covers the run of tags from the oldest open one; what is settled beyond a gap is named
    singly. The tag of a `multiple` frame must itself be open, else the broker closes the channel. Nothing is written
    for a channel that is not `taker`'s any more: the broker closed it.
    """

    def __init__(self, number: int, wire: Wire, taker: Taker) -> None:
        self._number = number
        self._wire = wire
        self._taker = taker
        self._acked: list[int] = []
        self._rejected: dict[int, bool] = {}  # tag: whether it goes back to the queue
        self._beyond: set[int] = set()
        self._floor = 0

    def ack(self, tag: int) -> None:
        """Acknowledge a delivery soon."""
        self._wake()
        self._acked.append(tag)

    def requeue(self, tag: int) -> None:
        """Hand a delivery back soon."""
        self._wake()
        self._rejected[tag] = True

    def dead_letter(self, tag: int) -> None:
        """Have a delivery dead-lettered soon; a queue without a dead-letter exchange drops it."""
        self._wake()
        self._rejected[tag] = False

    def flush(self) -> None:
        """Write at once what was settled."""
        if frames := self._take():
            self._wire.send(frames)

    def _wake(self) -> None:
        if not self._acked and not self._rejected:
            self._wire.send_soon(self._take)

    def _take(self) -> bytes:
        if not (self._acked or self._rejected) or not self._wire.takes(self._number, self._taker):
            return b""
        acked, rejected = sorted(self._acked), sorted(self._rejected.items())
        self._acked.clear()
        self._rejected.clear()
        self._beyond.update(acked)
        self._beyond.update(tag for tag, _ in rejected)
        while self._floor + 1 in self._beyond:
            self._floor += 1
            self._beyond.remove(self._floor)
        # In order of the queue, so that what was handed back together returns in its order.
        frames = [reject_frame(self._number, tag, requeue=requeue) for tag, requeue in rejected]
        covered = bisect_right(acked, self._floor)
        if covered:
            frames.append(ack_frame(self._number, acked[covered - 1], multiple=True))
        frames += [ack_frame(self._number, tag, multiple=False) for tag in acked[covered:]]
        return b"".join(frames)
