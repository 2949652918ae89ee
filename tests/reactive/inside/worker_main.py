"""A worker as `agentbus worker ...` runs it, with failpoints: `python -m tests.reactive.inside.worker_main sync`.

Settings come from `AGENTBUS_...`; REACTIVE_FOLDER and REACTIVE_WORKER say where it is armed and under which name, and
with REACTIVE_DETOUR its subscription gets what somebody puts into its queue, in place of the events as announced.
REACTIVE_MOVES_AGAIN sets after how many seconds a move to the archive that nobody finished is gone on with.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from agentbus.cli import main
from agentbus.composition import app, running
from agentbus.contracts.topology import Queue, Topology
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.expiry.watch import due
from tests.chaos.inside.arming import arming_file
from tests.chaos.inside.instruments import patch
from tests.reactive.inside import READY
from tests.reactive.inside.failpoints import Points, instrument_archive, instrument_bus, instrument_store


def run() -> None:
    """Instrument what the composition root opens, then run the worker from the command line's own code."""
    points = Points(arming_file(Path(os.environ["REACTIVE_FOLDER"]), os.environ["REACTIVE_WORKER"]))
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
    _say_when_ready()
    sys.argv = ["agentbus", "worker", *sys.argv[1:]]
    main()


def _say_when_ready() -> None:
    """Print a line once the worker has started: what the command line calls last before it waits for its end."""
    calm_collector = running.__dict__["calm_collector"]

    def ready() -> None:
        calm_collector()
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()

    patch(running, calm_collector=ready)


def _unbind_subscriptions() -> None:
    subscription = Topology.subscription

    def unbound(self: Topology, name: str, patterns: tuple[str, ...], *, ordered: bool = False) -> Queue:
        return subscription(self, name, patterns, ordered=ordered).model_copy(update={"bindings": ()})

    patch(Topology, subscription=unbound)


if __name__ == "__main__":
    run()
