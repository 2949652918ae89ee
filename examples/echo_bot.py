"""A bot that says everything back: `python examples/echo_bot.py`. Ctrl-C or SIGTERM ends it.

Its subscription is durable, so it answers what was said while it was down; an event that comes twice is answered once.
"""

import asyncio
from contextlib import suppress

from agentbus import MessageAppended, ReceivedEvent, TextContent, connect


async def main() -> None:
    async with connect() as bus:  # AGENTBUS_AMQP_URL, or amqp://guest:guest@localhost/

        @bus.on("session.message.*", durable="echo-bot")
        async def echo(event: ReceivedEvent) -> None:
            said = event.data
            if isinstance(said, MessageAppended) and isinstance(said.message.content, TextContent):
                await event.reply(f"You said: {said.message.content.text}")

        await bus.start()
        print("listening", flush=True)
        await bus.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
