"""Publish a chat message: `python examples/publisher.py "Hello!"`."""

import asyncio
import sys
from datetime import UTC, datetime
from uuid import uuid4

from agentbus import Address, InboundMessage, Platform, TextContent, connect


async def main(text: str) -> None:
    async with connect() as bus:  # AGENTBUS_AMQP_URL, or amqp://guest:guest@localhost/
        receipt = await bus.publish(
            InboundMessage(
                address=Address(platform=Platform.WEB, chat="lobby", user="ada"),
                message_id=uuid4().hex,  # the platform's own id: publishing it again changes nothing
                sent_at=datetime.now(UTC),
                content=TextContent(text=text),
            )
        )
    print(f"confirmed: {receipt.input_id} in conversation {receipt.conversation_id}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "Hello!"))
