"""The workers: who is at work, of every kind, and whose each partition is."""

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member, WorkerKind
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.workers import live_workers, ranges

SAME: Final = Same("GET /v1/workers", "agentbus workers list")


async def show(visit: Visit) -> Response:
    """Show them."""
    app = visit.app
    found = await live_workers(app.store, app.settings)
    sessions = found.get(WorkerKind.SESSION, [])
    owners, standbys = _by_partition(sessions, "owns"), _by_partition(sessions, "stands_by")
    partitions = [
        (number, ", ".join(owners.get(number, ())), ", ".join(standbys.get(number, ())))
        for number in app.bus.topology.all_partitions()
    ]
    return visit.page(
        "workers.html",
        title="Workers and partitions",
        same=SAME,
        workers=found,
        names={one.worker_id: f"w{number}" for number, one in enumerate(sessions, 1)},
        partitions=partitions,
        unowned=sum(not owner for _, owner, _ in partitions),
        alone=app.alone,
        ranges=ranges,
    )


def _by_partition(workers: Sequence[Member], what: str) -> Mapping[Partition, list[str]]:
    found: dict[Partition, list[str]] = {}
    for number, worker in enumerate(workers, 1):
        for partition in getattr(worker, what):
            found.setdefault(partition, []).append(f"w{number}")
    return found


PAGES: Final = (Page("GET", "/workers", show, place=Place("/workers", "Workers", "Run")),)
