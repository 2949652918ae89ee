import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.factory import open_bus
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.rabbit import RabbitBus

TOPOLOGY = Topology()


def test_memory() -> None:
    bus = open_bus("memory://", TOPOLOGY)
    assert isinstance(bus, MemoryBus)
    assert bus.topology is TOPOLOGY


@pytest.mark.parametrize("url", ["amqp://user:secret@broker:5672/vhost", "amqps://broker/"])
def test_rabbit(url: str) -> None:
    bus = open_bus(url, TOPOLOGY, publish_timeout=3, heartbeat=5)
    assert isinstance(bus, RabbitBus)


@pytest.mark.parametrize("url", ["redis://host/", "kafka:9092", "", "amqp://", "amqp://host:port/", "amqp:///vhost"])
def test_what_is_no_bus(url: str) -> None:
    with pytest.raises(ConfigurationError, match="bus"):
        open_bus(url, TOPOLOGY)


PASSWORDS = ["hunter2", "hunter2/x", "x/hunter2", "1/hunter2", "hunter2?", "#hunter2", "@/hunter2"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_the_password_is_not_told(password: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_bus(f"amqp://user:{password}@host:port/", TOPOLOGY)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)
