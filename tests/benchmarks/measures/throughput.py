"""How fast a backlog is worked off.

The workers run and are warm. They stand still (SIGSTOP) while the backlog is published, of conversations that they
have not met, and all that they do from the moment at which they go on is counted, until the last message's event
arrives: reading what the broker had sent them ahead, too.

What it cost the broker to send as many ahead as a contender has room for is not in it, and at the end, when there is
nothing left to send, nothing has to be sent for what is worked off. So the rate counts until all but as many are
announced: by then the broker has sent one message for each, to everybody.
"""

from dataclasses import dataclass

from tests.benchmarks.evidence import histories
from tests.benchmarks.messages import conversations
from tests.benchmarks.order import Order, order_of
from tests.benchmarks.sizes import Sizes
from tests.benchmarks.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One run over one backlog."""

    repeat: int
    """Of which round; those of a round are compared."""
    contender: str
    shape: str
    messages: int
    rate: float
    """Messages per second, from when the workers went on until all but those sent ahead were announced."""
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


def measure_throughput(run: Stage, shape: str, sizes: Sizes, *, repeat: int = 0, startup: float = 0.0) -> Throughput:
    """Have the workers of a stage, which are warm, work off a backlog. Raises ValueError for one too short to tell."""
    users = max(1, round(sizes.users * run.contender.share))
    total = users * sizes.each
    ahead = run.contender.ahead
    if ahead >= total:
        raise ValueError(f"a backlog of {total} is sent ahead: {run.contender.name} has room for {ahead}")
    used = run.cpu_seconds()
    resumed = run.preload(shape=shape, name=shape, users=users, each=sizes.each)
    arrived = run.until_all(shape, ahead=ahead)
    used = run.cpu_seconds() - used
    order = _order(run, shape, users, arrived)
    return Throughput(
        repeat=repeat,
        contender=run.contender.name,
        shape=shape,
        messages=total,
        rate=(total - ahead) / (arrived["but_ahead"] - resumed),
        cpu_ms=1000 * used / total,
        rss_mb=run.peak_mb(),
        startup_s=startup,
        lost=total - order.messages,
        repeats=order.repeats,
        inversions=order.inversions,
        reordered=order.reordered,
    )


def _order(run: Stage, name: str, users: int, arrived: dict[str, float]) -> Order:
    kept = histories(run.contender, run.store_url)
    if kept is not None:
        return order_of({one: kept.get(one, ()) for one in conversations(name, users)})
    return Order(*(int(arrived[what]) for what in ("messages", "repeats", "inversions", "reordered")))
