"""When platforms send again what was not answered by 2xx, as they say; where they don't say when, as it was seen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from agentbus.workers.adapters.port import Request

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0

RETRIES: Final[Mapping[str, tuple[float, ...]]] = {
    # "we will repeat the request and give up after a reasonable amount of attempts":
    # core.telegram.org/bots/api#setwebhook
    "telegram": (1.0, 2.0, 5.0, 10.0, 30.0, _MINUTE),
    # "nearly immediately, after 1 minute, after 5 minutes": docs.slack.dev/apis/events-api
    "slack": (0.0, _MINUTE, 5 * _MINUTE),
    # None: who gave the command is told that it failed.
    "discord": (),
    # "immediately, then a few more times with decreasing frequency over the next 36 hours", "up to 7 days":
    # developers.facebook.com/docs/graph-api/webhooks/getting-started and .../whatsapp/cloud-api/guides/set-up-webhooks
    "whatsapp": (0.0, _MINUTE, 10 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY),
    # "The number of redeliveries and the interval are not disclosed": developers.line.biz, Redelivering webhooks
    "line": (_MINUTE, 5 * _MINUTE, _HOUR),
    # "15 s, 5 min, 1 h, 6 h": open.feishu.cn, Receive events
    "feishu": (15.0, 5 * _MINUTE, _HOUR, 6 * _HOUR),
    # "Immediately, 5 seconds, 5 minutes, 30 minutes, 2 hours, 5 hours, 10 hours, 14 hours, ...": the Standard Webhooks
    # specification's recommendation
    "webhook": (0.0, 5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR),
    # The window sends again until it is told that it was taken; ours: workers/adapters/webchat/page/widget.js
    "webchat": (3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0),
}
"""Seconds before each further try."""


def compressed(channel: str, within: float) -> tuple[float, ...]:
    """Return them as they are where all that time takes `within` seconds."""
    waits = RETRIES[channel]
    return tuple(wait * within / sum(waits) for wait in waits)


async def tried_again(
    requests: Iterable[Request], post: Callable[[Request], Awaitable[bool]], waits: Sequence[float]
) -> bool:
    """Post the first of `requests`, and the next one after each of the waits until one is taken; return whether."""
    for wait, request in zip((None, *waits), requests, strict=False):
        if wait is not None:
            await asyncio.sleep(wait)
        if await post(request):
            return True
    return False
