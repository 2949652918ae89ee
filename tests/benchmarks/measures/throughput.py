"""How fast a preloaded backlog is worked off."""

from dataclasses import dataclass
from time import sleep
from typing import Final

from tests.benchmarks.contenders import Contender
from tests.benchmarks.evidence import histories
from tests.benchmarks.order import Order, order_of
from tests.benchmarks.sizes import Sizes
from tests.benchmarks.stage import Services, Stage, stage

_LEAST_SECONDS: Final = 0.1
_SETTLED: Final = 0.4
"""Seconds without use of the processor after which a worker has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One run over one backlog."""

    contender: str
    shape: str
    messages: int
    rate: float
    """Messages per second, from when the first event was made until the last message's event arrived."""
    cpu_ms: float
    """Processor time of the workers per message, in ms."""
    rss_mb: float
    startup_s: float
    """From the start of the process to the first event received."""
    lost: int
    repeats: int
    """Messages that stand in the store more than once (the relay: that were announced more than once)."""
    inversions: int
    """Messages that stand behind a later one of their conversation, in the store (the relay: in the events)."""
    reordered: int
    """Conversations with at least one inversion."""


def measure_throughput(
    services: Services, contender: Contender, shape: str, sizes: Sizes, idle_seconds: float
) -> Throughput:
    """Publish a backlog, start the workers, and measure until all of it is announced.

    `idle_seconds` is the processor time that the workers need to start (see `measure_idle`): a worker takes messages
    in while it still starts, so that no moment would part the one from the other.
    """
    users = max(1, round(sizes.users * contender.share))
    with stage(services, contender) as run:
        load = run.load
        load.call("publish", shape=shape, name="user", users=users, each=sizes.each)
        begun = run.start_workers()
        first = load.call("until_first")
        arrived = load.call("until_all")
        cpu = run.cpu_seconds() - idle_seconds
        rss = run.peak_mb()
        run.stop_workers()
        order = _order(run, arrived)
        total = users * sizes.each
        return Throughput(
            contender=contender.name,
            shape=shape,
            messages=total,
            rate=total / (arrived["last"] - arrived["begun"]),
            cpu_ms=1000 * cpu / total,
            rss_mb=rss,
            startup_s=first - begun,
            lost=total - order.messages,
            repeats=order.repeats,
            inversions=order.inversions,
            reordered=order.reordered,
        )


def measure_idle(services: Services, contender: Contender) -> float:
    """Return the processor time, in seconds, that the workers use to start when there is nothing to do."""
    with stage(services, contender) as run:
        run.start_workers()
        used, before = run.cpu_seconds(), -1.0
        while used > before or used < _LEAST_SECONDS:
            before = used
            sleep(_SETTLED)
            used = run.cpu_seconds()
        return used


def _order(run: Stage, arrived: dict[str, int]) -> Order:
    kept = histories(run.contender, run.store_url)
    if kept is not None:
        return order_of(kept)
    return Order(*(arrived[name] for name in ("messages", "repeats", "inversions", "reordered")))
