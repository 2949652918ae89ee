"""Servers for tests that start whole systems."""

from collections.abc import Iterator

import pytest

from tests.harness.system.backends import Services
from tests.services import MongoDB, RabbitMQ


@pytest.fixture(scope="module")
def private_services() -> Iterator[Services]:
    """Give a broker and a store that the module's tests may break."""
    with Services() as started:
        with started.fresh():
            pass  # started now, they are the module's; later they would be what the first test left behind
        yield started


@pytest.fixture
def steady_services(rabbitmq: RabbitMQ, mongodb: MongoDB) -> Services:
    """Give the run's broker and store, for tests that break neither."""
    return Services.on(rabbitmq, mongodb)
