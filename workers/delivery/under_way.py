"""What is under way in a server: counted, so that one that ends waits for it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class UnderWay:
    """Requests that are being answered."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a request while the body runs."""
        self._count += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._idle.set()

    async def over(self, within: float) -> None:
        """Return once nothing is under way, or `within` seconds have passed."""
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return
