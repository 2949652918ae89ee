"""What came with a message, fetched: attachments name it, and this gets it, within limits.

```python
from agentbus.media import open_media

async with open_media() as media:  # the accounts of AGENTBUS_CHANNELS: their tokens
    picture = await media.read(attachment, message.address, most=5_000_000, types=("image/*",))
```
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import PathLike, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from agentbus.contracts.address import Address
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.adapters.media import Fetched, Fetching, Wanted
from agentbus.workers.adapters.port import (
    MediaAddressRefused,
    MediaError,
    MediaLinks,
    MediaNotFound,
    MediaTooLarge,
    MediaTypeRefused,
    MediaUnavailable,
)

__all__ = [
    "Downloaded", "Fetched", "Media", "open_media",
    "MediaAddressRefused", "MediaError", "MediaNotFound", "MediaTooLarge", "MediaTypeRefused", "MediaUnavailable",
]  # fmt: skip

_CONNECTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What came with a message."""

    data: bytes
    media_type: str
    """By its first bytes, whatever was said of it."""


class Media:
    """Fetches what came with messages: `open_media` opens one."""

    def __init__(self, fetching: Fetching, links: Mapping[tuple[str, str], MediaLinks]) -> None:
        self._fetching = fetching
        self._links = links

    async def read(
        self,
        attachment: Attachment,
        address: Address,
        *,
        most: int,
        types: Collection[str] = ("*/*",),
        timeout: float = 60.0,
    ) -> Downloaded:
        """Return what came with a message from `address`: `most` bytes at most, of one of `types` (`image/*`).

        The type is what its first bytes show. `timeout` is in seconds, for all of it. It is fetched by the account that
        the message came by, whose token is shown to its platform alone; addresses of private networks are refused,
        also by way of a redirect, but for the account's own API. Raises MediaTooLarge, MediaTypeRefused,
        MediaAddressRefused, MediaNotFound; MediaUnavailable for what may be had later.
        """
        data = bytearray()

        async def write(part: bytes) -> None:
            data.extend(part)

        fetched = await self._fetch(attachment, address, write, Wanted(most=most, types=types, timeout=timeout))
        return Downloaded(bytes(data), fetched.media_type)

    async def save(
        self,
        attachment: Attachment,
        address: Address,
        path: str | PathLike[str],
        *,
        most: int,
        types: Collection[str] = ("*/*",),
        timeout: float = 60.0,
    ) -> Fetched:
        """Write what came with a message to a file, as it comes; the file is there once all of it is.

        What is left of a fetch that failed is removed. `timeout` is in seconds. Raises as `read` does, and OSError.
        """
        place = Path(path)
        # Beside it, so that it gets its name in one go; what it is called before nobody can guess.
        with NamedTemporaryFile(dir=place.parent, prefix=f".{place.name[:64]}.", delete=False) as file:
            try:

                async def write(part: bytes) -> None:
                    await asyncio.to_thread(file.write, part)

                wanted = Wanted(most=most, types=types, timeout=timeout)
                fetched = await self._fetch(attachment, address, write, wanted)
                await asyncio.to_thread(file.close)
                replace(file.name, place)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)  # noqa: ASYNC240 - one call, also while being cancelled
                raise
        return fetched

    async def _fetch(self, attachment: Attachment, address: Address, write: Any, wanted: Wanted) -> Fetched:
        links = self._links.get((address.platform.value, address.account))
        return await self._fetching.fetch(attachment, links, write, wanted)


@asynccontextmanager
async def open_media(channels: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None) -> AsyncIterator[Media]:
    """Open what fetches the files of the accounts in AGENTBUS_CHANNELS, or in `channels`, which is as that.

    Without accounts it fetches what is at a web address. It needs `agentbus[channels]`. Raises ConfigurationError.
    """
    from agentbus.settings import load_settings  # noqa: PLC0415 - the session library does without

    given = load_settings().channels.channels if channels is None else channels
    with importing_extras("channels"):
        from httpx import AsyncClient, Limits  # noqa: PLC0415 - only who downloads needs it

    links = {
        (one.channel.name, one.name): found
        for one in accounts_in(given)
        if one.channel.media and (found := one.channel.media(one.account))
    }
    # A connection is for one request: what was verified for one host is not used for another at the same address.
    limits = Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    async with AsyncClient(follow_redirects=False, trust_env=False, limits=limits) as client:
        yield Media(Fetching(client), links)
