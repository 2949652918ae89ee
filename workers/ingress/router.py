"""The ingress router: takes what publishers sent without a partition, finds the partition, passes it on in order.

Any number of routers may run; single active consumer keeps all but one on standby, so that order holds.
"""

import asyncio
from functools import partial

from agentbus.contracts.address import Scope
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import KilledWorker, UntrustedSender
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, raise_if_cancelled
from agentbus.workers.delivery.failures import failure_of
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.delivery.loop_watch import STALL_LIMIT, LoopWatch
from agentbus.workers.delivery.parking import Failed, park_all, park_failed
from agentbus.workers.delivery.presence import Presence
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trials import PoisonTrials, is_suspect, key_unread
from agentbus.workers.worker import HAND_BACK_SECONDS, Health, Worker

_log = Logger(__name__)


class IngressRouter(Worker):
    """Moves chat messages from the ingress to their partitions: published with confirm, then acknowledged.

    Nothing else: whoever may publish to the ingress may speak, and give no commands. Tries of what may have killed a
    router by being read are counted in the store `trials_in`; without one, in a process of which nothing is left, none.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        scope: Scope = Scope.PER_CHAT_USER,
        prefetch: int = 200,
        metrics: WorkerMetrics | None = None,
        presence: Presence | None = None,
        trials_in: Store | None = None,
    ) -> None:
        self._bus = bus
        self._trials_in = trials_in
        self._inputs = Inputs(bus, scope=scope)
        self._metrics = metrics or WorkerMetrics()
        self._presence = presence
        self._watch = LoopWatch(STALL_LIMIT, lambda _: None)
        self._ended = asyncio.Event()
        self._pump = Pump(self._route, partial(park_failed, bus), most=prefetch)
        queue = bus.topology.ingress
        self._consumer = SupervisedConsumer(
            queue, partial(bus.consume, queue, self._pump.push, prefetch=prefetch), on_lost=self._pump.forget
        )

    async def start(self) -> None:
        self._ended.clear()
        try:
            await self._watch.start()
            await self._pump.start()
            await self._consumer.start()
            if self._presence:
                await self._presence.start()
        except BaseException:
            await self.close()
            raise
        _log.info(Action.WORKER_STARTED, queue=self._bus.topology.ingress)

    async def wait(self) -> None:
        await self._ended.wait()

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:  # noqa: ARG002 - nothing is waited for
        """Stop: what was not passed on yet stays in the queue, or is passed on again with the same id."""
        await in_turn(self._consumer.close, self._pump.close)

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        presence = (self._presence.close,) if self._presence else ()
        try:
            await in_turn(*presence, partial(self.drain, within=within), self._watch.close)
        finally:
            self._ended.set()
        _log.info(Action.WORKER_CLOSED)

    def health(self) -> Health:
        lag = self._watch.lag
        live = self._pump.running and lag < STALL_LIMIT
        joined = self._presence is None or self._presence.joined
        member = self._presence.describe() if self._presence else None
        return Health(live=live, ready=live and joined and self._consumer.running, lag=lag, member=member)

    async def _route(self, batch: list[Delivery]) -> None:
        self._metrics.consumed.labels("rabbitmq", "process", "ingress").inc(len(batch))
        left: list[tuple[Delivery, Routed]] = []
        bad: list[Failed] = []
        trials = PoisonTrials(self._trials_in) if self._trials_in and any(map(is_suspect, batch)) else None
        if trials:
            await keep_trying("begin trials", trials.begin, [key_unread(one) for one in batch if is_suspect(one)])
        for delivery in batch:
            try:
                if trials and is_suspect(delivery):
                    left.append((delivery, await self._tried(delivery, trials)))
                else:
                    left.append((delivery, self._routed(delivery)))
            except Exception as error:  # one input must not end the router, whatever is wrong with it
                raise_if_cancelled()
                bad.append(Failed(delivery, failure_of(error)))
        await keep_trying("route", self._pass_on, left)
        await park_all(self._bus, bad)
        if trials:
            await self._over(trials, bad)

    @staticmethod
    async def _over(trials: PoisonTrials, bad: list[Failed]) -> None:
        """Forget what was counted: all was passed on, or is parked."""
        for one in bad:
            if isinstance(one.failure.error, KilledWorker):
                await keep_trying("end trial", trials.end_alone, key_unread(one.delivery))
        await keep_trying("end trials", trials.end)

    async def _tried(self, delivery: Delivery, trials: PoisonTrials) -> Routed:
        """Read one that may kill by being read, alone if it must be. Raises KilledWorker if it did so too often."""
        key = key_unread(delivery)
        if not trials.must_be_alone(key):
            return self._routed(delivery)
        await keep_trying("begin trial", trials.begin_alone, key)
        try:
            routed = self._routed(delivery)
        except Exception:
            await keep_trying("end trial", trials.end_alone, key)
            raise
        await keep_trying("end trial", trials.end_alone, key)
        return routed

    def _routed(self, delivery: Delivery) -> Routed:
        envelope = InputEnvelope.from_bytes(delivery.body)
        if not isinstance(envelope.data, InboundMessage):
            raise UntrustedSender(
                f"{envelope.data.kind} came by the ingress, which takes chat messages alone: send it to its partition, "
                "as a user that may write there"
            )
        return self._inputs.routed(envelope, reply_to=delivery.reply_to, correlation_id=delivery.correlation_id)

    async def _pass_on(self, left: list[tuple[Delivery, Routed]]) -> None:
        """Publish what is left of a batch and acknowledge what was confirmed; raise while anything is left."""
        if not left:
            return
        outcomes = await self._bus.publish_many(self._bus.topology.inbound, [routed.outgoing for _, routed in left])
        again: list[tuple[Delivery, Routed]] = []
        for (delivery, routed), error in zip(left, outcomes, strict=True):
            if error:
                again.append((delivery, routed))
            else:
                await delivery.ack()
        self._metrics.routed.inc(len(left) - len(again))
        left[:] = again
        if again:
            raise next(error for error in outcomes if error)
