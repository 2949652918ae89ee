"""The bot: it answers everything."""

from agentbus.client import AgentBus
from agentbus.received import ReceivedMessage
from tests.channels.reckoning import ANSWER, text_of

SUBSCRIPTION = "bot"
_AT_ONCE = 16


class Bot:
    """Answers each message that people write, and knows which ones it has answered."""

    def __init__(self, client: AgentBus) -> None:
        self._client = client
        self.answered: set[str] = set()
        client.on_message(durable=SUBSCRIPTION, concurrency=_AT_ONCE)(self._answer)

    async def start(self) -> None:
        """Begin."""
        await self._client.start()

    async def _answer(self, message: ReceivedMessage) -> None:
        text = text_of(message.message)
        await message.reply(f"{ANSWER}{text}")
        self.answered.add(text)
