"""The windows of web chat: each reads what is new from one gateway or another, and goes on where it was."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import httpx

from agentbus.workers.concurrency import ended
from tests.channels.reckoning import ANSWER
from tests.platforms.model import SECRET, FakePlatform
from tests.platforms.webchat import FakeWindows, claims, token

_BACK_IN: Final = 0.5
"""Seconds after which a window comes back: browsers wait 2."""
_SILENT: Final = httpx.Timeout(10.0, read=60.0)
"""A gateway shows every 25 s that a stream lives."""


class Window:
    """One person's window. What it shows of the bot's is what the platform has taken."""

    def __init__(self, platform: FakeWindows, person: int, gateways: Sequence[str], chance: Random) -> None:
        self._platform = platform
        self._visitor = f"u{person}"
        self._gateways = gateways
        self._chance = chance
        self._place = ""
        self._shown: set[str] = set()

    async def read(self, client: httpx.AsyncClient) -> None:
        """Read until cancelled; whatever ends a stream, it comes back."""
        while True:
            try:
                async with aclosing(self._stream(client)) as news:
                    async for place, frame in news:
                        self._show(frame)
                        self._place = place or self._place
            except httpx.HTTPError:
                pass
            await asyncio.sleep(_BACK_IN)

    async def _stream(self, client: httpx.AsyncClient) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """Yield what comes by one connection, each with its place."""
        url = f"{self._chance.choice(self._gateways)}/channels/{self._platform.name}/bot/events"
        headers = {"authorization": f"Bearer {token(SECRET, claims(datetime.now(UTC), self._visitor))}"}
        if self._place:
            headers["last-event-id"] = self._place
        async with client.stream("GET", url, headers=headers, timeout=_SILENT) as response:
            response.raise_for_status()
            place = ""
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    place = value
                elif name == "data":
                    yield place, json.loads(value)
                    place = ""

    def _show(self, frame: dict[str, Any]) -> None:
        """Show what is new. A window that begins anew shows the latest, of which it may have shown some before."""
        match frame:
            case {"type": "message", "message": message}:
                self._take(message)
            case {"type": "opening", "messages": messages}:
                for message in messages:
                    if message["key"] not in self._shown:
                        self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        self._shown.add(message["key"])
        if message["text"].startswith(ANSWER):
            self._platform.take(self._visitor, message["text"], "")


@asynccontextmanager
async def windows(
    platforms: Sequence[FakePlatform], gateways: Sequence[str], *, people: int, seed: str
) -> AsyncIterator[None]:
    """Have each person on web chat look at a window while the body runs."""
    opened = [
        Window(platform, person, gateways, Random(f"{seed}/window {person}"))
        for platform in platforms
        if isinstance(platform, FakeWindows)
        for person in range(1, people + 1)
    ]
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
        reading = [asyncio.create_task(one.read(client)) for one in opened]
        try:
            yield
        finally:
            await ended(reading)
