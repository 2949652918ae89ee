"""A bot that says everything back: `python examples/echo_bot.py`. Ctrl-C ends it.

Its subscription is durable, so it answers what was said while it was down; its replies carry an id made from the
event's, so that an event that comes twice is answered once.
"""

import asyncio
from contextlib import suppress

from agentbus.client import connect
from contracts.commands import AppendMessage
from contracts.envelope import EventEnvelope
from contracts.events import MessageAppended
from contracts.messages import OutboundMessage, TextContent


async def main() -> None:
    async with connect() as bus:

        @bus.on("session.message.*", durable="echo-bot")
        async def echo(event: EventEnvelope) -> None:
            said = event.data
            if not isinstance(said, MessageAppended) or not isinstance(said.message.content, TextContent):
                return
            answer = OutboundMessage(
                address=said.message.address,  # where it came from, wherever the session goes on meanwhile
                content=TextContent(text=f"You said: {said.message.content.text}"),
            )
            await bus.send(AppendMessage(message=answer), to=event.partitionkey, command_id=f"echo-{event.id}")

        await bus.start()
        print("listening", flush=True)
        await bus.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
