"""A reactive worker's events over RabbitMQ: a FastStream application on the subscription's durable queue.

FastStream consumes; nothing is published through it. The queue is declared by our own bus, acknowledging is ours
alone, and each event is handled in a task of its own, up to the prefetch at a time: reactive workers rely on no order.
"""

import asyncio
from functools import partial
from typing import Final

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage, RabbitQueue

from agentbus.contracts.errors import BrokerUnavailable, BusError
from agentbus.contracts.telemetry import Action
from agentbus.contracts.urls import masked
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.rabbit.connections import DRIVER_ERRORS
from agentbus.workers.bus.rabbit.consumers import attempts_of, plain_headers
from agentbus.workers.concurrency import afterwards, ended, passing_over, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.faults import told
from agentbus.workers.outages import Trouble
from agentbus.workers.reactive.handler import Handler, react

PREFETCH: Final = 100
"""Events that are handled at a time."""

_GRACE: Final = 10.0
"""Seconds for which stopping waits for events that are being handled; the others come again."""
_STOPPING: Final = _GRACE + 2.0
"""Seconds after which stopping is given up."""
_RECONNECT: Final = 1.0
"""Seconds between two attempts to reach a broker that was lost."""
_DECLARE_EVERY: Final = 10.0
"""Seconds after which the queue is declared again, should somebody have deleted it."""

_log = Logger(__name__)


class ReactiveApp:
    """Hands the events of `patterns` to `handler`, through the durable subscription `name`.

    Instances with the same name share the events. After a lost connection it consumes again by itself.
    """

    def __init__(
        self,
        url: str,
        bus: Bus,
        name: str,
        patterns: tuple[str, ...],
        handler: Handler,
        *,
        prefetch: int = PREFETCH,
        heartbeat: int = 10,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._url = url
        self._bus = bus
        self._name = name
        self._patterns = patterns
        self._handler = handler
        self._metrics = metrics
        self._prefetch = prefetch
        self._heartbeat = heartbeat
        self._queue = bus.topology.subscription_queue(name)
        self._app: FastStream | None = None
        self._handling: set[asyncio.Task[object]] = set()
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Declare the queue and consume it. Waits out a broker that is not there for the moment."""
        declare = partial(self._bus.declare_subscription, self._name, self._patterns)
        await keep_trying("declare a subscription", declare)
        self._app = await keep_trying("consume events", self._started)
        self._keeping = asyncio.create_task(self._keep_queue())

    async def close(self) -> None:
        """Take no more, finish what is being handled within some seconds; what is left comes again. Idempotent."""
        keeping, self._keeping = self._keeping, None
        app, self._app = self._app, None
        try:
            await ended({keeping} if keeping else ())
        finally:
            try:
                if app:
                    await afterwards("stop consuming events", app.stop(), within=_STOPPING)
            finally:
                await ended(self._handling)

    async def _started(self) -> FastStream:
        app = self._build()
        try:
            await app.start()
        except DRIVER_ERRORS as error:
            await afterwards("let go of a consumer", app.stop())
            raise BrokerUnavailable(f"no events from the broker at {masked(self._url)}: {error}") from error
        except asyncio.CancelledError:
            await afterwards("let go of a consumer", app.stop())
            raise
        return app

    def _build(self) -> FastStream:
        broker = RabbitBroker(
            f"{self._url}{'&' if '?' in self._url else '?'}heartbeat={self._heartbeat}",
            logger=None,
            apply_types=False,
            graceful_timeout=_GRACE,
            reconnect_interval=_RECONNECT,
            default_channel=Channel(prefetch_count=self._prefetch, publisher_confirms=False),
        )
        subscriber = broker.subscriber(
            RabbitQueue(self._queue, declare=False),
            ack_policy=AckPolicy.MANUAL,
            decoder=self._decode,
            no_reply=True,
        )
        subscriber(self._react)
        return FastStream(broker, logger=None)

    async def _decode(self, message: RabbitMessage) -> Delivery:
        """Return the message as a delivery: its bytes are read, and parked if they can't be, by `react`."""
        return _Taken(message, self._queue)

    async def _react(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        try:
            await react(self._bus, self._handler, delivery, self._metrics)
        except Exception as error:
            raise_if_cancelled()
            # Not acknowledged: it comes again with the next connection.
            _log.error(Action.HANDLER_FAILED, message_id=delivery.message_id, **told(error))

    async def _keep_queue(self) -> None:
        """Declare the queue again from time to time: consuming goes on by itself once it is there again."""
        trouble = Trouble("declare a subscription")
        try:
            while True:
                await asyncio.sleep(_DECLARE_EVERY)
                try:
                    await self._bus.declare_subscription(self._name, self._patterns)
                except BusError as error:
                    raise_if_cancelled()
                    trouble.failed(error)
                else:
                    trouble.over()
        finally:
            trouble.over()


class _Taken(Delivery):
    """A delivery that FastStream took."""

    __slots__ = ("_message", "attempts", "body", "correlation_id", "headers", "message_id", "queue", "reply_to", "user")

    def __init__(self, message: RabbitMessage, queue: str) -> None:
        raw = message.raw_message
        self._message = message
        self.body = message.body
        self.message_id = raw.message_id or ""
        self.queue = queue
        self.headers = plain_headers(raw.headers)
        self.attempts = attempts_of(self.headers, redelivered=bool(raw.redelivered))
        self.reply_to = None  # nobody answers an event
        self.user = raw.user_id
        self.correlation_id = raw.correlation_id

    @property
    def settled(self) -> bool:
        return self._message.committed is not None

    async def ack(self) -> None:
        with passing_over(*DRIVER_ERRORS):  # its channel is gone: it comes again
            await self._message.ack()

    async def requeue(self) -> None:
        with passing_over(*DRIVER_ERRORS):
            await self._message.nack()
