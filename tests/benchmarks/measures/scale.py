"""What more workers bring when each has a small share of a core, so that broker and store are not the limit.

The workers are started, have shared the partitions among them and have met every conversation before they are limited.
Then a backlog is published, larger than they can work off in time, and what is announced between two moments is
counted. A round of 200 conversations takes a worker with its share some seconds: the time has to be several of them. A
partition that ran out of messages in between would have its worker rest: how many did is told.
"""

from collections import Counter
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any, Final

from pymongo import MongoClient

from tests.benchmarks.contenders import AGENTBUS1
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.stage import Services, Stage, stage
from tests.harness.shares import limited_to

SHARE: Final = 0.05
"""Of a core, for each worker. Eight of them take 0.4, and broker, store and load about as much: two cores carry that.
With a tenth each they would not, and who is limited by what could not be told."""

_USERS: Final = 2_000
_JOINED_SECONDS: Final = 60.0
_SETTLED: Final = 1.0
_MOST_RATE: Final = 300.0
"""Messages a second that a worker with its share may come to: the backlog has to last."""
_PUBLISHED_RATE: Final = 4_000.0
"""Messages a second that are published meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One run with so many workers."""

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
    seconds: float


def measure_scale(services: Services, workers: int, *, seconds: float) -> Scale:
    """Measure so many workers for `seconds`."""
    contender = replace(AGENTBUS1, name=f"scale{workers}", processes=workers)
    with limited_to(SHARE) as limit, stage(services, contender) as run:
        run.start_workers()
        owners = _owners_once_shared(run, workers)
        run.load.call("publish", shape="interleaved", name="user", users=_USERS, each=1)
        run.load.call("until_all")
        sleep(_SETTLED)
        for worker in run.workers:
            limit(worker.process.pid)
        most = workers * _MOST_RATE
        backlog = most * seconds / max(0.2, 1 - most / _PUBLISHED_RATE)
        each = max(2, round(backlog / _USERS))
        run.load.call("publish", shape="bursts", name="user", users=_USERS, each=each, first=2)
        before, used, begun = run.load.call("announced"), run.cpu_seconds(), monotonic()
        sleep(seconds)
        after, used, took = run.load.call("announced"), run.cpu_seconds() - used, monotonic() - begun
        for worker in run.workers:
            worker.kill()  # at their share of a core they would take their time to stop
    done = {int(partition): count - before["done"].get(partition, 0) for partition, count in after["done"].items()}
    by_worker = Counter(dict.fromkeys(owners.values(), 0))
    for partition, count in done.items():
        by_worker[owners[partition]] += count
    total = sum(done.values())
    took = after["at"] - before["at"]
    return Scale(
        workers=workers,
        share=SHARE,
        rate=total / took,
        by_worker=tuple(sorted(count / took for count in by_worker.values())),
        partitions=tuple(sorted(Counter(owners.values()).values())),
        least_partition=min(done.values(), default=0),
        most_partition=max(done.values(), default=0),
        run_out=sum(after["done"].get(partition, 0) >= sent for partition, sent in after["sent"].items()),
        cpu_ms=1000 * used / max(1, total),
        seconds=took,
    )


def _owners_once_shared(run: Stage, workers: int) -> dict[int, str]:
    """Wait until all workers are there and have an even share of the partitions; return who owns which."""
    deadline = monotonic() + _JOINED_SECONDS
    most = -(-TOPOLOGY.partitions // workers) + 1
    owners: dict[int, str] = {}
    with MongoClient[dict[str, Any]](run.store_url) as client:
        members = client.get_default_database()["members"]
        while monotonic() < deadline:
            found = [(one["_id"]["w"], one.get("owns", ())) for one in members.find()]
            owners = {int(partition): worker for worker, owns in found for partition in owns}
            shares = Counter(owners.values())
            whole = sum(len(owns) for _, owns in found) == len(owners) == TOPOLOGY.partitions
            if whole and len(shares) == workers and max(shares.values()) <= most:
                return owners
            sleep(0.2)
    raise TimeoutError(
        f"{workers} workers have not shared the partitions in {_JOINED_SECONDS:g} s: {Counter(owners.values())}"
    )
