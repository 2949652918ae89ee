"""Fixtures for all tests: the services. A service that is missing is an error, never a skip."""

from collections.abc import Iterator

import pytest

from tests.services import MongoDB, RabbitMQ, shared_mongodb, shared_rabbitmq


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """Start the run's broker for the first test that asks. Use `amqp_url` unless you need the broker itself."""
    with shared_rabbitmq() as service:
        yield service


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """Make a new virtual host, deleted after the test, and give its URL."""
    with rabbitmq.fresh_vhost() as url:
        yield url


@pytest.fixture(scope="session")
def mongodb() -> Iterator[MongoDB]:
    """Start the run's MongoDB server for the first test that asks. Use `mongo_url` unless you need it itself."""
    with shared_mongodb() as service:
        yield service


@pytest.fixture
def mongo_url(mongodb: MongoDB) -> Iterator[str]:
    """Give the URL of a database of an unused name, dropped after the test."""
    with mongodb.fresh_database() as url:
        yield url
