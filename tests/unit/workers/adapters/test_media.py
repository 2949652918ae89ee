"""What came with a message is fetched within limits, and no token is shown to anybody but its platform."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from json import dumps
from typing import Any

import httpx
import pytest

from agentbus.contracts.messages import Attachment, AttachmentKind
from agentbus.workers.adapters.factory import channel_named
from agentbus.workers.adapters.media import MOST_HOPS, Fetched, Fetching, Wanted
from agentbus.workers.adapters.port import (
    MediaAddressRefused,
    MediaError,
    MediaLinks,
    MediaNotFound,
    MediaTooLarge,
    MediaTypeRefused,
    MediaUnavailable,
)
from agentbus.workers.notify.reachable import is_public
from tests.harness.patience import PATIENCE

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)
NAMES = {
    "platform.test": "93.184.216.34",
    "cdn.test": "93.184.216.35",
    "inside.test": "10.0.0.7",
    "here.test": "127.0.0.1",
}
TOKEN = "a-secret-that-no-stranger-sees"  # noqa: S105 - of no bot

Handler = Callable[[httpx.Request], httpx.Response]


class Body(httpx.AsyncByteStream):
    """A body, in parts of 1,000 bytes; it falls silent in the end, if it is to."""

    def __init__(self, body: bytes, *, silent: bool = False) -> None:
        self._parts = iter([body[place : place + 1000] for place in range(0, len(body), 1000)])
        self._silent = silent

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        part = next(self._parts, None)
        if part is None and self._silent:
            await asyncio.Event().wait()
        if part is None:
            raise StopAsyncIteration
        return part


def response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, stream=Body(body), headers=headers)


class World:
    """Hosts, and who was asked for what."""

    def __init__(self, handle: Handler) -> None:
        self.asked: list[httpx.Request] = []
        self.written = bytearray()
        self._handle = handle

    def _note(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._handle(request)

    async def _resolve(self, host: str, _port: int, private: bool) -> str:
        try:
            address = str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            address = NAMES.get(host, "93.184.216.99")
        if not private and not is_public(ipaddress.ip_address(address)):
            raise MediaAddressRefused("not of the public internet")
        return address

    async def write(self, part: bytes) -> None:
        self.written += part

    async def fetch(
        self,
        uri: str,
        links: MediaLinks | None = None,
        *,
        most: int = 10_000,
        types: tuple[str, ...] = ("*/*",),
        kind: AttachmentKind = AttachmentKind.FILE,
        size: int | None = None,
        timeout: float = PATIENCE,
    ) -> Fetched:
        attachment = Attachment(uri=uri, kind=kind, size=size)
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._note)) as client:
            fetching = Fetching(client, self._resolve)
            return await fetching.fetch(attachment, links, self.write, Wanted(most=most, types=types, timeout=timeout))

    def showed(self) -> list[tuple[str, bool]]:
        """Return which hosts were asked, and whether they were shown the token."""
        return [(one.headers["host"], TOKEN in f"{one.headers.get('authorization')} {one.url}") for one in self.asked]


def answering(body: bytes = PNG, status: int = 200, headers: Mapping[str, str] | None = None) -> Handler:
    return lambda _: response(body, status, headers)


def redirecting(places: Mapping[str, str], body: bytes = PNG) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        to = places.get(request.headers["host"])
        return response(b"", 302, {"location": to}) if to else response(body)

    return handle


async def test_a_file_is_fetched_from_the_address_that_was_looked_at() -> None:
    world = World(answering())
    assert await world.fetch("https://cdn.test/a.png?x=1") == Fetched(len(PNG), "image/png")
    assert bytes(world.written) == PNG
    (asked,) = world.asked
    assert (asked.url.host, asked.headers["host"], asked.url.raw_path) == (NAMES["cdn.test"], "cdn.test", b"/a.png?x=1")
    assert asked.extensions["sni_hostname"] == "cdn.test"


@pytest.mark.parametrize(
    "uri",
    [
        *("http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest", "http://[::ffff:10.0.0.1]/"),
        *("https://inside.test/", "https://here.test/", "file:///etc/passwd", "geo:1,2", "tel:123", "https:///x"),
        *("ftp://cdn.test/", "https://user:pass@cdn.test/", "data:text/plain,x", "telegram:file/7"),
    ],
)
async def test_nothing_is_fetched_from_a_private_network_or_by_another_scheme(uri: str) -> None:
    world = World(answering())
    with pytest.raises(MediaAddressRefused):
        await world.fetch(uri)
    assert world.asked == []


@pytest.mark.parametrize("to", ["http://127.0.0.1/", "https://inside.test/x", "file:///etc/passwd", "http://cdn.test/"])
async def test_nor_by_way_of_a_redirect(to: str) -> None:
    world = World(redirecting({"platform.test": to}))
    with pytest.raises(MediaAddressRefused):
        await world.fetch("https://platform.test/")
    assert len(world.asked) == 1


async def test_redirects_are_followed_a_few_times() -> None:
    world = World(redirecting({"platform.test": "https://cdn.test/a"}))
    assert (await world.fetch("https://platform.test/")).size == len(PNG)
    world = World(redirecting({"platform.test": "/again"}))
    with pytest.raises(MediaUnavailable, match="redirects"):
        await world.fetch("https://platform.test/")
    assert len(world.asked) == MOST_HOPS + 1


async def refused(call: Awaitable[object]) -> type[MediaError] | None:
    try:
        await call
    except MediaError as error:
        return type(error)
    return None


@pytest.mark.parametrize("headers", [{}, {"content-length": "2008"}])
async def test_more_bytes_than_are_wanted_are_not_read(headers: dict[str, str]) -> None:
    world = World(lambda _: response(bytes(10**6), headers=headers))
    assert await refused(world.fetch("https://cdn.test/", most=2000)) is MediaTooLarge
    assert len(world.written) <= 2000


async def test_what_is_said_to_be_too_large_is_not_asked_for() -> None:
    world = World(answering())
    with pytest.raises(MediaTooLarge):
        await world.fetch("https://cdn.test/", size=10_001)
    assert world.asked == []


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><script>", b"\x00\x01", b"just text", b"<svg onload=x>", b""])
async def test_what_is_not_of_a_wanted_type_is_refused_whatever_is_said_of_it(body: bytes) -> None:
    world = World(answering(body, headers={"content-type": "image/png"}))
    with pytest.raises(MediaTypeRefused):
        await world.fetch("https://cdn.test/a.png", types=("image/png", "image/jpeg"))
    assert world.written == b""


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, MediaNotFound), (403, MediaNotFound), (429, MediaUnavailable), (503, MediaUnavailable)],
)
async def test_what_its_host_answers_is_told(status: int, error: type[MediaError]) -> None:
    with pytest.raises(error):
        await World(answering(b"", status)).fetch("https://cdn.test/")


async def test_what_comes_packed_or_too_late_or_not_at_all_is_unavailable() -> None:
    with pytest.raises(MediaUnavailable, match="packed"):
        await World(answering(b"x", headers={"content-encoding": "br"})).fetch("https://cdn.test/")

    def dead(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(f"to {TOKEN}")

    with pytest.raises(MediaUnavailable) as raised:
        await World(dead).fetch("https://cdn.test/")
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None

    silent = httpx.Response(200, stream=Body(b"x", silent=True))
    with pytest.raises(MediaUnavailable, match="within"):
        await World(lambda _: silent).fetch("https://cdn.test/", timeout=0.01)


def links_of(name: str, **fields: Any) -> MediaLinks:
    channel = channel_named(name)
    assert channel.media
    links = channel.media(channel.account.model_validate(fields))
    assert links is not None
    return links


def telegram(api: str = "https://platform.test") -> MediaLinks:
    return links_of("telegram", token=f"7:{TOKEN}", api=api)


def said(json: object, body: bytes = PNG) -> Handler:
    """Answer with JSON first, with a file then."""
    answers = iter([response(dumps(json).encode()), response(body)])
    return lambda _: next(answers)


async def test_telegram_is_asked_where_a_file_is() -> None:
    world = World(said({"ok": True, "result": {"file_path": "photos/a b.jpg"}}))
    await world.fetch("telegram:file/AgAD", telegram())
    assert [one.url.raw_path.decode() for one in world.asked] == [
        f"/bot7:{TOKEN}/getFile?file_id=AgAD",
        f"/file/bot7:{TOKEN}/photos/a%20b.jpg",
    ]


async def test_an_account_s_own_api_may_be_in_a_private_network_and_what_it_redirects_to_may_not() -> None:
    world = World(said({"result": {"file_path": "a"}}))
    assert (await world.fetch("telegram:file/1", telegram("http://here.test:8081"))).size == len(PNG)
    world = World(redirecting({"here.test:8081": "http://inside.test/"}))
    with pytest.raises(MediaAddressRefused):
        await world.fetch("telegram:file/1", telegram("http://here.test:8081"))


async def test_slack_s_token_is_shown_to_slack_alone_and_not_where_that_redirects_to() -> None:
    links = links_of("slack", signing_secret="s" * 16, team="T1", token=TOKEN)
    world = World(redirecting({"files.slack.com": "https://cdn.test/x"}))
    await world.fetch("https://files.slack.com/files-pri/T1-F1/a.png", links)
    assert world.showed() == [("files.slack.com", True), ("cdn.test", False)]
    for uri in ("https://evil.test/files.slack.com", "https://files.slack.com.evil.test/", "https://xfiles.slack.com/"):
        world = World(answering())
        await world.fetch(uri, links)
        assert world.showed()[0][1] is False, uri


async def test_whatsapp_says_where_a_file_is_and_a_stranger_it_names_sees_no_token() -> None:
    links = links_of(
        "whatsapp",
        app_secret="s" * 16,
        verify_token="v" * 8,
        phone_number_id="1",
        token=TOKEN,
        api="https://platform.test",
    )
    world = World(said({"url": "https://lookaside.fbsbx.com/x"}))
    await world.fetch("whatsapp:media/77", links)
    assert world.showed() == [("platform.test", True), ("lookaside.fbsbx.com", True)]
    world = World(said({"url": "https://evil.test/x"}))
    await world.fetch("whatsapp:media/77", links)
    assert world.showed() == [("platform.test", True), ("evil.test", False)]


async def test_line_has_a_host_of_its_own_for_contents() -> None:
    links = links_of("line", channel_secret="s" * 32, token=TOKEN)
    world = World(answering())
    await world.fetch("line:content/5", links)
    assert world.showed() == [("api-data.line.me", True)]
    assert world.asked[0].url.path == "/v2/bot/message/5/content"


@pytest.mark.parametrize(("kind", "asked"), [(AttachmentKind.IMAGE, "image"), (AttachmentKind.VIDEO, "file")])
async def test_feishu_wants_a_token_first_and_to_be_told_what_it_is(kind: AttachmentKind, asked: str) -> None:
    links = links_of(
        "feishu", encrypt_key="k" * 16, verification_token="v" * 8, app_id="cli_1", app_secret=TOKEN,
        api="https://platform.test",
    )  # fmt: skip
    world = World(said({"tenant_access_token": "t-1"}))
    await world.fetch("feishu:message/om_1/key", links, kind=kind)
    assert world.asked[0].method == "POST"
    assert world.asked[1].url.raw_path.decode() == f"/open-apis/im/v1/messages/om_1/resources/key?type={asked}"
    assert world.asked[1].headers["authorization"] == "Bearer t-1"


@pytest.mark.parametrize("answer", [{}, {"result": 7}, {"result": {"file_path": ""}}])
async def test_a_platform_that_says_nothing_of_use_has_no_such_file(answer: object) -> None:
    with pytest.raises(MediaNotFound):
        await World(said(answer)).fetch("telegram:file/1", telegram())


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{" * 2000])
async def test_a_platform_that_says_what_can_t_be_read_is_unavailable(body: bytes) -> None:
    with pytest.raises(MediaUnavailable):
        await World(answering(body)).fetch("telegram:file/1", telegram())


async def test_an_account_without_a_token_finds_nothing() -> None:
    channel = channel_named("telegram")
    assert channel.media
    assert channel.media(channel.account.model_validate({"webhook_secret": "s" * 16})) is None
