"""`python -m tests.live.crowd`: the clients, as a process of their own; each a socket that reads server-sent events.

It is told by a line of JSON who they are, and by another one, once all has happened, what each should have got. It
answers each with a line of JSON.
"""

import asyncio
import json
import random
import re
import sys
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any, Final

from tests.live.told import Digest

_ID: Final = re.compile(rb'"id":"([a-z2-7]{26}\.[0-9]+)/([0-9]+)"')
_SAID: Final = re.compile(rb'"text":"([0-9]{10,})"')
_BACK_IN: Final = 2.0
_QUIET: Final = 60.0
"""Seconds without any byte after which a connection is taken for dead: signs of life come every 20."""


@dataclass(slots=True, eq=False)
class Client:
    """One client: where it is, and what it was told."""

    path: str
    last: str | None = None
    """The last id, handed back when it comes again."""
    digest: Digest = field(default_factory=Digest)
    numbers: dict[bytes, int] = field(default_factory=dict)
    """By session, the number of its last event."""
    repeats: int = 0
    gaps: int = 0
    connections: int = 0
    refusals: int = 0
    connected: bool = False
    took: list[tuple[int, int]] = field(default_factory=list)
    """When a message was published, and how long it took to come, in ns."""

    async def follow(self, port: int, more: asyncio.Event) -> None:
        """Follow events, and come back whenever the stream ends."""
        while True:
            try:
                async with asyncio.timeout(None) as quiet:
                    await self._connected(port, more, quiet)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            self.connected = False
            await asyncio.sleep(_BACK_IN * random.uniform(0.2, 1.0))

    async def _connected(self, port: int, more: asyncio.Event, quiet: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        quiet.reschedule(loop.time() + _QUIET)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            again = f"Last-Event-ID: {self.last}\r\n" if self.last else ""
            # HTTP/1.0: the answer ends with the connection, and has no chunks to be told from what they hold.
            writer.write(f"GET {self.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{again}\r\n".encode())
            status = (await reader.readline()).split()
            if status[1:2] != [b"200"]:
                self.refusals += 1
                return
            while (await reader.readline()).strip():
                pass
            self.connections += 1
            place, data = self.last, b""
            while line := await reader.readline():
                quiet.reschedule(loop.time() + _QUIET)
                name, _, value = line.rstrip(b"\n").partition(b": ")
                if name == b"id":
                    place = value.decode()
                elif name == b"data":
                    data = value
                elif line == b"\n":  # as browsers do: an event that was cut off is none, and is asked for again
                    if data:
                        self._event(data)
                    self.last, data = place, b""
                    self.connected = True
                    more.set()
        finally:
            writer.close()

    def _event(self, data: bytes) -> None:
        found = _ID.search(data)
        assert found, data
        session, number = found[1], int(found[2])
        before = self.numbers.get(session)
        if before is not None and number != before + 1:
            self.repeats += number <= before
            self.gaps += number > before + 1
        self.numbers[session] = number
        self.digest.add(found[0][6:-1].decode())
        if said := _SAID.search(data):
            self.took.append((int(said[1]), monotonic_ns() - int(said[1])))


async def crowd(asked: dict[str, Any], orders: "asyncio.Queue[dict[str, Any]]") -> None:
    """Follow, say when all are connected, and when all have got what they should, or how many have not."""
    more = asyncio.Event()
    clients = [Client(f"/v1/sessions/{one}/events?from_sequence=1") for one in asked["sessions"]]
    everything = [Client("/v1/events") for _ in range(asked["everything"])]
    tasks = [asyncio.create_task(one.follow(asked["port"], more)) for one in (*clients, *everything)]
    try:
        await _until(lambda: all(one.connected for one in (*clients, *everything)), more, asked["patience"])
        _say({"connected": sum(one.connected for one in (*clients, *everything))})
        wanted = await orders.get()
        named = {one: Digest.told(wanted["sessions"][one]) for one in asked["sessions"]}
        of_all = Digest.told(wanted["everything"])
        pairs = [(one, named[name]) for one, name in zip(clients, asked["sessions"], strict=True)]
        pairs += [(one, of_all) for one in everything]
        await _until(lambda: all(one.digest.count >= right.count for one, right in pairs), more, asked["patience"])
        await asyncio.sleep(asked["settle"])  # what comes twice may come late
        _say(judged(pairs, len(everything), wanted["killed_ns"]))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def judged(pairs: "list[tuple[Client, Digest]]", everything: int, killed_ns: int) -> dict[str, Any]:
    """Return what clients got beside what they should have got. Times are of what was published before the kill."""
    clients = [one for one, _ in pairs]
    took = sorted(ns for one in clients for sent, ns in one.took if sent + ns < killed_ns)
    return {
        "clients": len(pairs),
        "of_everything": everything,
        "right": sum(one.digest == right for one, right in pairs),
        "short": sum(one.digest.count < right.count for one, right in pairs),
        "repeats": sum(one.repeats for one in clients),
        "gaps": sum(one.gaps for one in clients),
        "events": sum(one.digest.count for one in clients),
        "connections": sum(one.connections for one in clients),
        "came_back": sum(one.connections > 1 for one in clients),
        "refusals": sum(one.refusals for one in clients),
        "p50_ms": _at(took, 0.5),
        "p99_ms": _at(took, 0.99),
        "max_ms": _at(took, 1.0),
    }


def _at(took: list[int], share: float) -> float | None:
    return round(took[min(int(share * len(took)), len(took) - 1)] / 1e6, 1) if took else None


async def _until(so: Any, more: asyncio.Event, patience: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while not so() and loop.time() < end:
        more.clear()
        try:
            async with asyncio.timeout(1):
                await more.wait()
        except TimeoutError:
            continue
        await asyncio.sleep(0.1)


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Do as standard input says."""
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    asked = json.loads(await asyncio.to_thread(sys.stdin.readline))
    following = asyncio.create_task(crowd(asked, orders))
    if line := await asyncio.to_thread(sys.stdin.readline):
        await orders.put(json.loads(line))
    await following


if __name__ == "__main__":
    asyncio.run(main())
