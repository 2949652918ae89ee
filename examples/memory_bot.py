"""A bot that remembers what it was told, on every channel: `python examples/memory_bot.py`. Ctrl-C or SIGTERM ends it.

Its memory is the session's history, so it outlives the bot. A model's answer, part by part, takes the list's place.
"""

import asyncio
from contextlib import suppress

from agentbus import AgentBus, ReceivedMessage, Role, TextContent, connect


def talk(bus: AgentBus) -> None:
    @bus.on_message(durable="memory-bot")
    async def answer(message: ReceivedMessage) -> None:
        history = (await message.history(limit=50)).items
        told = [one.message.content for one in history if one.message.role is Role.USER]
        async with message.writing() as reply:
            await reply.write(f"You told me {len(told)} things:\n")
            for number, content in enumerate(told, start=1):
                if isinstance(content, TextContent):
                    await reply.write(f"{number}. {content.text}\n")


async def main() -> None:
    async with connect() as bus:  # AGENTBUS_AMQP_URL, or amqp://guest:guest@localhost/
        talk(bus)
        await bus.start()
        print("listening", flush=True)
        await bus.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
