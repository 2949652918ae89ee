"""Print what happens to sessions: `python examples/subscriber.py`. Ctrl-C ends it."""

import asyncio
from contextlib import suppress

from agentbus import EventEnvelope, connect


async def main() -> None:
    async with connect() as bus:

        @bus.on("session.#")
        async def show(event: EventEnvelope) -> None:
            print(event.data.routing_key, event.id, event.data.kind, flush=True)

        await bus.start()
        print("listening", flush=True)
        await bus.run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
