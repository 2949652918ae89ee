"""The people: each writes in a chat with our bot, mostly one message after the other; platforms repeat themselves."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from random import Random
from typing import Final

from agentbus.workers.adapters.port import Request
from tests.channels.postman import Postman
from tests.platforms.model import FakePlatform, Said, Taken

_TOGETHER: Final = 0.15
"""The share of messages that are written while the one before is still on its way: either may come first."""
_DOUBLED: Final = 0.15
"""The share that is posted twice, at the same time where a platform does so."""
_LATE: Final = 0.1
"""The share that is posted once more, much later, and in another order."""
_LATE_TOGETHER: Final = 20
_TOLD_IN_ORDER: Final = 0.8
"""The share of messages of which a platform tells one thing after the other in their order."""
_LOOK: Final = 0.05


@dataclass(eq=False, slots=True)
class Letter:
    """A message that somebody wrote, and what became of it."""

    platform: FakePlatform
    said: Said
    begun: float = inf
    """When it was posted first."""
    accepted: float = inf
    """When the platform heard first that it was taken; never, if it gave up."""
    repeats: int = 0
    """How often it was taken beyond the first time."""


class Crowd:
    """So many people on each platform, each of whom writes so many messages; all is the same for the same seed.

    `ahead` messages at most are taken and not `answered` yet, by what that says.
    """

    def __init__(
        self,
        platforms: Sequence[FakePlatform],
        postman: Postman,
        *,
        people: int,
        each: int,
        seed: str,
        answered: Callable[[], int],
        ahead: int,
    ) -> None:
        self.platforms = platforms
        self._postman = postman
        self._seed = seed
        self._answered = answered
        self._ahead = ahead
        self._chance = Random(f"{seed}/crowd")
        self._late: list[Letter] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._in_order = {one.name: asyncio.Lock() for one in platforms if one.in_order}
        self._people = [
            [
                Letter(platform, Said(person, number, f"{platform.name} {person} {number}"))
                for number in range(1, each + 1)
            ]
            for person in range(1, people + 1)
            for platform in platforms
        ]
        self.open_to = 1.0
        """The share of the letters that may be begun by now."""
        self._begun = 0
        self.accepted = 0
        self.settled = 0
        """Letters of which nothing more is to be expected, late repeats aside."""
        for platform in platforms:
            platform.on_taken = self._teller(platform)

    @property
    def letters(self) -> Iterator[Letter]:
        """All letters, each person's in the order of writing."""
        return (letter for letters in self._people for letter in letters)

    @property
    def count(self) -> int:
        """How many letters there are."""
        return sum(map(len, self._people))

    async def write(self) -> None:
        """Write everything, and have what is repeated late repeated to its end."""
        async with asyncio.TaskGroup() as tasks:
            for letters in self._people:
                tasks.create_task(self._person(letters))
        await self._repeat_late(0)
        while self._telling:
            await asyncio.wait(self._telling)

    async def until(self, share: float) -> None:
        """Wait until so much is written."""
        while self.settled < share * self.count:
            await asyncio.sleep(_LOOK)

    async def _person(self, letters: list[Letter]) -> None:
        first = letters[0]
        chance = Random(f"{self._seed}/{first.platform.name}/{first.said.user}")
        left = list(letters)
        while left:
            together = 2 if chance.random() < _TOGETHER else 1
            now, left = left[:together], left[together:]
            await asyncio.gather(*(self._send(letter, chance.random(), chance.random()) for letter in now))
            await self._repeat_late(_LATE_TOGETHER)

    async def _send(self, letter: Letter, doubled: float, late: float) -> None:
        while self._begun >= self.open_to * self.count or self.accepted - self._answered() > self._ahead:
            await asyncio.sleep(_LOOK)
        self._begun += 1
        times = 2 if doubled < _DOUBLED else 1
        if line := self._in_order.get(letter.platform.name):
            async with line:
                for _ in range(times):
                    await self._post(letter)
        else:
            await asyncio.gather(*(self._post(letter) for _ in range(times)))
        self.settled += 1
        if late < _LATE:
            self._late.append(letter)

    async def _post(self, letter: Letter) -> None:
        letter.begun = min(letter.begun, time.monotonic())

        def asked(at: datetime, again: int) -> Request:
            return letter.platform.posting(letter.said, at, again)

        if not await self._postman.deliver(letter.platform, asked):
            return
        if letter.accepted < inf:
            letter.repeats += 1
        else:
            letter.accepted = time.monotonic()
            self.accepted += 1

    async def _repeat_late(self, most: int) -> None:
        """Post again what is to be repeated late, once there are more than `most` to be shuffled."""
        if len(self._late) <= most:
            return
        late, self._late = self._late, []
        self._chance.shuffle(late)
        for letter in late:
            await self._post(letter)

    def _teller(self, platform: FakePlatform) -> Callable[[Taken], None]:
        """Return what has a platform tell what became of the messages that it takes."""

        def tell(taken: Taken) -> None:
            if platform.tells:
                task = asyncio.create_task(self._tell(platform, taken))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

        return tell

    async def _tell(self, platform: FakePlatform, taken: Taken) -> None:
        words = self._chance.sample(platform.tells, len(platform.tells))
        for word in platform.tells if self._chance.random() < _TOLD_IN_ORDER else words:

            def asked(at: datetime, _again: int, word: str = word) -> Request:
                return platform.telling(word, taken, at)

            await self._postman.deliver(platform, asked)
