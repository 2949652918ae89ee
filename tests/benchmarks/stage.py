"""The stage of one run: a virtual host, a new database, the load process, and a contender's workers."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Final

from tests.benchmarks.contenders import Contender
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.load.client import Load, LoadFailed
from tests.harness.processes import ROOT, Program, started
from tests.harness.usage import cpu_seconds, peak_bytes
from tests.services import MongoDB, RabbitMQ

_WARM: Final = "warm"
_WARM_USERS: Final = 300
"""Enough for every partition to have had a message: what taking one costs is paid once a subscription."""
_WARM_EACH: Final = 2
_SHOWN: Final = 3_000


@dataclass(frozen=True)
class Services:
    """What all runs share."""

    rabbitmq: RabbitMQ
    mongodb: MongoDB
    load: Load
    amqp_url: str | None = None
    """A virtual host for the runs that leave nothing in its queues; none: each run has its own."""


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

    def start_warm(self, *, traces: Sequence[Path] = ()) -> float:
        """Start the workers and put messages of other people through, so that all is connected, imported and compiled.

        Return how many seconds after the start their first event was received; the messages waited for them.
        """
        users = max(10, round(_WARM_USERS * self.contender.share))
        self.load.call("publish", shape="interleaved", name=_WARM, users=users, each=_WARM_EACH)
        begun = self.start_workers(traces=traces)
        first = float(self.load.call("until_first"))
        self.until_all(_WARM)
        return first - begun

    def until_all(self, name: str, *, ahead: int = 0) -> dict[str, float]:
        """Wait until all that was published is announced; return what came of the messages of `name`.

        `but_ahead` in it is when all of them but `ahead` were announced.
        """
        found: dict[str, float] = self.load.call("until_all", name=name, ahead=ahead)
        return found

    def preload(self, *, shape: str, name: str, users: int, each: int) -> float:
        """Publish a backlog while the workers stand still; return the moment at which they go on (monotonic clock)."""
        with self.standing_still():
            self.load.call("publish", shape=shape, name=name, users=users, each=each)
        return monotonic()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Have the workers stand still within the block."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def note_commits(self) -> None:
        """Have traced workers note when their writes are acknowledged, from now on."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: int) -> None:
        for worker in self.workers:
            worker.process.send_signal(number)

    def cpu_seconds(self) -> float:
        """Processor time that the workers have used."""
        return cpu_seconds(worker.process.pid for worker in self.workers)

    def peak_mb(self) -> float:
        """Peak resident memory of the workers together, in MB."""
        return sum(peak_bytes(worker.process.pid) for worker in self.workers) / 1e6


@contextmanager
def stage(services: Services, contender: Contender, *, leaves_messages: bool = False) -> Iterator[Stage]:
    """Prepare a run; its workers are not started yet. One that leaves messages gets a virtual host of its own."""
    with ExitStack() as outer:
        amqp_url = services.amqp_url
        if amqp_url is None or leaves_messages:
            amqp_url = outer.enter_context(services.rabbitmq.fresh_vhost())
        store_url = outer.enter_context(services.mongodb.fresh_database())
        folder = Path(outer.enter_context(TemporaryDirectory(prefix="agentbus-bench-")))
        env = {"AGENTBUS_AMQP_URL": amqp_url, "AGENTBUS_STORE_URL": store_url, "PYTHONPATH": str(ROOT)}
        env["AGENTBUS_PARTITIONS"] = str(TOPOLOGY.partitions)
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
