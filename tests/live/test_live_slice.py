"""A slice of `make live`: what its clients notice, and what counts as a good run."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness.patience import PATIENCE
from tests.live import crowd
from tests.live.__main__ import judge
from tests.live.crowd import Client, judged
from tests.live.told import Digest

SESSION = "a" * 26 + ".1"
GOOD = {
    "size": {"sessions": 9, "everything": 1},
    "connected": 10,
    "crowd": {"clients": 10, "right": 10, "short": 0, "repeats": 0, "gaps": 0, "came_back": 10},
    "journal": {"twice": 0, "missing": 0},
}


def event(number: int) -> bytes:
    data = f'{{"id":"{SESSION}/{number}","x":{{"text":"1234567890{number}"}}}}'
    return f"id: {number}.{number}\ndata: {data}\n\n".encode()


async def test_a_client_comes_back_with_its_last_id_and_tells_repeats_from_gaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd, "_BACK_IN", 0.01)
    answers: Iterator[bytes] = iter(
        [
            b"HTTP/1.0 200 OK\r\n\r\n" + b"retry: 1\nid: 0.0\n\n" + event(1) + event(2) + event(3)[:-5],  # cut off
            b"HTTP/1.0 503 later\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n" + b":\nid: 2.2\n\n" + event(2) + event(3) + event(6),
        ]
    )
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(next(answers, b"HTTP/1.0 503 later\r\n\r\n"))
        await writer.drain()
        writer.close()

    client, more = Client("/v1/events"), asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        following = asyncio.create_task(client.follow(port, more))
        async with asyncio.timeout(PATIENCE):
            while client.digest.count < 5:
                more.clear()
                await more.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert ["Last-Event-ID: 2.2" in one for one in asked[:3]] == [False, True, True]
    assert (client.connections, client.refusals, client.repeats, client.gaps) == (2, 1, 1, 1)
    assert (client.digest.count, client.last) == (5, "6.6")
    right = Digest()
    for number in (1, 2, 3, 4, 5):
        right.add(f"{SESSION}/{number}")
    told = judged([(client, right), (client, client.digest)], 1, killed_ns=0)
    assert (told["right"], told["short"], told["repeats"], told["p50_ms"]) == (1, 0, 2, None)


def test_what_counts_as_good() -> None:
    assert all(judge(GOOD).values())
    wrong = [
        ("crowd", "right", "each_event"),
        ("crowd", "repeats", "once"),
        ("crowd", "gaps", "in_order"),
        ("journal", "twice", "once"),
        ("journal", "missing", "in_the_journal"),
        ("crowd", "came_back", "came_back"),
        ("crowd", "clients", "all_connected"),
    ]
    for part, name, says in wrong:
        changed = GOOD | {part: GOOD[part] | {name: 5}}  # type: ignore[operator] # a dict of dicts
        assert not judge(changed)[says], name


def test_a_digest_travels_as_it_is() -> None:
    one, other = Digest(), Digest()
    for name in ("a", "b"):
        one.add(name)
    for name in ("b", "a"):
        other.add(name)
    assert Digest.told(one.as_told()) == one == other
    other.add("c")
    assert one != other
