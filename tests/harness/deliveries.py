"""Deliveries made by hand: for what takes them, without a bus."""

from agentbus.workers.bus.port import Delivery, Headers


class Handed(Delivery):
    """A delivery that notes how often it was acknowledged and handed back."""

    def __init__(
        self,
        body: bytes = b"",
        *,
        message_id: str = "m1",
        queue: str = "agentbus.inbound.0",
        attempts: int = 1,
        headers: Headers | None = None,
        user: str | None = None,
    ) -> None:
        self.body = body
        self.message_id = message_id
        self.queue = queue
        self.attempts = attempts
        self.headers = headers or {}
        self.reply_to = None
        self.correlation_id = None
        self.user = user
        self.acked = 0
        self.requeued = 0

    @property
    def settled(self) -> bool:
        return bool(self.acked or self.requeued)

    async def ack(self) -> None:
        self.acked += 1

    async def requeue(self) -> None:
        self.requeued += 1
