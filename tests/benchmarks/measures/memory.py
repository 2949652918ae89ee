"""What a worker's memory comes to over a long backlog of people who all write once."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final, Self

from tests.benchmarks.contenders import Contender
from tests.benchmarks.stage import Services, stage
from tests.harness.usage import peak_bytes, resident_bytes

_PATIENCE: Final = 600.0
_EVERY: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One run. Resident memory in MB; live conversations are bounded by the worker's setting (10,000 by default)."""

    contender: str
    sessions: int
    """Sessions seen: as many messages waited when the worker started."""
    started_mb: float
    """When its first event had arrived."""
    fifth_mb: float
    """At a fifth of the time: about twice as many sessions seen as may be live."""
    half_mb: float
    end_mb: float
    peak_mb: float
    seconds: float


def measure_memory(services: Services, contender: Contender, sessions: int) -> Memory:
    """Publish a message each for so many sessions, then have one worker work them off."""
    with stage(services, contender) as run:
        run.load.call("publish", shape="interleaved", name="user", users=sessions, each=1)
        run.start_workers()
        run.load.call("until_first")
        pid = run.workers[0].process.pid
        with Sampled(lambda: resident_bytes(pid)) as samples:
            arrived = run.load.call("until_all", name="user", patience=_PATIENCE)
        peak = peak_bytes(pid)
        run.stop_workers()
    megabytes = [sample / 1e6 for sample in samples.taken]
    return Memory(
        contender=contender.name,
        sessions=sessions,
        started_mb=megabytes[0],
        fifth_mb=megabytes[len(megabytes) // 5],
        half_mb=megabytes[len(megabytes) // 2],
        end_mb=megabytes[-1],
        peak_mb=peak / 1e6,
        seconds=arrived["last"] - arrived["first"],
    )


class Sampled:
    """Takes a sample every half second while the block runs, the first and last ones included."""

    def __init__(self, take: Callable[[], int]) -> None:
        self.taken: list[int] = []
        self._take = take
        self._end = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.taken.append(self._take())

    def _run(self) -> None:
        while True:
            self.taken.append(self._take())
            if self._end.wait(_EVERY):
                return
