"""What more workers bring when each has a small share of a core, so that broker and store are not the limit.

Beside them works one more that shares nothing with them: an installation of its own, with a virtual host, a database
and a backlog of its own, and as small a share of a core. What so many are compared to is so many times what that one
does *at the same time*: two cores that are busy do less in a tenth of a core's time than two that are idle (measured:
one worker beside seven strangers does 0.73 of what it does alone), and that is not what more workers cost each other.

The workers are started, have shared the partitions among them and have met every conversation before they are limited.
Then a backlog is published, larger than they can work off in time, everybody speaking in turn, and of so many
conversations that no worker has two messages of one in hand: so a round is as large with few workers as with many, a
message each of 200 conversations. Nothing counts before each worker has announced two such rounds. After that come
windows of some seconds, and in each the rate is the slope of a straight line through the moments of its messages: a
round is announced at once, and two moments between which announced messages are counted would take in one round more or
less.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import linear_regression
from time import monotonic, sleep
from typing import Final

from agentbus.workers.session.config import SessionWorkerConfig
from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.load.client import Load
from tests.benchmarks.measures.sharing import until_shared
from tests.benchmarks.messages import conversations
from tests.benchmarks.stage import Services, Stage, stage
from tests.harness.shares import Limit, limited_to

SHARE: Final = 0.1
"""Of a core, for each worker: what nine of them take, with broker, store and load beside, two cores carry.
Whether it is what limited the workers is told (`Side.used`)."""

_MEANWHILE: Final = 0.04
"""Their share while the backlog is published: enough to tell that they live, too little to work much of it off."""
_USERS: Final = TOPOLOGY.partitions * SessionWorkerConfig().prefetch
_STEADY: Final = 400
"""Messages that each worker announces before anything counts: two rounds, and what was begun before it was limited."""
_STEADY_SECONDS: Final = 60.0
_LOOK: Final = 0.5
_BEGIN_SECONDS: Final = 3.0
"""What the first rounds may take once all is published."""
_AT_MOST: Final = 5.0
"""How many times as fast as when it met the conversations a worker may come to be: the backlog has to last."""

Announced = Sequence[tuple[int, float]]
"""The partition and the moment of each message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What the workers of one installation did in one window."""

    rate: float
    """Messages a second, of all its workers."""
    by_worker: tuple[float, ...]
    """Messages a second of each worker, by the partitions that it owns."""
    partitions: tuple[int, ...]
    """How many partitions each owns."""
    least_partition: int
    most_partition: int
    """Messages announced of the partition with the fewest and with the most."""
    run_out: int
    """Partitions with nothing left when the time was over."""
    cpu_ms: float
    """Processor time of its workers a message, in ms."""
    used: float
    """Share of their share that the workers used: less than 1 where they waited for broker or store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One window with so many workers, and one beside them."""

    workers: int
    share: float
    together: Side
    beside: Side
    """The one worker that shares nothing with them, in the same window."""
    seconds: float

    @property
    def of_linear(self) -> float:
        """The share that they do of so many times what the one beside them does."""
        return self.together.rate / (self.workers * self.beside.rate) if self.beside.rate else 0.0


def measure_scale(services: Services, workers: int, *, seconds: float, windows: int) -> list[Scale]:
    """Measure so many workers for `windows` times `seconds`, one after the other. Raises TimeoutError."""
    with limited_to(_MEANWHILE) as meanwhile, limited_to(SHARE) as limit, ExitStack() as stack:
        strangers = replace(services, load=stack.enter_context(Load()))
        sides = together, beside = (_Installation(stack, services, workers), _Installation(stack, strangers, 1))
        with ThreadPoolExecutor(len(sides)) as side_by_side:
            list(side_by_side.map(_Installation.start, sides))
            for side in sides:
                side.limit(meanwhile)
            list(side_by_side.map(lambda side: side.publish(seconds * windows), sides))
        for side in sides:
            side.limit(limit)
        for side in sides:
            side.until_steady()
        moments = [_moment(sides)]
        for _ in range(windows):
            sleep(seconds)
            moments.append(_moment(sides))
        for side in sides:
            side.end()
    return [
        Scale(
            workers=workers,
            share=SHARE,
            together=together.between(begun, ended, used[0], until[0]),
            beside=beside.between(begun, ended, used[1], until[1]),
            seconds=ended - begun,
        )
        for (begun, used), (ended, until) in pairwise(moments)
    ]


class _Installation:
    """Workers that share a virtual host and a database; the stage goes with the stack."""

    def __init__(self, stack: ExitStack, services: Services, workers: int) -> None:
        contender = replace(AGENTBUS1, name=f"scale{workers}", processes=workers)
        self._run: Stage = stack.enter_context(stage(services, contender, leaves_messages=True))
        self._workers = workers
        self._owners: Mapping[int, str] = {}
        self._met_seconds = 0.0  # of a processor, to meet a conversation
        self._each = 0
        self._announced: Announced = ()

    def start(self) -> None:
        """Start them, and have them share the partitions and meet every conversation."""
        self._run.start_warm()
        self._owners = until_shared(self._run)
        before = self._run.cpu_seconds()
        self._run.load.call("publish", shape="interleaved", name="user", users=_USERS, each=1)
        self._run.until_all("user")
        self._met_seconds = (self._run.cpu_seconds() - before) / _USERS

    def limit(self, limit: Limit) -> None:
        """Give each of them its share of a core."""
        for worker in self._run.workers:
            limit(worker.process.pid)

    def publish(self, seconds: float) -> None:
        """Publish what they can't work off in so many seconds."""
        rate = _AT_MOST * SHARE / self._met_seconds
        backlog = self._workers * rate * (seconds + _BEGIN_SECONDS)
        self._each = max(2, round(backlog / _USERS))
        self._run.load.call("publish", shape="interleaved", name="user", users=_USERS, each=self._each, first=2)

    def until_steady(self) -> None:
        """Wait until each worker has announced some rounds. Raises TimeoutError."""
        deadline = monotonic() + _STEADY_SECONDS
        met = Counter(self._owners[TOPOLOGY.partition_of(one)] for one in conversations("user", _USERS))
        done: Counter[str] = Counter()
        while monotonic() < deadline:
            announced: Announced = self._run.load.call("announced", name="user")
            done = Counter(self._owners[partition] for partition, _ in announced)
            done.subtract(met)
            if all(done[worker] >= _STEADY for worker in self._owners.values()):
                return
            sleep(_LOOK)
        raise TimeoutError(f"not every worker has announced {_STEADY} messages in {_STEADY_SECONDS:g} s: {done}")

    def cpu_seconds(self) -> float:
        """Processor time that its workers have used."""
        return self._run.cpu_seconds()

    def end(self) -> None:
        """Note what was announced and end the workers: at their share of a core they would take their time to stop."""
        self._announced = self._run.load.call("announced", name="user")
        for worker in self._run.workers:
            worker.kill()

    def between(self, begun: float, ended: float, before: float, after: float) -> Side:
        """Return what they did between two moments, with the processor time that they had used by then."""
        mine = [(partition, at) for partition, at in self._announced if begun <= at < ended]
        until_then = Counter(partition for partition, at in self._announced if at < ended)
        sent = Counter(TOPOLOGY.partition_of(one) for one in conversations("user", _USERS))
        by_partition = Counter(partition for partition, _ in mine)
        by_worker = Counter(self._owners[partition] for partition, _ in mine)
        owned = Counter(self._owners.values())
        return Side(
            rate=_slope([at for _, at in mine]),
            by_worker=tuple(sorted(by_worker[one] / (ended - begun) for one in owned)),
            partitions=tuple(sorted(owned.values())),
            least_partition=min(by_partition[partition] for partition in self._owners),
            most_partition=max(by_partition.values(), default=0),
            run_out=sum(until_then[partition] >= count * (1 + self._each) for partition, count in sent.items()),
            cpu_ms=1000 * (after - before) / max(1, len(mine)),
            used=(after - before) / (self._workers * SHARE * (ended - begun)),
        )


def _moment(sides: Sequence[_Installation]) -> tuple[float, tuple[float, ...]]:
    """Return the time by the monotonic clock, and the processor time that each side has used."""
    return monotonic(), tuple(side.cpu_seconds() for side in sides)


def _slope(moments: Sequence[float]) -> float:
    """Return messages a second; 0 if there are not two moments to tell by."""
    if len(set(moments)) < 2:
        return 0.0
    return linear_regression(moments, range(len(moments))).slope
