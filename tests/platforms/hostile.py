"""`python -m tests.platforms.hostile 100000`: so many hostile requests to a gateway with all channels.

Of each: a wrong signature, a right one from too long ago or under garbage, a body with anything anywhere in it, one
that is huge or nested deep, an account, a path or a method that there is not. Each is accounted for; the last line is
JSON.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import httpx

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.messages import InboundMessage, UnsupportedContent
from agentbus.contracts.topology import Topology
from agentbus.testing.adapters import mutated
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.adapters.port import Request
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.intake import Intake
from tests.platforms.samples import SAMPLES

NOON: Final = datetime(2025, 11, 27, 12, tzinfo=UTC)
MOST: Final = 50_000
"""Bytes of the largest body that is taken here."""

_AT_ONCE: Final = 20


class Noon(Clock):
    def now(self) -> datetime:
        return NOON


class Reading(Inputs):
    """Reads all that is published as its consumers do; raises if one can't be read."""

    published = 0
    not_read = 0
    """Requests that an adapter failed to read."""

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:  # noqa: ARG002 - it is not slow
        for one in left:
            data = InputEnvelope.from_bytes(one.message.body).data
            assert isinstance(data, InboundMessage)
            self.not_read += isinstance(data.content, UnsupportedContent) and data.content.what == "not read"
        self.published += len(left)


def requests(chance: Random) -> Iterator[tuple[str, Request]]:
    """Yield paths and requests, for ever."""
    while True:
        name = chance.choice(list(SAMPLES))
        sample = SAMPLES[name]
        path, body = f"/channels/{name}/bot", json.dumps(mutated(chance.choice(sample.bodies), chance)).encode()
        match chance.randrange(12):
            case 0:
                request = Request(body=body, received_at=NOON)
            case 1:
                request = sample.signed(chance.randbytes(chance.randrange(300)), NOON)
            case 2:
                request = sample.signed(body, NOON + timedelta(seconds=chance.randrange(-(10**6), 10**6)))
            case 3:
                right = sample.signed(body, NOON)
                request = replace(right, body=right.body[: chance.randrange(len(right.body) + 1)])
            case 4:
                right = sample.signed(body, NOON)
                headers = {
                    key: _junk(chance) if chance.random() < 0.5 else value for key, value in right.headers.items()
                }
                request = replace(right, headers=headers)
            case 5:
                request = sample.signed(b"[" * chance.randrange(MOST), NOON)
            case 6:
                request = sample.signed(b'{"a": "' + b"x" * chance.randrange(3 * MOST) + b'"}', NOON)
            case 7:
                path = chance.choice(
                    ("/channels", "/channels/x", f"/channels/{name}/other", f"{path}/more", "/%00/é", "//")
                )
                request = sample.signed(body, NOON)
            case 8:
                request = replace(sample.signed(body, NOON), method=chance.choice(("GET", "PUT", "DELETE", "HEAD")))
            case _:
                request = sample.signed(body, NOON)
        yield path, request


def _junk(chance: Random) -> str:
    return "".join(chr(chance.choice((chance.randrange(32, 127), chance.randrange(160, 256)))) for _ in range(9))


async def attack(count: int, seed: int = 15) -> dict[str, Any]:
    """Send so many, and return what became of them."""
    metrics, chance = WorkerMetrics(), Random(seed)
    async with MemoryBus(Topology(partitions=4)) as bus:
        inputs = Reading(bus)
        accounts = accounts_in({name: {"bot": sample.account} for name, sample in SAMPLES.items()})
        gateway = Gateway(
            Intake(inputs, accounts, rate=1e9, metrics=metrics), clock=Noon(), max_body=MOST, metrics=metrics
        )
        statuses: Counter[int] = Counter()
        transport = httpx.ASGITransport(gateway.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def send(path: str, request: Request) -> None:
                headers = [(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()]
                answered = await client.request(request.method, path, content=request.body, headers=headers)
                statuses[answered.status_code] += 1

            made = requests(chance)
            for begun in range(0, count, _AT_ONCE):
                some = [next(made) for _ in range(min(_AT_ONCE, count - begun))]
                await asyncio.gather(*(send(*one) for one in some))
    [counted] = metrics.channel_requests.collect()
    outcomes = {one.labels["outcome"]: int(one.value) for one in counted.samples if one.name.endswith("_total")}
    [said] = metrics.channel_events.collect()
    events = {one.labels["what"]: int(one.value) for one in said.samples if one.name.endswith("_total")}
    return {
        "requests": count,
        "statuses": dict(sorted(statuses.items())),
        "outcomes": outcomes,
        "events": events,
        "published": inputs.published,
        "not_read": inputs.not_read,
        "failed": sum(number for status, number in statuses.items() if status >= 500),
        "unaccounted": count - sum(statuses.values()),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(attack(int(sys.argv[1])))))  # noqa: T201 - it is a program
