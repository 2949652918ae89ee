"""How long a message takes at a steady 200 messages a second.

Open loop: each message has a moment at which it is to be published, and all times count from there, so that a stall
of whatever kind is charged to every message that had to wait for it. *Committed* is when the worker had the store's
acknowledgement of the write that holds the message (journaled on a majority), noted inside the worker's driver
(`contenders.traced`, for all contenders alike); *received* is when a subscriber got its event.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import Contender
from tests.benchmarks.stage import Services, stage
from tests.harness.figures import percentile

RATE: Final = 200.0
USERS: Final = 100
PERCENTS: Final = (50, 99, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One run at the steady rate. Times in ms, by percentile."""

    contender: str
    rate: float
    messages: int
    committed_ms: dict[str, float]
    received_ms: dict[str, float]


def measure_latency(services: Services, contender: Contender, seconds: float) -> Latency:
    """Warm the worker up, then publish at the steady rate."""
    with stage(services, contender) as run:
        traces = [Path(run.folder, f"trace-{number}.json") for number in range(contender.processes)]
        run.start_workers(traces=traces)
        run.warm_up()
        rows = run.load.call("paced", rate=RATE, seconds=seconds, name="steady", users=USERS)
        run.stop_workers()
        committed: dict[str, float] = {}
        for trace in traces:
            committed |= json.loads(trace.read_text())
    return Latency(
        contender=contender.name,
        rate=RATE,
        messages=len(rows),
        committed_ms=_percentiles([committed[input_id] - due for input_id, _, due, _ in rows]),
        received_ms=_percentiles([received - due for _, _, due, received in rows]),
    )


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{percent:g}": 1000 * percentile(seconds, percent) for percent in PERCENTS}
