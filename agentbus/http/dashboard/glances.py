"""Figures that are dear to look up: all who look at once are told the same, and a dear one is looked up seldom."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, TypeVar

FRESH: Final = 1.0
"""Seconds for which a figure is told again at the least."""

SHARE: Final = 20
"""Times that a figure is told for as long as it took to look up: so it takes a twentieth of the time at the most."""

Found = TypeVar("Found")


class Glances:
    """What was found of late, by name."""

    def __init__(self, timer: Callable[[], float] = monotonic) -> None:
        self._timer = timer
        self._found: dict[str, tuple[float, Any]] = {}
        """Until when it is told, and what."""
        self._looking: dict[str, asyncio.Lock] = {}

    async def at(self, name: str, look: Callable[[], Awaitable[Found]]) -> Found:
        """Return what `look` finds, or found of late under this name. Raises as `look` does."""
        async with self._looking.setdefault(name, asyncio.Lock()):
            until, found = self._found.get(name, (0.0, None))
            begun = self._timer()
            if name in self._found and begun < until:
                return found  # type: ignore[no-any-return] # it was found under this name
            fresh = await look()
            now = self._timer()
            self._found[name] = (now + max(FRESH, SHARE * (now - begun)), fresh)
            return fresh
