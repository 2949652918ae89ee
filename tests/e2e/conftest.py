"""A distributed AgentBus: broker, store, and workers as processes of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.processes import Program, running_worker

PARTITIONS = "8"


@dataclass
class Distributed:
    """Where everything is, and the means to start workers."""

    amqp_url: str
    store_url: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "AGENTBUS_AMQP_URL": self.amqp_url,
            "AGENTBUS_STORE_URL": self.store_url,
            "AGENTBUS_PARTITIONS": PARTITIONS,
        }

    def worker(self, kind: str = "session") -> Iterator[Program]:
        """Start a worker and wait until it takes inputs."""
        with running_worker(kind, folder=self.folder, env=self.env) as program:
            yield program


@pytest.fixture
def distributed(amqp_url: str, mongo_url: str, tmp_path: Path) -> Distributed:
    return Distributed(amqp_url, mongo_url, tmp_path)


@pytest.fixture
def session_worker(distributed: Distributed) -> Iterator[Program]:
    yield from distributed.worker()


@pytest.fixture
def ingress_worker(distributed: Distributed) -> Iterator[Program]:
    yield from distributed.worker("ingress")
