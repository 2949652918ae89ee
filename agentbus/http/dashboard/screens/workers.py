"""The workers: who is at work, of every kind, whose each partition is, and having one go to another."""

from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import PartitionNotFound
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import WorkerKind, WorkerStatus
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.shown import path
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.workers import hand_back, live_workers, partitions, ranges, session_workers

SAME: Final = Same("GET /v1/workers", "agentbus workers list")


async def show(visit: Visit) -> Response:
    """Show them."""
    app = visit.app
    found = await live_workers(app.store, app.settings)
    known = await partitions(app, found[WorkerKind.SESSION])
    return visit.page(
        "workers.html",
        title="Workers and partitions",
        same=SAME,
        workers=found,
        names={one.worker_id: f"w{number}" for number, one in enumerate(found[WorkerKind.SESSION], 1)},
        partitions=known,
        unowned=sum(not one.owners for one in known),
        alone=app.alone,
        ranges=ranges,
    )


async def show_partition(visit: Visit) -> Response:
    """Show one partition: whose it is, and to whom it can go."""
    app, number = visit.app, _partition(visit)
    found = await session_workers(app)
    one = (await partitions(app, found))[number]
    running = [other.worker_id for other in found if other.status is WorkerStatus.RUNNING]
    takers = [other for other in running if [other] != list(one.owners)]
    return visit.page(
        "partition.html",
        title=f"Partition {number}",
        same=Same("GET /v1/partitions", f"agentbus workers hand-back {number}"),
        partition=one,
        queue=app.bus.topology.partition_queue(number),
        takers=sorted(takers, key=lambda other: other not in one.stands_by),
        alone=app.alone,
    )


async def hand(visit: Visit) -> Response:
    """Have it go to a worker."""
    number = _partition(visit)
    asked = await hand_back(visit.app, number, to=visit.form.get("to") or None)
    return visit.to(path("partitions", number), f"Partition {number} goes from {asked.owner} to {asked.to}.")


def _partition(visit: Visit) -> Partition:
    named, known = visit.named("partition"), visit.app.bus.topology.partitions
    if not (named.isascii() and named.isdecimal() and len(named) < 10 and int(named) < known):
        raise PartitionNotFound(f"there is no partition {named[:20]}: they are 0 to {known - 1}")
    return Partition(int(named))


PAGES: Final = (
    Page("GET", "/workers", show, place=Place("/workers", "Workers", "Run")),
    Page("GET", "/partitions/{partition}", show_partition),
    action("/partitions/{partition}/hand-back", hand),
)
