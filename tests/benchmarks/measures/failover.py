"""How long conversations stand still when one of two workers is killed under a steady load."""

from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from tests.benchmarks.contenders import Contender
from tests.benchmarks.evidence import histories
from tests.benchmarks.measures.low_load import USERS
from tests.benchmarks.measures.sharing import until_shared
from tests.benchmarks.messages import conversations
from tests.benchmarks.order import order_of
from tests.benchmarks.stage import Services, stage
from tests.harness.figures import percentile
from tests.harness.processes import Program
from tests.harness.usage import cpu_seconds

_RATE: Final = 200
_STANDSTILL: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """One kill -9. Waits, in seconds, are from when a message was to be published to its event."""

    contender: str
    messages: int
    affected: int
    """Conversations in which a message waited longer than 0.1 s after the kill."""
    wait_p50_s: float
    """The median, over these conversations, of the longest wait in each."""
    wait_max_s: float
    """The longest wait of all."""
    lost: int
    repeats: int
    inversions: int


def measure_failover(services: Services, contender: Contender, seconds: float) -> Failover:
    """Kill the busier worker in the middle of a steady load."""
    with stage(services, contender, leaves_messages=True) as run:
        run.start_warm()
        until_shared(run)
        used = [_used(worker) for worker in run.workers]
        run.load.begin("paced", rate=_RATE, seconds=seconds, name="steady", users=USERS)
        sleep(seconds / 2)
        busier = max(zip(run.workers, used, strict=True), key=lambda pair: _used(pair[0]) - pair[1])[0]
        killed = monotonic()
        busier.kill()
        rows = run.load.result()
        run.stop_workers()
        kept = histories(contender, run.store_url) or {}
        order = order_of({one: kept.get(one, ()) for one in conversations("steady", USERS)})
    longest: dict[str, float] = {}
    for _, conversation, due, received in rows:
        if received > killed:
            longest[conversation] = max(longest.get(conversation, 0.0), received - due)
    affected = [wait for wait in longest.values() if wait > _STANDSTILL]
    return Failover(
        contender=contender.name,
        messages=len(rows),
        affected=len(affected),
        wait_p50_s=percentile(affected or [0.0], 50),
        wait_max_s=max(longest.values(), default=0.0),
        lost=len(rows) - order.messages,
        repeats=order.repeats,
        inversions=order.inversions,
    )


def _used(worker: Program) -> float:
    return cpu_seconds([worker.process.pid])
