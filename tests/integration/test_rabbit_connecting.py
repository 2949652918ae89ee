import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from yarl import URL

from agentbus.contracts.errors import BrokerRejected, BrokerUnavailable
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Consumer, Delivery
from agentbus.workers.bus.rabbit import RabbitBus
from tests.contract.bus_suite import SECONDS, message
from tests.endings.cutting import cut_everywhere
from tests.harness.patience import PATIENCE
from tests.services import LOOPBACK, free_port

TOPOLOGY = Topology(prefix="connecting", partitions=1)
QUEUE = TOPOLOGY.partition_queue(TOPOLOGY.all_partitions()[0])


async def start(url: str, **settings: float) -> None:
    bus = RabbitBus(url, TOPOLOGY, **settings)  # type: ignore[arg-type]  # each of these settings is a number
    try:
        await bus.start()
    finally:
        await bus.close()


async def test_a_wrong_password_is_refused_at_once(amqp_url: str) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerRejected, match="user or password") as caught:
        await start(str(URL(amqp_url).with_password("hunter2")), connect_timeout=60)
    assert time.monotonic() - began < 60  # as long as it waits for what may come
    assert "hunter2" not in str(caught.value)


async def test_an_unknown_virtual_host_is_refused_at_once(amqp_url: str) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerRejected, match="virtual host 'nowhere'"):
        await start(str(URL(amqp_url).with_path("/nowhere")), connect_timeout=60)
    assert time.monotonic() - began < 60  # as long as it waits for what may come


async def test_a_closed_port_is_waited_for_and_given_up() -> None:
    began = time.monotonic()
    with capture_logs() as lines, pytest.raises(BrokerUnavailable, match=r"gave up after 3 s: start it") as caught:
        await start(f"amqp://guest:hunter2@{LOOPBACK}:{free_port()}/", connect_timeout=3)
    assert 3 <= time.monotonic() - began < PATIENCE
    waiting = [line for line in lines if line["event"] == "broker_waiting"]
    assert len(waiting) == 1, "a line at once, then one a minute"
    assert 0 < waiting[0]["seconds_left"] <= 3
    assert "hunter2" not in str(lines)
    assert "hunter2" not in str(caught.value)


async def test_a_server_of_another_protocol_version_is_refused() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"AMQP\x00\x01\x00\x00")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(BrokerRejected, match="does not speak AMQP"):
            await start(f"amqp://guest:guest@{LOOPBACK}:{port}/", connect_timeout=5)


async def test_a_server_that_never_answers_is_given_up() -> None:
    answered = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(BrokerUnavailable):
            await start(f"amqp://guest:guest@{LOOPBACK}:{port}/", connect_timeout=0.5)
        answered.set()


async def test_closing_while_it_still_waits() -> None:
    bus = RabbitBus(f"amqp://guest:guest@{LOOPBACK}:{free_port()}/", TOPOLOGY, connect_timeout=60)
    starting = asyncio.create_task(bus.start())
    await asyncio.sleep(0)
    await bus.close()
    with pytest.raises((BrokerUnavailable, asyncio.CancelledError)):
        await starting


async def test_channel_numbers_are_used_again(amqp_url: str) -> None:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()
        queue = TOPOLOGY.ingress
        kept = [await bus.consume(queue, lambda _: None, prefetch=1) for _ in range(3)]
        for _ in range(30):
            await kept.pop(0).close()
            kept.append(await bus.consume(queue, lambda _: None, prefetch=1))
        assert max((await bus._in.connection()).channels) <= 4


async def test_cancelled_at_any_await_the_close_of_a_consumer_lets_go_of_its_queue(amqp_url: str) -> None:
    async with RabbitBus(amqp_url, TOPOLOGY) as bus:
        await bus.declare()

        @asynccontextmanager
        async def make(at: int) -> AsyncIterator[Consumer]:
            await bus.publish(TOPOLOGY.inbound, "0", message(at))
            first = asyncio.Event()
            taken: list[Delivery] = []

            def take(delivery: Delivery) -> None:
                taken.append(delivery)
                first.set()

            consumer = await bus.consume(QUEUE, take, prefetch=10)
            async with asyncio.timeout(SECONDS):
                await first.wait()
            await taken[0].ack()  # so that there is something to write first
            yield consumer

        async def then(_: Consumer) -> None:
            async with asyncio.timeout(SECONDS):  # the queue hears of it some time after the channel is closed
                while (await bus.depth(QUEUE)).consumers:
                    await asyncio.sleep(0.01)

        await cut_everywhere(make, lambda consumer: consumer.close(), then, least=1)
