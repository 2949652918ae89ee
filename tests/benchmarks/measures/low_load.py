"""Latency and cost at steady rates: publish to committed, publish to event, processor time.

Open loop: each message has a moment at which it is to be published, and all times count from there, so that a stall of
whatever kind is charged to every message that had to wait for it. *Committed* is when the worker had the store's
acknowledgement of the write that holds the message, noted inside the worker's driver (`contenders.traced`, for all
contenders alike); *received* is when a subscriber got its event. *Cold* is the first message of a conversation, *warm*
every other: each tenth message is a new person's first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.stage import Services, Stage
from tests.harness.figures import percentile
from tests.harness.usage import cpu_seconds, family

USERS: Final = 100
_LEAST_EACH: Final = 4
"""Messages of each person at the least, so that most of a short run are warm."""

Row = tuple[str, str, float, float]
"""A message's input id and conversation, when it was to be published, when its event arrived."""


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

    repeat: int
    """Of which round; those of a round are compared."""
    contender: str
    rate: int
    """Messages a second."""
    cold: Times
    warm: Times
    cpu_ms: dict[str, float]
    """Processor time a message, in ms: of the worker, the router if there is one, the broker and the database."""


@dataclass(frozen=True, slots=True)
class Paced:
    """What was published at one rate, and what it cost."""

    rows: Sequence[Row]
    cpu_ms: dict[str, float]


def pace(services: Services, run: Stage, seconds: Mapping[int, float]) -> dict[int, Paced]:
    """Publish at one rate (messages a second) after the other, each for so many seconds; the workers are warm."""
    found: dict[int, Paced] = {}
    run.note_commits()
    for rate, lasts in seconds.items():
        users = min(USERS, round(rate * lasts) // _LEAST_EACH)
        before = _used(services, run)
        rows = run.load.call("paced", rate=rate, seconds=lasts, name=f"at-{rate}", users=users, shape="newcomers")
        costs = {name: 1000 * (after - before[name]) / len(rows) for name, after in _used(services, run).items()}
        found[rate] = Paced(rows, costs)
    return found


def low_load(run: Stage, paced: Mapping[int, Paced], traces: Sequence[Path], *, repeat: int = 0) -> list[LowLoad]:
    """Say what it came to, once the workers have ended and written their traces."""
    committed: dict[str, float] = {}
    for trace in traces:
        committed |= json.loads(trace.read_text())
    return [_of_rate(run, rate, one, committed, repeat) for rate, one in paced.items()]


def _of_rate(run: Stage, rate: int, paced: Paced, committed: Mapping[str, float], repeat: int) -> LowLoad:
    met: set[str] = set()
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for input_id, conversation, due, received in paced.rows:
        times[conversation not in met].append((committed[input_id] - due, received - due))
        met.add(conversation)
    return LowLoad(
        repeat=repeat,
        contender=run.contender.name,
        rate=rate,
        cold=_times(times[True]),
        warm=_times(times[False]),
        cpu_ms=paced.cpu_ms,
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
