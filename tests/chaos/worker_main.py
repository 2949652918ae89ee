"""A session worker as `agentbus worker session` runs it, or another kind that is named, with instruments inside.

`python -m tests.chaos.worker_main [KIND]`; settings come from `AGENTBUS_...`, instruments from `CHAOS_...`:
CHAOS_APPEND_DELAY makes each append slower by so many seconds, CHAOS_MAX_INPUTS limits what one turn takes,
CHAOS_MUTANT names what is turned off.
"""

import os
import sys

from agentbus.cli import main
from agentbus.composition import app
from agentbus.settings import Settings
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from tests.chaos.inside.instruments import (
    instrument_bus,
    instrument_store,
    limit_turns,
    of_this_process,
    trace_rounds,
)
from tests.chaos.inside.mutants import Mutant, mutate
from tests.chaos.inside.poison import poison_decide, poison_reading
from tests.harness.failpoints import patch


def run() -> None:
    """Instrument the composition root, then run the worker from the command line's own code."""
    trace, points = of_this_process()
    delay = float(os.environ.get("CHAOS_APPEND_DELAY", "0"))
    mutant = os.environ.get("CHAOS_MUTANT")
    make_store, make_bus = app.make_store, app.make_bus

    def instrumented_store(settings: Settings) -> Store:
        return instrument_store(make_store(settings), points, trace, append_delay=delay)

    def instrumented_bus(settings: Settings) -> Bus:
        return instrument_bus(make_bus(settings), points)

    patch(app, make_store=instrumented_store, make_bus=instrumented_bus)
    trace_rounds(trace)
    poison_decide(trace)
    poison_reading(trace)
    if max_inputs := os.environ.get("CHAOS_MAX_INPUTS"):
        limit_turns(int(max_inputs))
    if mutant:
        mutate(Mutant(mutant))
    sys.argv = ["agentbus", "worker", *(sys.argv[1:] or ["session"])]
    main()


if __name__ == "__main__":
    run()
