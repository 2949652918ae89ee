"""The event log: what a durable subscriber to everything receives, in the order of arrival."""

import time

from agentbus.client import AgentBus
from agentbus.contracts.envelope import EventEnvelope

SUBSCRIPTION = "chaos"


class Recorder:
    """Receives all events; notes when each came."""

    def __init__(self, client: AgentBus) -> None:
        self.client = client
        self.events: list[EventEnvelope] = []
        self.times: list[float] = []
        client.on("session.#", durable=SUBSCRIPTION, ordered=True)(self._record)

    async def start(self) -> None:
        """Subscribe: from now on nothing is missed."""
        await self.client.start()

    async def _record(self, event: EventEnvelope) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
