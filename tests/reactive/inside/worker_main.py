"""A worker as `agentbus worker ...` runs it, with failpoints: `python -m tests.reactive.inside.worker_main sync`.

Settings come from `AGENTBUS_...`; with REACTIVE_DETOUR its subscription gets what somebody puts into its queue, in
place of the events as announced.
REACTIVE_MOVES_AGAIN sets after how many seconds a move to the archive that nobody finished is gone on with.
"""

import os
import sys
from datetime import timedelta
from typing import Any

from agentbus.cli import main
from agentbus.composition import app
from agentbus.contracts.topology import Queue, Topology
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.expiry.watch import due
from tests.harness.failpoints import patch
from tests.reactive.inside.failpoints import Points, instrument_archive, instrument_bus, instrument_store


def run() -> None:
    """Instrument what the composition root opens, then run the worker from the command line's own code."""
    points = Points.of_this_process()
    open_store, open_bus = app.__dict__["open_store"], app.__dict__["open_bus"]

    def instrumented_store(*args: Any, **kwargs: Any) -> Store:
        return instrument_store(open_store(*args, **kwargs), points)

    def instrumented_bus(*args: Any, **kwargs: Any) -> Bus:
        return instrument_bus(open_bus(*args, **kwargs), points)

    patch(app, open_store=instrumented_store, open_bus=instrumented_bus)
    instrument_archive(points)
    if os.environ.get("REACTIVE_DETOUR"):
        _unbind_subscriptions()
    if seconds := os.environ.get("REACTIVE_MOVES_AGAIN"):
        patch(due, _ARCHIVING=timedelta(seconds=float(seconds)))
    sys.argv = ["agentbus", "worker", *sys.argv[1:]]
    main()


def _unbind_subscriptions() -> None:
    subscription = Topology.subscription

    def unbound(self: Topology, name: str, patterns: tuple[str, ...], *, ordered: bool = False) -> Queue:
        return subscription(self, name, patterns, ordered=ordered).model_copy(update={"bindings": ()})

    patch(Topology, subscription=unbound)


if __name__ == "__main__":
    run()
