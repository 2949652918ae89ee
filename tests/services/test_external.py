"""Services given by environment variables, against a broker with the management plugin."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import aio_pika
import pytest

from tests.services import (
    LOOPBACK,
    LocalRabbitMQ,
    MongoDB,
    NotOurs,
    ServiceError,
    StartFailed,
    external,
    free_port,
    shared_mongodb,
    shared_rabbitmq,
)


@pytest.fixture(scope="module")
def managed() -> Iterator[tuple[LocalRabbitMQ, str]]:
    """Start a broker with its management API, and give both."""
    port = free_port()
    config = {"management.tcp.ip": LOOPBACK, "management.tcp.port": str(port)}
    with LocalRabbitMQ(plugins=["rabbitmq_management"], config=config) as broker:
        yield broker, f"http://guest:guest@{LOOPBACK}:{port}"


async def test_virtual_hosts_come_from_the_management_api(
    managed: tuple[LocalRabbitMQ, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker, api = managed
    monkeypatch.setenv(external.AMQP_URL, broker.url)
    monkeypatch.setenv(external.AMQP_API_URL, api)
    with shared_rabbitmq() as service, service.fresh_vhost() as url:
        async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
            await channel.declare_queue("orders")
        name = urlsplit(url).path.strip("/")
        assert name in broker.ctl("list_vhosts")
    assert broker.running
    assert name not in broker.ctl("list_vhosts")


def test_a_refusal_of_the_management_api_is_an_error(managed: tuple[LocalRabbitMQ, str]) -> None:
    broker, api = managed
    service = external.ExternalRabbitMQ(broker.url, api.replace("guest:guest", "guest:wrong"))
    with pytest.raises(ServiceError, match="PUT /api/vhosts/x: 401"):
        service.create_vhost("x")


def test_a_missing_management_api_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.AMQP_URL, "amqp://127.0.0.1:1/")
    monkeypatch.delenv(external.AMQP_API_URL, raising=False)
    with pytest.raises(ServiceError, match="AGENTBUS_TEST_AMQP_API_URL is not"):
        shared_rabbitmq()
    unreachable = external.ExternalRabbitMQ("amqp://127.0.0.1:1/", f"http://{LOOPBACK}:{free_port()}")
    with pytest.raises(ServiceError, match="ConnectionRefused"):
        unreachable.delete_vhost("x")


def test_a_service_that_is_not_ours_is_never_stopped(mongodb: MongoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.MONGO_URL, mongodb.url)
    with shared_mongodb() as service:
        for forbidden in (service.stop, service.kill, service.pause, service.resume):
            with pytest.raises(NotOurs, match="AGENTBUS_TEST_MONGO_URL"):
                forbidden()
    broker = external.ExternalRabbitMQ("amqp://127.0.0.1:1/", "http://127.0.0.1:1")
    with pytest.raises(NotOurs, match="rabbitmqctl stop"):
        broker.ctl("stop")


def test_a_service_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "_START_SECONDS", 0.2)
    with pytest.raises(StartFailed, match=external.MONGO_URL):
        external.ExternalMongoDB(f"mongodb://{LOOPBACK}:{free_port()}/").start()
    with pytest.raises(StartFailed, match=external.AMQP_URL):
        external.ExternalRabbitMQ(f"amqp://{LOOPBACK}:{free_port()}/", "http://x").start()
