"""The stage of one run: a new virtual host, a new database, the load process, and a contender's workers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from tests.benchmarks.contenders import Contender
from tests.benchmarks.load.client import Load, LoadFailed
from tests.harness.processes import ROOT, Program, started
from tests.harness.usage import cpu_seconds, peak_bytes
from tests.services import MongoDB, RabbitMQ

_WARM = "warm"
_SHOWN = 3_000


@dataclass(frozen=True)
class Services:
    """What all runs share."""

    rabbitmq: RabbitMQ
    mongodb: MongoDB
    load: Load


@dataclass
class Stage:
    """One run of one contender."""

    contender: Contender
    load: Load
    store_url: str
    folder: Path
    env: dict[str, str]
    cleanup: ExitStack
    workers: list[Program] = field(default_factory=list)
    beside: list[Program] = field(default_factory=list)

    def start_workers(self, *, traces: Sequence[Path] = ()) -> float:
        """Start the contender's processes, traced if files are given; return the moment (monotonic clock)."""
        begun = monotonic()
        for number in range(self.contender.processes):
            traced = ("tests.benchmarks.contenders.traced", str(traces[number])) if traces else ()
            command = ("-m", *traced, *self.contender.command)
            self.workers.append(self._started(*command))
        for command in self.contender.beside:
            self.beside.append(self._started("-m", *command))
        return begun

    def _started(self, *arguments: str) -> Program:
        return self.cleanup.enter_context(started(*arguments, folder=self.folder, env=self.env))

    def stop_workers(self) -> None:
        """Have them finish."""
        for worker in (*self.beside, *self.workers):
            worker.stop()

    def warm_up(self, users: int = 50, each: int = 10) -> None:
        """Put messages of other people through, so that everything is connected, imported and compiled."""
        self.load.call("publish", shape="interleaved", name=_WARM, users=users, each=each)
        self.load.call("until_all")

    def cpu_seconds(self) -> float:
        """Processor time that the workers have used."""
        return cpu_seconds(worker.process.pid for worker in self.workers)

    def peak_mb(self) -> float:
        """Peak resident memory of the workers together, in MB."""
        return sum(peak_bytes(worker.process.pid) for worker in self.workers) / 1e6


@contextmanager
def stage(services: Services, contender: Contender) -> Iterator[Stage]:
    """Prepare a run; its workers are not started yet."""
    with ExitStack() as outer:
        amqp_url = outer.enter_context(services.rabbitmq.fresh_vhost())
        store_url = outer.enter_context(services.mongodb.fresh_database())
        folder = Path(outer.enter_context(TemporaryDirectory(prefix="agentbus-bench-")))
        env = {"AGENTBUS_AMQP_URL": amqp_url, "AGENTBUS_STORE_URL": store_url, "PYTHONPATH": str(ROOT)}
        services.load.call("open", amqp_url=amqp_url, way=contender.way)
        outer.callback(services.load.call, "close")
        cleanup = outer.enter_context(ExitStack())
        run = Stage(contender, services.load, store_url, folder, env, cleanup)
        try:
            yield run
        except LoadFailed as error:
            for worker in run.workers:
                error.add_note(f"{contender.name} (exit code {worker.process.poll()}):\n{worker.output()[-_SHOWN:]}")
            raise
