"""The contenders: who they are, and how their workers are started."""

from dataclasses import dataclass
from typing import Final

from agentbus.workers.session.config import SessionWorkerConfig
from tests.benchmarks.layout import TOPOLOGY


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to do the work, as processes of its own."""

    name: str
    what: str
    module: str
    arguments: tuple[str, ...] = ()
    processes: int = 1
    way: str = "queue"
    """How its messages reach it (see `layout.WAYS`): AgentBus has partition queues, the others consume one queue."""
    beside: tuple[tuple[str, ...], ...] = ()
    """Modules, with their arguments, of the processes that it needs beside its workers."""
    store: str | None = None
    """Where its histories are found afterwards: AgentBus' log, documents, or nowhere."""
    share: float = 1.0
    """The share of a run's conversations that it gets: a slow one needs fewer to be measured as well."""
    ahead: int = 0
    """Messages that the broker sends ahead, to all its workers together: the prefetch of every queue."""

    @property
    def command(self) -> tuple[str, ...]:
        """The module to run and its arguments."""
        return (self.module, *self.arguments)


_AGENTBUS: Final = ("worker", "session")
_AHEAD: Final = TOPOLOGY.partitions * SessionWorkerConfig().prefetch
_PLAIN: Final = "tests.benchmarks.contenders.plain"

AGENTBUS1: Final = Contender(
    name="agentbus1",
    what="AgentBus, one session worker",
    module="agentbus",
    arguments=_AGENTBUS,
    way="partitions",
    store="log",
    ahead=_AHEAD,
)
AGENTBUS2: Final = Contender(
    name="agentbus2",
    what="AgentBus, two session workers",
    module="agentbus",
    arguments=_AGENTBUS,
    processes=2,
    way="partitions",
    store="log",
    ahead=_AHEAD,
)
INGRESS: Final = Contender(
    name="ingress",
    what="AgentBus, for a publisher that knows no partitions: an ingress router, one session worker",
    module="agentbus",
    arguments=_AGENTBUS,
    way="ingress",
    store="log",
    beside=(("agentbus", "worker", "ingress"),),
)
PLAIN: Final = Contender(
    name="plain",
    what="FastStream + motor, as teams write it: order is not kept",
    module=_PLAIN,
    arguments=("100",),
    store="documents",
    share=0.1,
    ahead=100,
)
ORDERED: Final = Contender(
    name="ordered",
    what="the same, made to keep order: prefetch 1",
    module=_PLAIN,
    arguments=("1",),
    store="documents",
    share=0.025,
    ahead=1,
)
RELAY: Final = Contender(
    name="relay",
    what="aio-pika alone: consume, confirmed publish, ack; no store",
    module="tests.benchmarks.contenders.relay",
    arguments=("100",),
    share=0.25,
    ahead=100,
)

CONTENDERS: Final = (AGENTBUS1, AGENTBUS2, PLAIN, ORDERED, RELAY)
