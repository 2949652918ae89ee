"""Publishing a message and hearing of its commit: by HTTP, and by AMQP as a client in Python does, turn by turn.

Both wait for the same answer of the same session worker, on MongoDB; one message after the other, on one connection
each. What HTTP costs is the difference.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import uuid4

from agentbus.composition.app import make_bus
from agentbus.contracts.address import Address, Platform, Scope
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.settings import load_settings
from agentbus.workers.delivery.inputs import Inputs
from tests.benchmarks.api.sizes import Sizes
from tests.harness.figures import milliseconds, percentile
from tests.harness.processes import running_worker
from tests.harness.stores import empty_store
from tests.services import LOOPBACK, RabbitMQ, free_port

STORE: Final = "mongodb"
_SOURCE: Final = "/agentbus/benchmarks"
_USERS: Final = 50
_WAIT: Final = 10.0

Publish = Callable[[InboundMessage], Awaitable[None]]


async def measure_commits(broker: RabbitMQ, sizes: Sizes, folder: Path) -> dict[str, dict[str, float]]:
    """Return what a message takes by each way: p50 and p99, in ms."""
    with ExitStack() as stack:
        place = folder / "commits"
        place.mkdir()
        settings: dict[str, Any] = {
            "amqp_url": stack.enter_context(broker.fresh_vhost()),
            "store_url": stack.enter_context(empty_store(STORE, place)),
            "partitions": 4,
        }
        port = free_port()
        env = {f"AGENTBUS_{name.upper()}": str(value) for name, value in settings.items()}
        env |= {"AGENTBUS_API_PORT": str(port), "AGENTBUS_API_RATE": "100000"}
        for kind in ("session", "api"):
            stack.enter_context(running_worker(kind, folder=place, env=env))
        connection = HTTPConnection(LOOPBACK, port, timeout=2 * _WAIT)
        stack.callback(connection.close)
        async with make_bus(load_settings(**settings)) as bus:
            inputs = Inputs(bus, scope=Scope.PER_CHAT_USER, source=_SOURCE)
            ways: dict[str, Publish] = {"amqp": _by_amqp(inputs), "http": _by_http(connection)}
            return await _in_turns(ways, sizes)


async def _in_turns(ways: dict[str, Publish], sizes: Sizes) -> dict[str, dict[str, float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    numbers = count()
    for number in range(-1, sizes.rounds):
        for name, publish in list(ways.items())[:: 1 if number % 2 else -1]:
            for _ in range(sizes.publishes):
                message = _message(next(numbers))
                await asyncio.sleep(0)  # By HTTP nothing else would have its turn: no heartbeat either.
                begun = perf_counter()
                await publish(message)
                if number >= 0:  # the first round is for warming up
                    took[name].append(perf_counter() - begun)
    return {
        name: {"p50": milliseconds(percentile(all_of, 50)), "p99": milliseconds(percentile(all_of, 99))}
        for name, all_of in took.items()
    }


def _message(number: int) -> InboundMessage:
    user = f"user-{number % _USERS}"
    address = Address(platform=Platform.WEB, chat="lobby", user=user)
    content = TextContent(text=f"message {number} of {user}, as long as people write")
    return InboundMessage(address=address, message_id=uuid4().hex, sent_at=datetime.now(UTC), content=content)


def _by_amqp(inputs: Inputs) -> Publish:
    async def publish(message: InboundMessage) -> None:
        envelope = InputEnvelope(id=message.input_id(), source=_SOURCE, time=message.sent_at, data=message)
        reply = await inputs.request(envelope, timeout=_WAIT)
        assert reply.session_id, reply

    return publish


def _by_http(connection: HTTPConnection) -> Publish:
    async def publish(message: InboundMessage) -> None:
        connection.request("POST", "/v1/messages", message.model_dump_json(include=_TOLD), _JSON)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert (answer.status, told["committed"]) == (200, True), told

    return publish


_TOLD: Final = {"address", "message_id", "sent_at", "content"}
_JSON: Final = {"Content-Type": "application/json"}
