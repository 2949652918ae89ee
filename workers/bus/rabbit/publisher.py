"""Confirmed publishing."""

from collections.abc import Collection, Sequence

from agentbus.contracts.errors import BrokerBlocked, BrokerUnavailable, BusError, PublishUnconfirmed
from agentbus.workers.bus.port import UNCERTAIN, Message
from agentbus.workers.bus.rabbit.connections import Link, is_blocked
from agentbus.workers.bus.rabbit.failures import Nacked, publish_failure
from agentbus.workers.bus.rabbit.known_routes import Batch, Posted
from agentbus.workers.bus.rabbit.outbox import NOT_SENT, OnChannel, Outbox


class Publisher:
    """Publishes persistent messages and waits for their confirms, in the order of the calls.

    `timeout` is how long one message may take, in seconds, with the reconnecting that it may need; `window` how
    many may be unconfirmed at a time.
    """

    def __init__(
        self,
        link: Link,
        *,
        timeout: float,
        window: int,
        together: Collection[str] = (),
        user: str | None = None,
        on_channel: OnChannel | None = None,
    ) -> None:
        self._link = link
        self._timeout = timeout
        self._window = window
        self._outbox = Outbox(
            link, window=window, patience=timeout, together=together, user=user, on_channel=on_channel
        )

    async def publish(self, exchange: str, routing_key: str, message: Message, *, mandatory: bool) -> None:
        """Publish one message, as `Bus.publish` promises."""
        (error,) = await self._settle(self._post(exchange, [(routing_key, message)], mandatory))
        if error is not None:
            raise error

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool
    ) -> list[BusError | None]:
        """Publish many messages, as `Bus.publish_many` promises: half a window is posted while the other is awaited.

        Once something was not confirmed the rest is not tried: it would overtake what has to be published again.
        """
        outcomes: list[BusError | None] = []
        step = max(1, self._window // 2)
        ahead = Batch(())
        for start in range(0, len(messages), step):
            half = self._post(exchange, messages[start : start + step], mandatory)
            try:
                settled = await self._settle(ahead)
            except BaseException:
                half.give_up()
                raise
            outcomes += settled
            ahead = half
            if any(isinstance(outcome, UNCERTAIN) for outcome in settled):
                _hold_back(ahead)
                break
        outcomes += await self._settle(ahead)
        return outcomes + [BrokerUnavailable(NOT_SENT)] * (len(messages) - len(outcomes))

    async def close(self) -> None:
        """Stop; what is not confirmed fails. Idempotent."""
        await self._outbox.close()

    def _post(self, exchange: str, messages: Sequence[tuple[str, Message]], mandatory: bool) -> Batch:
        batch = Batch(
            [
                Posted(exchange=exchange, routing_key=key, message=message, mandatory=mandatory)
                for key, message in messages
            ]
        )
        for posted in batch.posted:
            self._outbox.post(posted)
        return batch

    async def _settle(self, batch: Batch) -> list[BusError | None]:
        try:
            late = not await batch.settled(self._timeout)
            blocked = late and self._link.is_open and await is_blocked(await self._link.connection())
            if not blocked:
                await self._distrust_channels(batch)
            return [self._outcome(posted, blocked=blocked) for posted in batch.posted]
        finally:
            batch.give_up()

    async def _distrust_channels(self, batch: Batch) -> None:
        """Replace the channels that left something unconfirmed or refused it.

        A channel of RabbitMQ 3.10 that first published to a queue while its leader was failing over refuses
        everything for that queue from then on, long after another leader was elected.
        """
        for channel in {posted.channel for posted in batch.posted if _is_suspicious(posted)}:
            if channel is not None:
                await self._outbox.distrust(channel)

    def _outcome(self, posted: Posted, *, blocked: bool) -> BusError | None:
        """Return why it failed. An error in the call itself (a routing key too long) is raised."""
        if not posted.done:
            if blocked:
                return BrokerBlocked(
                    f"the broker takes no publishes (memory or disk alarm), {self._timeout:g} s waited: retry with the "
                    "same id once there is room; consuming goes on"
                )
            if not self._link.is_open:
                return BrokerUnavailable()
            return PublishUnconfirmed(f"no confirm within {self._timeout:g} s: retry with the same id")
        if posted.error is None:
            return None
        if isinstance(posted.error, ValueError | TypeError):
            raise posted.error
        return publish_failure(posted.error, posted.exchange, posted.routing_key)


def _is_suspicious(posted: Posted) -> bool:
    return not posted.done or isinstance(posted.error, Nacked)


def _hold_back(batch: Batch) -> None:
    """Fail what was not sent yet."""
    for posted in batch.posted:
        if posted.channel is None:
            posted.settle(BrokerUnavailable(NOT_SENT))
