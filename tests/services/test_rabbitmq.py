"""The private broker: it can be killed, restarted and frozen, and keeps what it must."""

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, urlsplit

import aio_pika
import pytest

from tests.services import LocalRabbitMQ, RabbitMQ, ServiceError
from tests.services.node import RabbitNode
from tests.services.rabbitmq import answers_amqp
from tests.services.test_services import gone


async def publish(url: str, queue: str, body: bytes) -> None:
    """Publish with confirm to a durable queue, which is declared first."""
    async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue, timeout=10)


async def take(url: str, queue: str) -> bytes:
    """Get one message from a queue that must exist."""
    async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
        found = await channel.get_queue(queue, ensure=True)
        message = await found.get(timeout=10, no_ack=True)
        return message.body


@pytest.fixture
def local(mortal_rabbitmq: RabbitMQ) -> Iterator[LocalRabbitMQ]:
    if isinstance(mortal_rabbitmq, LocalRabbitMQ):
        yield mortal_rabbitmq.start()
    else:
        with LocalRabbitMQ() as own:
            yield own


@pytest.fixture(scope="module")
def steady(rabbitmq: RabbitMQ) -> Iterator[LocalRabbitMQ]:
    """Give a broker of local programs that goes on: the run's own one, if it is that, or one for these tests."""
    if isinstance(rabbitmq, LocalRabbitMQ):
        yield rabbitmq
    else:
        with LocalRabbitMQ() as own:
            yield own


async def test_a_killed_broker_keeps_a_durable_queue_on_the_same_port(local: LocalRabbitMQ) -> None:
    broker, url = local, local.url
    with broker.lasting_vhost() as deleted:
        await publish(deleted, "orders", b"gone")
    with broker.lasting_vhost() as left:
        await publish(left, "orders", b"kept")
        await asyncio.to_thread(broker.sync)
        await asyncio.to_thread(broker.kill)
        with pytest.raises(ConnectionError):
            await aio_pika.connect(left, timeout=5)
    await asyncio.to_thread(broker.start)
    assert broker.url == url
    assert await take(left, "orders") == b"kept"
    there = broker.ctl("list_vhosts").split()
    assert [unquote(urlsplit(one).path.strip("/")) in there for one in (left, deleted)] == [True, False]


async def test_a_paused_broker_does_not_answer_and_start_resumes_it(
    local: LocalRabbitMQ, steady: LocalRabbitMQ
) -> None:
    local.pause()
    assert local.running
    assert not local.ready()
    pid = local.start().pid
    assert local.ready()
    assert local.epmd_pid == steady.epmd_pid  # brokers run side by side
    local.stop()
    assert gone(pid)
    assert not answers_amqp("127.0.0.1", local.port)


@pytest.mark.parametrize("deleted_nonetheless", [False, True])
def test_a_virtual_host_that_the_broker_fails_to_delete_is_deleted_again(
    steady: LocalRabbitMQ, monkeypatch: pytest.MonkeyPatch, *, deleted_nonetheless: bool
) -> None:
    attempts: list[str] = []

    def fail_once(name: str) -> None:
        attempts.append(name)
        if len(attempts) > 1 or deleted_nonetheless:
            LocalRabbitMQ.delete_vhost(steady, name)
        if len(attempts) == 1:
            message = "the leader is shutting down"
            raise ServiceError(message)

    monkeypatch.setattr(steady, "delete_vhost", fail_once)
    with steady.fresh_vhost() as url:
        name = unquote(urlsplit(url).path.strip("/"))
    assert attempts == [name, name]
    monkeypatch.undo()
    with pytest.raises(ServiceError, match="no_such_vhost"):
        steady.delete_vhost(name)


def test_a_virtual_host_that_can_not_be_deleted_is_an_error(
    steady: LocalRabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.services.rabbitmq._REMOVAL_SECONDS", 0.0)

    def fail(_name: str) -> None:
        message = "the leader is shutting down"
        raise ServiceError(message)

    with monkeypatch.context() as patch, pytest.raises(ServiceError, match="leader"), steady.fresh_vhost() as url:
        patch.setattr(steady, "delete_vhost", fail)
    steady.delete_vhost(unquote(urlsplit(url).path.strip("/")))


async def test_each_virtual_host_is_new_and_is_deleted(rabbitmq: RabbitMQ) -> None:
    with rabbitmq.fresh_vhost() as first, rabbitmq.fresh_vhost() as second:
        await publish(first, "orders", b"1")
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await take(second, "orders")
    left = rabbitmq.ctl("list_vhosts")
    assert not any(urlsplit(url).path.strip("/") in left for url in (first, second))


async def test_the_fixture_gives_a_usable_virtual_host(amqp_url: str) -> None:
    await publish(amqp_url, "orders", b"1")
    assert await take(amqp_url, "orders") == b"1"


def test_what_rabbitmqctl_and_erlang_refuse_is_an_error(steady: LocalRabbitMQ) -> None:
    with pytest.raises(ServiceError, match=r"rabbitmqctl.*failed"):
        steady.ctl("no_such_command")
    with pytest.raises(ServiceError, match="nobody"):
        steady.told.evaluate('throw(<<"nobody">>)', lambda: True)


def test_a_node_that_does_not_answer_in_time_is_asked_again(
    steady: LocalRabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fail_once(node: RabbitNode, command: Sequence[str], stdin: str = "") -> str:
        asked.append(stdin)
        if len(asked) == 1:
            message = "erl_call: failed to connect to node"
            raise ServiceError(message)
        return run(node, command, stdin)

    run = RabbitNode._run
    monkeypatch.setattr(RabbitNode, "_run", fail_once)
    steady.sync()
    assert len(asked) == 2
    monkeypatch.setattr("tests.services.node._CONNECTING_SECONDS", 0.0)
    asked.clear()
    with pytest.raises(ServiceError, match="failed to connect"):
        steady.sync()
