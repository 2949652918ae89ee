"""What platforms post, and again until it is taken: to several gateways, as a load balancer has it."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Final

import httpx

from agentbus.workers.adapters.port import Request
from tests.harness.patience import PATIENCE
from tests.platforms.model import FakePlatform
from tests.platforms.retries import RETRIES, compressed, tried_again

Asked = Callable[[datetime, int], Request]
"""Returns what is posted, signed at a moment: its so many-th repeat."""

AT_ONCE: Final = 8
"""Posts of a platform at a time."""

_AGAIN: Final = 1.0


class Postman:
    """Posts to one of the gateways, or to the next one where nobody listens.

    `within`: the seconds to which the hours are compressed for which platforms post again. Should something last
    longer here than that, they go on: it would have been far less than their hours. `hurried`: whether they wait for
    an answer only as long as they do.
    """

    def __init__(self, gateways: Sequence[str], chance: Random, *, within: float, hurried: bool = True) -> None:
        self._gateways = gateways
        self._chance = chance
        self._within = within
        self._hurried = hurried
        self._client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        self._lines: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self.answers: Counter[int] = Counter()
        self.broken = 0
        """Posts without an answer, or without one in time."""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def deliver(self, platform: FakePlatform, asked: Asked) -> bool:
        """Post something until it is taken, or the platform gives up; return whether it was."""
        requests = (asked(datetime.now(UTC), again) for again in count())

        async def post(request: Request) -> bool:
            async with self._lines[platform.name]:
                return await self._post(platform, request)

        if await tried_again(requests, post, compressed(platform.name, self._within)):
            return True
        deadline = time.monotonic() + PATIENCE
        while RETRIES[platform.name] and time.monotonic() < deadline:
            await asyncio.sleep(_AGAIN)
            if await post(next(requests)):
                return True
        return False

    async def _post(self, platform: FakePlatform, request: Request) -> bool:
        """Post once; return whether it was answered by 2xx in the time that the platform waits."""
        for gateway in self._chance.sample(self._gateways, len(self._gateways)):
            url = f"{gateway}/channels/{platform.name}/bot"
            try:
                async with asyncio.timeout(platform.answered_within if self._hurried else PATIENCE):
                    answer = await self._client.request(
                        request.method, url, content=request.body, headers=dict(request.headers), timeout=None
                    )
            except httpx.ConnectError:
                continue
            except (httpx.HTTPError, TimeoutError):
                break
            self.answers[answer.status_code] += 1
            return answer.is_success
        self.broken += 1
        return False
