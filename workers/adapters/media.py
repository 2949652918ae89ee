"""Fetching what came with a message: so many bytes, of these types, from the public internet, and no secret elsewhere.

Each hop is looked at anew: the host is resolved once, refused if it leads into a private network, and connected to at
the very address that was looked at, so that the next answer of its name server changes nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, cast

from agentbus.contracts.documents import json_in
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.port import (
    Link,
    MediaAddressRefused,
    MediaLinks,
    MediaNotFound,
    MediaTooLarge,
    MediaTypeRefused,
    MediaUnavailable,
)
from agentbus.workers.adapters.sniffing import SNIFFED, type_of
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.notify.notices import NotificationFailed
from agentbus.workers.notify.reachable import resolved
from agentbus.workers.notify.trying import NotYet

if TYPE_CHECKING:
    from httpx import URL, AsyncByteStream, AsyncClient, Response

MOST_HOPS: Final = 5
"""Redirects that are followed."""
_MOST_ASKED: Final = 1_048_576
"""Bytes of what a platform says about a file."""

Resolve = Callable[[str, int, bool], Awaitable[str]]
"""Returns an address of a host that may be connected to; the last argument: also one of a private network."""

Write = Callable[[bytes], Awaitable[None]]
"""Takes the bytes of a file as they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is taken of a file."""

    most: int
    """Bytes."""
    types: Collection[str] = ("*/*",)
    """Media types, as its first bytes show them: `image/png`, `image/*`."""
    timeout: float = 60.0
    """Seconds for all of it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched."""

    size: int
    """Bytes."""
    media_type: str
    """By its first bytes."""


class Fetching:
    """Fetches files over a client that somebody else opened, which follows no redirects by itself."""

    def __init__(self, client: "AsyncClient", resolve: Resolve | None = None) -> None:
        self._client = client
        self._resolve = resolve or _resolved

    async def fetch(self, attachment: Attachment, links: MediaLinks | None, write: Write, wanted: Wanted) -> Fetched:
        """Give a file's bytes to `write` as they come, and return what it is. Raises MediaError.

        Nothing is given before the first bytes have shown its type; what fails later has been given in part.
        """
        if attachment.size is not None and attachment.size > wanted.most:
            raise MediaTooLarge(f"{attachment.size} bytes, {wanted.most} at most")
        try:
            async with asyncio.timeout(wanted.timeout):
                link = await self._link(attachment, links)
                async with self._opened(link) as response:
                    return await _copied(response, write, wanted)
        except TimeoutError:
            raise_if_cancelled()
            raise MediaUnavailable(f"it did not come within {wanted.timeout:g} s") from None

    async def _link(self, attachment: Attachment, links: MediaLinks | None) -> Link:
        try:
            found = await links.link(attachment, self.ask) if links else None
        except ValueError as error:
            raise MediaNotFound(str(error)) from error
        return found or Link(url=attachment.uri)

    async def ask(self, link: Link) -> Mapping[str, Any]:
        """Return the JSON object that stands at a link. Raises MediaError."""
        read = bytearray()
        async with self._opened(link) as response, aclosing(_parts(response)) as parts:
            async for part in parts:
                read += part
                if len(read) > _MOST_ASKED:
                    raise MediaUnavailable(f"an answer of more than {_MOST_ASKED} bytes")
        try:
            said = json_in(bytes(read))
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise MediaUnavailable("an answer that can't be read")
        return said

    @asynccontextmanager
    async def _opened(self, link: Link) -> "AsyncGenerator[Response, None]":
        """Open what stands at a link, wherever it redirects to. Raises MediaError."""
        with importing_extras("channels"):
            from httpx import URL, HTTPError, InvalidURL  # noqa: PLC0415 - only who downloads needs it

        try:
            hop = _first(link, URL(link.url))
            for _ in range(MOST_HOPS + 1):
                response = await self._sent(hop)
                try:
                    if not response.has_redirect_location:
                        _check_status(response)
                        yield response
                        return
                    hop = _next(hop, response.headers["location"])
                finally:
                    await response.aclose()
        except (HTTPError, InvalidURL, UnicodeError) as error:
            raise_if_cancelled()
            # What it says may hold the address, and that a token.
            raise MediaUnavailable(f"the connection failed: {type(error).__name__}") from None
        raise MediaUnavailable(f"more than {MOST_HOPS} redirects")

    async def _sent(self, hop: "_Hop") -> "Response":
        url = hop.url
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._resolve(url.host, port, hop.may_be_private)
        headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", **hop.headers}
        request = self._client.build_request(
            "GET" if hop.link.posts is None else "POST",
            url.copy_with(host=address),
            headers=headers,
            json=hop.link.posts,
            extensions={"sni_hostname": url.host},
        )
        return await self._client.send(request, stream=True, follow_redirects=False)


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request on the way to a file."""

    link: Link
    url: "URL"
    may_be_private: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """What is shown to this host: a secret to those alone that it is for, and never in the clear to others."""
        host = self.url.host
        known = any(host == one or (one.startswith(".") and host.endswith(one)) for one in self.link.hosts)
        return self.link.headers if known and (self.url.scheme == "https" or self.may_be_private) else {}


def _first(link: Link, url: "URL") -> _Hop:
    return _Hop(link, _checked(url), link.private)


def _next(hop: _Hop, location: str) -> _Hop:
    """Return the request that a redirect asks for: nothing is posted there; private it may be where it was meant."""
    url = _checked(hop.url.join(location))
    if hop.url.scheme == "https" and url.scheme != "https":
        raise MediaAddressRefused("it redirects to where nothing is encrypted")
    same = (url.host, url.port) == (hop.url.host, hop.url.port)
    return _Hop(replace(hop.link, posts=None), url, hop.may_be_private and same)


def _checked(url: "URL") -> "URL":
    if url.scheme not in {"https", "http"} or not url.host:
        raise MediaAddressRefused(f"{url.scheme or 'nothing'} is no way to fetch a file")
    if url.userinfo:
        raise MediaAddressRefused("its address names a user")
    return url


def _check_status(response: "Response") -> None:
    status = response.status_code
    if status == 429 or status >= 500 or status in {408, 425}:
        raise MediaUnavailable(f"its host answers {status}")
    if not response.is_success:
        raise MediaNotFound(f"its host answers {status}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise MediaUnavailable("it comes packed, which was not asked for")  # what is small so may be large


def _parts(response: "Response") -> AsyncGenerator[bytes, None]:
    # Not by `aiter_raw`: a generator over this one, which leaves it open when it ends in its middle.
    return cast("AsyncGenerator[bytes, None]", aiter(cast("AsyncByteStream", response.stream)))


async def _copied(response: "Response", write: Write, wanted: Wanted) -> Fetched:
    """Give what comes to `write`, once its type is known to be wanted, up to as many bytes as are."""
    said = response.headers.get("content-length", "")
    if said.isdecimal() and int(said) > wanted.most:
        raise MediaTooLarge(f"{said} bytes, {wanted.most} at most")
    size, head, media_type = 0, bytearray(), ""
    async with aclosing(_parts(response)) as parts:
        async for part in parts:
            size += len(part)
            if size > wanted.most:
                raise MediaTooLarge(f"more than {wanted.most} bytes")
            if media_type:
                await write(part)
                continue
            head += part
            if len(head) >= SNIFFED:
                media_type = _wanted_type(bytes(head), wanted)
                await write(bytes(head))
    if not media_type:
        media_type = _wanted_type(bytes(head), wanted)
        await write(bytes(head))
    return Fetched(size, media_type)


def _wanted_type(head: bytes, wanted: Wanted) -> str:
    found = type_of(head)
    if not any(fnmatchcase(found, one) for one in wanted.types):
        raise MediaTypeRefused(f"it is {found}, wanted is {', '.join(sorted(wanted.types))}")
    return found


async def _resolved(host: str, port: int, private: bool) -> str:
    try:
        return await resolved(host, port, allow_private=private)
    except NotYet as error:
        raise MediaUnavailable("its host is not known at the moment") from error
    except NotificationFailed as error:
        raise MediaAddressRefused("its host leads to an address that is not of the public internet") from error
