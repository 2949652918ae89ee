"""What more workers bring when each has a small share of a core, so that broker and store are not the limit.

The workers are started, have shared the partitions among them and have met every conversation before they are limited.
Then a backlog is published, larger than they can work off in time, everybody speaking in turn, so that a round is as
large with few workers as with many: a message each of 200 conversations. Nothing counts before each worker has
announced two such rounds. After that come windows of some seconds, and in each the rate is the slope of a straight line
through the moments of its messages: a round is announced at once, and two moments between which announced messages are
counted would take in one round more or less.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import linear_regression
from time import monotonic, sleep
from typing import Final

from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.measures.sharing import until_shared
from tests.benchmarks.messages import conversations
from tests.benchmarks.stage import Services, Stage, stage
from tests.harness.shares import limited_to

SHARE: Final = 0.1
"""Of a core, for each worker: what eight of them take, with broker, store and load beside, two cores carry.
Whether it is what limited the workers is told (`Scale.used`)."""

_USERS: Final = 2_000
_STEADY: Final = 400
"""Messages that each worker announces before anything counts: two rounds, and what was begun before it was limited."""
_STEADY_SECONDS: Final = 60.0
_LOOK: Final = 0.5
_MOST_RATE: Final = 700.0
"""Messages a second that a worker with its share may come to: the backlog has to last."""

Announced = Sequence[tuple[int, float]]
"""The partition and the moment of each message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One window with so many workers."""

    workers: int
    share: float
    rate: float
    """Messages a second, of all."""
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
    """Processor time of the workers a message, in ms."""
    used: float
    """Share of their share that the workers used: less than 1 where they waited for broker or store."""
    seconds: float


def measure_scale(services: Services, workers: int, *, seconds: float, windows: int) -> list[Scale]:
    """Measure so many workers for `windows` times `seconds`, one after the other."""
    contender = replace(AGENTBUS1, name=f"scale{workers}", processes=workers)
    with limited_to(SHARE) as limit, stage(services, contender, leaves_messages=True) as run:
        run.start_warm()
        owners = until_shared(run)
        run.load.call("publish", shape="interleaved", name="user", users=_USERS, each=1)
        run.until_all("user")
        for worker in run.workers:
            limit(worker.process.pid)
        backlog = workers * (_MOST_RATE * windows * seconds + 2 * _STEADY)
        each = max(2, round(backlog / _USERS))
        run.load.call("publish", shape="interleaved", name="user", users=_USERS, each=each, first=2)
        _until_steady(run, owners)
        moments = [(monotonic(), run.cpu_seconds())]
        for _ in range(windows):
            sleep(seconds)
            moments.append((monotonic(), run.cpu_seconds()))
        announced: Announced = run.load.call("announced", name="user")
        for worker in run.workers:
            worker.kill()  # at their share of a core they would take their time to stop
    sent = Counter(TOPOLOGY.partition_of(one) for one in conversations("user", _USERS))
    found = []
    for (begun, before), (ended, after) in pairwise(moments):
        mine = [(partition, at) for partition, at in announced if begun <= at < ended]
        until_then = Counter(partition for partition, at in announced if at < ended)
        by_partition = Counter(partition for partition, _ in mine)
        by_worker = Counter(owners[partition] for partition, _ in mine)
        found.append(
            Scale(
                workers=workers,
                share=SHARE,
                rate=_slope([at for _, at in mine]),
                by_worker=tuple(sorted(by_worker[one] / (ended - begun) for one in set(owners.values()))),
                partitions=tuple(sorted(Counter(owners.values()).values())),
                least_partition=min(by_partition[partition] for partition in owners),
                most_partition=max(by_partition.values(), default=0),
                run_out=sum(until_then[partition] >= count * (1 + each) for partition, count in sent.items()),
                cpu_ms=1000 * (after - before) / max(1, len(mine)),
                used=(after - before) / (workers * SHARE * (ended - begun)),
                seconds=ended - begun,
            )
        )
    return found


def _slope(moments: Sequence[float]) -> float:
    """Return messages a second; 0 if there are not two moments to tell by."""
    if len(set(moments)) < 2:
        return 0.0
    return linear_regression(moments, range(len(moments))).slope


def _until_steady(run: Stage, owners: Mapping[int, str]) -> None:
    """Wait until each worker has announced some rounds. Raises TimeoutError."""
    deadline = monotonic() + _STEADY_SECONDS
    met = Counter(owners[TOPOLOGY.partition_of(one)] for one in conversations("user", _USERS))
    done: Counter[str] = Counter()
    while monotonic() < deadline:
        announced: Announced = run.load.call("announced", name="user")
        done = Counter(owners[partition] for partition, _ in announced)
        done.subtract(met)
        if all(done[worker] >= _STEADY for worker in owners.values()):
            return
        sleep(_LOOK)
    raise TimeoutError(f"not every worker has announced {_STEADY} messages in {_STEADY_SECONDS:g} s: {done}")
