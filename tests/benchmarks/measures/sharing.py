"""Waiting until several workers have shared the partitions among them."""

from collections import Counter
from time import monotonic, sleep
from typing import Any, Final

from pymongo import MongoClient

from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.stage import Stage

_SECONDS: Final = 60.0
_LOOK: Final = 0.1


def until_shared(run: Stage) -> dict[int, str]:
    """Wait until all workers of AgentBus are there and have an even share of the partitions; return who owns which.

    Raises TimeoutError after a minute.
    """
    workers = run.contender.processes
    deadline = monotonic() + _SECONDS
    most = -(-TOPOLOGY.partitions // workers) + 1
    shares: Counter[str] = Counter()
    with MongoClient[dict[str, Any]](run.store_url) as client:
        members = client.get_default_database()["members"]
        while monotonic() < deadline:
            found = [(one["_id"]["w"], one.get("owns", ())) for one in members.find()]
            owners = {int(partition): worker for worker, owns in found for partition in owns}
            shares = Counter(owners.values())
            whole = sum(len(owns) for _, owns in found) == len(owners) == TOPOLOGY.partitions
            if whole and len(shares) == workers and max(shares.values()) <= most:
                return owners
            sleep(_LOOK)
    raise TimeoutError(f"{workers} workers have not shared the partitions in {_SECONDS:g} s: {shares}")
