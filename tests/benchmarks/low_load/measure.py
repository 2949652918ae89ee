"""Latency and cost at steady rates, contenders taking turns: publish to committed, publish to event, processor time.

Open loop, as `measures.latency`: all times count from the moment at which a message was to be published. *Cold* is the
first message of a conversation, *warm* every other: each tenth message is a new person's first.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import AGENTBUS1, INGRESS, PLAIN, Contender
from tests.benchmarks.measures.results import turn
from tests.benchmarks.stage import Services, Stage, stage
from tests.harness.figures import percentile
from tests.harness.usage import cpu_seconds, family

TAKING_TURNS: Final = (AGENTBUS1, PLAIN, INGRESS)
USERS: Final = 100
_WARM_USERS: Final = 300
"""Enough for every partition to have had a message: what taking one costs is paid once a subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The amounts of a run."""

    repeats: int
    seconds: dict[int, float]
    """For how many seconds each rate (in messages a second) is kept up."""
    contenders: tuple[Contender, ...] = TAKING_TURNS


FULL: Final = Sizes(repeats=7, seconds={50: 10, 200: 8, 1_000: 3})
QUICK: Final = Sizes(repeats=3, seconds={50: 4, 200: 4, 1_000: 2}, contenders=(AGENTBUS1, PLAIN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of some messages of a run."""

    messages: int
    committed_p50: float
    committed_p99: float
    received_p50: float
    received_p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LowLoad:
    """One run of one contender at one rate."""

    contender: str
    rate: int
    cold: Times
    warm: Times
    cpu_ms: dict[str, float]
    """Processor time a message, in ms: of the worker, the router if there is one, the broker and the database."""


def measure(services: Services, sizes: Sizes, say: Callable[[str], None] = lambda _: None) -> list[LowLoad]:
    """Measure all rates, contender after contender, `sizes.repeats` times, each time beginning with another one."""
    found: list[LowLoad] = []
    for number in range(sizes.repeats):
        for contender in turn(sizes.contenders, number):
            say(f"{number + 1}/{sizes.repeats}: {contender.name}")
            found += measure_one(services, contender, sizes.seconds)
    return found


def measure_one(services: Services, contender: Contender, seconds: dict[int, float]) -> list[LowLoad]:
    """Warm a worker up, and publish at one rate after the other."""
    with stage(services, contender) as run:
        traces = [Path(run.folder, f"trace-{number}.json") for number in range(contender.processes)]
        run.start_workers(traces=traces)
        run.warm_up(users=_WARM_USERS, each=2)
        paced: dict[int, list[tuple[str, str, float, float]]] = {}
        costs: dict[int, dict[str, float]] = {}
        for rate, lasts in seconds.items():
            before = _used(services, run)
            paced[rate] = run.load.call(
                "paced", rate=rate, seconds=lasts, name=f"at-{rate}", users=USERS, shape="newcomers"
            )
            costs[rate] = {
                name: 1000 * (after - before[name]) / len(paced[rate]) for name, after in _used(services, run).items()
            }
        run.stop_workers()
        committed: dict[str, float] = {}
        for trace in traces:
            committed |= json.loads(trace.read_text())
    return [_of_rate(contender, rate, rows, committed, costs[rate]) for rate, rows in paced.items()]


def _of_rate(
    contender: Contender,
    rate: int,
    rows: Sequence[tuple[str, str, float, float]],
    committed: dict[str, float],
    cpu_ms: dict[str, float],
) -> LowLoad:
    met: set[str] = set()
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for input_id, conversation, due, received in rows:
        times[conversation not in met].append((committed[input_id] - due, received - due))
        met.add(conversation)
    return LowLoad(
        contender=contender.name, rate=rate, cold=_times(times[True]), warm=_times(times[False]), cpu_ms=cpu_ms
    )


def _times(pairs: Sequence[tuple[float, float]]) -> Times:
    committed, received = zip(*pairs, strict=True)
    return Times(
        messages=len(pairs),
        committed_p50=1000 * percentile(committed, 50),
        committed_p99=1000 * percentile(committed, 99),
        received_p50=1000 * percentile(received, 50),
        received_p99=1000 * percentile(received, 99),
    )


def _used(services: Services, run: Stage) -> dict[str, float]:
    """Return the processor time used so far; that of a server which runs elsewhere is not known."""
    used = {"worker": run.cpu_seconds()}
    if run.beside:
        used["router"] = cpu_seconds(one.process.pid for one in run.beside)
    servers = {"broker": services.rabbitmq, "database": services.mongodb}
    pids = {name: getattr(server, "pid", None) for name, server in servers.items()}
    return used | {name: cpu_seconds(family(pid)) for name, pid in pids.items() if pid is not None}
