"""The outbound worker: sends replies to their channels, and reports what became of them."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import ReplyChangeRequested, ReplyReopened, ReplyRequested
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.replies import InDoubt
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import traces
from agentbus.workers.delivery.writings import Writings
from agentbus.workers.outbound.amending import ReplyChanger
from agentbus.workers.outbound.channels import Ways
from agentbus.workers.outbound.conversations import Conversations
from agentbus.workers.outbound.finding import OpenReplies
from agentbus.workers.outbound.leases import PartitionLeases
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.pace import Pace
from agentbus.workers.outbound.sending import ReplySender
from agentbus.workers.outbound.showing import Showing
from agentbus.workers.reactive.coalescer import Coalescer
from agentbus.workers.reactive.handler import Handler
from agentbus.workers.reactive.time_loop import Share, TimeLoop
from agentbus.workers.reactive.worker import Events, ReactiveWorker

SUBSCRIPTION: Final = "outbound"
"""The durable subscription that all outbound workers share."""
TOPICS: Final = (f"session.{ReplyRequested.topic}.*",)
_TOGETHER: Final = 200

Listen = Callable[[str, tuple[str, ...], Handler], Events]
"""Returns the events of some topics, through a durable subscription of a name, as they are given to a handler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundConfig:
    """How an outbound worker works. Times are in seconds."""

    interval: float = 0.25
    """Between two looks at what is due."""
    lease: float = 15.0
    """After which the partitions of an instance that died go to another one."""
    beat: float = 1.0
    """Between heartbeats."""
    ttl: float = 4.0
    """Silence after which an instance is taken for dead."""
    in_doubt: InDoubt = InDoubt.HOLD
    give_up: float = 86_400.0
    """After which a reply that could not be sent is not wanted any more."""


class OutboxHandler(Handler):
    """Has the replies sent that events tell of. Which instance an event comes to does not matter."""

    def __init__(self, outbox: Outbox, conversations: Conversations) -> None:
        self._outbox = outbox
        self._conversations = conversations
        self._looking = Coalescer[ConversationId](outbox.look_at, most=_TOGETHER)

    async def handle(self, event: EventEnvelope) -> None:
        if isinstance(event.data, ReplyRequested | ReplyReopened | ReplyChangeRequested):
            reply = event.data.reply_id if isinstance(event.data, ReplyRequested) else event.data.reply
            self._outbox.caused(reply, traces().current())
            await self._looking.do(event.partitionkey)
            self._conversations.poke(event.partitionkey)

    async def close(self) -> None:
        """Stop. Idempotent."""
        await self._looking.close()


class OutboundWorker(ReactiveWorker):
    """One of any number of instances: each sends for its share of the partitions, and all share the events."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        listen: Listen,
        commands: Inputs,
        ways: Ways,
        *,
        clock: Clock,
        metrics: WorkerMetrics,
        config: OutboundConfig | None = None,
        time: Callable[[], float] = monotonic,
    ) -> None:
        config = config or OutboundConfig()
        topology = bus.topology
        group = WorkerKind.OUTBOUND.group(topology.prefix)
        share = Share(store, group, topology.partitions, clock=clock, interval=config.beat, ttl=config.ttl)
        outbox = Outbox(store, topology, clock)
        pace = Pace(store, clock)
        self._showing = Showing(store, outbox, ways, pace, clock=clock, group_of=topology.partition_of, time=time)
        sender = ReplySender(
            store,
            outbox,
            ways,
            pace,
            self._showing,
            clock=clock,
            in_doubt=config.in_doubt,
            give_up=config.give_up,
        )
        self._bus = bus
        self._writings: Writings | None = None
        self._ways = ways
        self._pace = pace
        self._outbox = outbox
        self._metrics = metrics
        self._leases = PartitionLeases(store, topology.prefix, ttl=config.lease, time=time)
        self._conversations = Conversations(
            store,
            share,
            topology,
            commands,
            outbox=outbox,
            sender=sender,
            changer=ReplyChanger(store, outbox, ways, pace, clock=clock, give_up=config.give_up),
            showing=self._showing,
            leases=self._leases,
            clock=clock,
            metrics=metrics,
        )
        self._handler = OutboxHandler(outbox, self._conversations)
        finding = OpenReplies(store, share, outbox, clock)
        super().__init__(
            WorkerKind.OUTBOUND,
            share,
            events=(listen(SUBSCRIPTION, TOPICS, self._handler),),
            loops=(
                TimeLoop("send replies", self._conversations.turn, interval=config.interval),
                TimeLoop("renew leases", self._renew, interval=1.0),
                TimeLoop("find open replies", finding.turn, interval=1.0),
                TimeLoop("forget what platforms said", self._forget, interval=60.0),
                TimeLoop("count replies in doubt", self._count, interval=10.0),
            ),
            metrics=metrics,
        )

    async def _prepare(self) -> None:
        self._conversations.open()
        await self._ways.open()
        if platforms := self._ways.showing:
            self._writings = Writings(self._bus, platforms, self._showing.hear)
            await self._writings.start()

    async def _finish(self) -> None:
        await self._conversations.close()

    async def _let_go(self) -> None:
        listening = (self._writings.close,) if self._writings else ()
        await in_turn(*listening, self._showing.close, self._handler.close, self._leases.close, self._ways.close)

    async def _renew(self) -> bool:
        await self._leases.keep(self._conversations.partitions)
        return False

    async def _count(self) -> bool:
        self._metrics.replies_in_doubt.set(await self._outbox.in_doubt() if self._share.leads else 0)
        return False

    async def _forget(self) -> bool:
        if self._share.leads:
            await self._pace.forget()
        return False
