"""Requests to platforms: what is certain of each, and what is not."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, cast

from agentbus.contracts.documents import json_in
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.replies import MAX_REASON_LENGTH
from agentbus.contracts.text import first_bytes
from agentbus.workers.adapters.port import Failed, RateLimited, Unknown
from agentbus.workers.concurrency import raise_if_cancelled

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

MOST_READ: Final = 1_048_576
"""Bytes of an answer that are read. More than a platform's is not understood."""
NO_WORD: Final = 5.0
"""Seconds to wait where a platform says that it is too much, and not for how long."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A platform's answer, other than that it failed itself."""

    status: int
    body: dict[str, Any]
    """What it says in JSON; empty for anything but an object."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether the status says that it did what was asked."""
        return 200 <= self.status < 300

    def at(self, *path: str | int) -> Any:
        """Return what stands at a place of the body; None if there is nothing."""
        found: Any = self.body
        for step in path:
            if isinstance(found, dict) and isinstance(step, str):
                found = found.get(step)
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            else:
                return None
        return found

    def text(self, *path: str | int) -> str:
        """Return a text or a number at a place as text; empty if there is none."""
        found = self.at(*path)
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""

    def after(self, said: object = None) -> float:
        """Return for how many seconds to wait: as `said`, or as the header Retry-After says."""
        for one in (said, self.headers.get("retry-after")):
            try:
                seconds = float(one)  # type: ignore[arg-type]  # whatever it is, it is tried
            except (TypeError, ValueError):
                continue
            if isfinite(seconds) and seconds >= 0:
                return seconds
        return NO_WORD


async def posted(
    client: "AsyncClient",
    url: str,
    *,
    timeout: float,
    json: object = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    params: Mapping[str, str] | None = None,
) -> Answered | Failed | Unknown:
    """Make a request, and return the answer; or what is certain of it, if there is none that can be relied on.

    Where no connection came about the platform surely has nothing. Where it was lost, or the platform says that it
    failed itself (5xx), nobody knows.
    """
    with importing_extras():
        from httpx import ConnectError, ConnectTimeout, HTTPError, InvalidURL, PoolTimeout, UnsupportedProtocol  # noqa: PLC0415 - only who sends needs it

    try:
        async with asyncio.timeout(timeout):
            request = client.build_request(
                method,
                url,
                json=json,
                content=content,
                headers={**(headers or {}), "accept-encoding": "identity"},
                params=params,
                timeout=timeout,
            )
            response = await client.send(request, stream=True)
            try:
                return await _answered(response)
            finally:
                await response.aclose()
    except (ConnectError, ConnectTimeout, PoolTimeout) as error:
        raise_if_cancelled()
        return Failed(f"no connection: {type(error).__name__}", permanent=False)
    except (InvalidURL, UnsupportedProtocol) as error:
        return Failed(f"the account's address is none: {type(error).__name__}", permanent=False)
    except (HTTPError, TimeoutError) as error:
        raise_if_cancelled()
        return Unknown(f"the connection died: {type(error).__name__}")


async def _answered(response: "Response") -> Answered | Unknown:
    read = bytearray()
    if response.headers.get("content-encoding", "identity") != "identity":
        return Unknown("an answer that is packed, which was not asked for")  # what is small so may be large
    async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_bytes())) as parts:
        async for part in parts:
            read += part
            if len(read) > MOST_READ:
                return Unknown(f"an answer of more than {MOST_READ} bytes, with status {response.status_code}")
    if response.status_code >= 500:
        return Unknown(f"the platform answered {response.status_code}")
    try:
        body: Any = json_in(bytes(read)) if read else {}
    except ValueError:
        body = {}
    return Answered(response.status_code, body if isinstance(body, dict) else {}, response.headers)


def refused(answer: Answered, reason: str, *, permanent: bool | None = None) -> Failed:
    """Return that a platform does not have something, for the reason that it gave: a wrong token can be mended."""
    lasting = answer.status not in {401, 408, 425} if permanent is None else permanent
    return Failed(first_bytes(reason or f"status {answer.status}", MAX_REASON_LENGTH), permanent=lasting)


def too_much(answer: Answered, said: object = None, *, account: bool = False) -> RateLimited:
    """Return that a platform takes nothing for a while."""
    return RateLimited(answer.after(said), account)
