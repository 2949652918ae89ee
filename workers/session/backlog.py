"""The backlog: by how many seconds a worker is behind in the partitions that it consumes."""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from agentbus.contracts.errors import BusError
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.reactive.time_loop import TimeLoop
from agentbus.workers.session.holdings import Holding

EVERY: Final = 10.0
"""Seconds between two looks at how much waits."""
MOST_MARKS: Final = 257
"""Moments that are remembered of a partition: at least three quarters of an hour of standing still."""


class Arrivals:
    """When what waits in a queue came, told by how much waited when it was looked at.

    Its messages are numbered as they come. Neither what a message says of its time counts, which anybody may make up,
    nor how fast they are worked off, which says nothing while there are few.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[int, float]] = []  # up to which number messages had come, and since when at the latest

    def look(self, taken: int, ready: int, now: float) -> None:
        """Note that `ready` messages wait behind the `taken` ones that came out of the queue so far."""
        come = taken + ready
        since = min((when for number, when in self._marks if number >= come), default=now)
        self._marks = [mark for mark in self._marks if taken < mark[0] < come]
        if ready:
            self._marks.append((come, since))
        if len(self._marks) > MOST_MARKS:
            self._marks = self._marks[::2]

    def waits(self, taken: int, now: float) -> float:
        """Return for how many seconds the first message that was not taken yet has been seen to wait; 0 for none."""
        return next((now - when for number, when in self._marks if number > taken), 0.0)


class Backlog:
    """Looks at the queues of the partitions that this worker gets deliveries of, one after the other."""

    def __init__(self, bus: Bus, holdings: Iterable[Holding], *, time: Callable[[], float] = monotonic) -> None:
        self._bus = bus
        self._holdings = holdings
        self._time = time
        self._arrivals: dict[Holding, Arrivals] = {}
        self._loop = TimeLoop("look at the backlog", self.look, interval=EVERY)

    @property
    def seconds(self) -> float:
        """For how long the message has waited that has waited longest, by what was seen of it."""
        now = self._time()
        waits = (seen.waits(one.taken, now) for one, seen in self._arrivals.items() if one.active)
        return max(waits, default=0.0)

    async def start(self) -> None:
        """Begin."""
        await self._loop.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._loop.close()

    async def look(self) -> bool:
        """Look at each queue once. One that can't be looked at just now keeps waiting as it did."""
        self._arrivals = {one: self._arrivals.get(one) or Arrivals() for one in self._holdings if one.active}
        for holding, seen in list(self._arrivals.items()):
            try:
                depth = await self._bus.depth(holding.queue)
            except BusError:
                raise_if_cancelled()
                continue
            seen.look(holding.taken, depth.ready, self._time())
        return False
