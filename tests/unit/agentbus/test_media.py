"""Files that came with messages, in memory and on disk: whole, or not there."""

import asyncio
from pathlib import Path

import httpx
import pytest

from agentbus.contracts.messages import Attachment
from agentbus.media import Media, MediaAddressRefused, MediaTooLarge, open_media
from agentbus.workers.adapters.media import Fetching
from tests.harness.conversations import address

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
PICTURE = Attachment(uri="https://cdn.test/a.png")


async def _anywhere(_host: str, _port: int, _private: bool) -> str:
    return "93.184.216.34"


def media(body: bytes = PNG) -> Media:
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(body)))
    )
    return Media(Fetching(client, _anywhere), {})


def there(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


async def test_it_is_read() -> None:
    found = await media().read(PICTURE, address(), most=10_000, types=("image/*",))
    assert (found.data, found.media_type) == (PNG, "image/png")


async def test_it_is_saved_whole_in_the_place_of_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"before")
    fetched = await media().save(PICTURE, address(), tmp_path / "a.png", most=10_000)
    assert fetched.size == len(PNG)
    assert there(tmp_path) == {"a.png": PNG}


async def test_what_failed_or_was_cancelled_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"before")
    with pytest.raises(MediaTooLarge):
        await media().save(PICTURE, address(), tmp_path / "a.png", most=100)
    begun = asyncio.Event()

    async def wait(_host: str, _port: int, _private: bool) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    async with httpx.AsyncClient() as client:
        saving = asyncio.create_task(
            Media(Fetching(client, wait), {}).save(PICTURE, address(), tmp_path / "a.png", most=100)
        )
        await begun.wait()
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
    assert there(tmp_path) == {"a.png": b"before"}


async def test_over_a_socket_a_file_of_the_account_s_own_api_comes_and_what_is_elsewhere_there_does_not() -> None:
    answers = iter([b'{"ok": true, "result": {"file_path": "a.png"}}', PNG])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = next(answers)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    here = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    accounts = {"telegram": {"default": {"token": "7:abc", "api": here}}}
    async with server, open_media(accounts) as opened:
        found = await opened.read(Attachment(uri="telegram:file/1"), address(), most=10_000, types=("image/png",))
        assert found.data == PNG
        with pytest.raises(MediaAddressRefused):
            await opened.read(Attachment(uri=f"{here}/a.png"), address(), most=10_000)


async def test_it_is_opened_with_the_accounts_that_the_settings_give() -> None:
    async with open_media({"telegram": {"mybot": {"token": "7:abc"}}, "discord": {}}) as opened:
        assert list(opened._links) == [("telegram", "mybot")]
