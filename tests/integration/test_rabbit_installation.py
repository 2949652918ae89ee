"""What a client without rights on the broker, and a store of its own, can find out about the installation."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest

from agentbus.contracts.address import Scope
from agentbus.contracts.errors import BrokerRejected, InstallationMismatch
from agentbus.contracts.ids import Partition
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus
from tests.services import RabbitMQ
from tests.services.rabbitmq import adding_user, deleting_user, permitting

THERE = Topology(partitions=5, scope=Scope.PER_CHAT)
PUBLISHER = "least-privilege-publisher"


@pytest.fixture
async def declared(amqp_url: str) -> AsyncIterator[RabbitBus]:
    async with RabbitBus(amqp_url, THERE) as bus:
        await bus.declare()
        yield bus


@pytest.fixture
def publisher_url(amqp_url: str, rabbitmq: RabbitMQ) -> Iterator[str]:
    """Make a user that may publish inputs, and nothing else."""
    parts = urlsplit(amqp_url)
    rabbitmq.evaluate(adding_user(PUBLISHER, "secret"))
    rabbitmq.evaluate(permitting(parts.path.removeprefix("/"), PUBLISHER, "^$", r"^agentbus\.inbound$", "^$"))
    yield parts._replace(netloc=f"{PUBLISHER}:secret@{parts.hostname}:{parts.port}").geturl()
    rabbitmq.evaluate(deleting_user(PUBLISHER))


async def test_a_publisher_without_rights_is_told_what_the_installation_has(
    publisher_url: str, declared: RabbitBus
) -> None:
    async with RabbitBus(publisher_url, THERE) as bus:
        await bus.check()
        await bus.publish(THERE.inbound, THERE.routing_key(Partition(4)), Message(body=b"1", message_id="1"))
        with pytest.raises(BrokerRejected):
            await bus.declare()
    here = Topology(partitions=64)
    async with RabbitBus(publisher_url, here) as bus:
        with pytest.raises(InstallationMismatch) as caught:
            await bus.check()
        assert (caught.value.details["there"], caught.value.details["here"]) == ("5.per_chat", "64.per_chat_user")
        assert "AGENTBUS_PARTITIONS=5 and AGENTBUS_SCOPE=per_chat" in str(caught.value)
        await declared.close_intake(7)
        with pytest.raises(InstallationMismatch, match=r"other than 64 partitions .* or they are just being changed"):
            await bus.check()


async def test_nothing_declared_yet_is_no_mismatch(amqp_url: str) -> None:
    async with RabbitBus(amqp_url, THERE) as bus:
        await bus.check()
        await bus.check()
    async with RabbitBus(amqp_url, Topology()) as bus:
        await bus.declare()


async def test_an_exchange_that_somebody_else_declared_is_no_installation(amqp_url: str) -> None:
    async with RabbitBus(amqp_url, THERE) as bus:
        channel = await bus._in.channel()
        await channel.exchange_declare(THERE.installation, exchange_type="fanout", durable=True)
        with pytest.raises(InstallationMismatch, match="delete it if it was not AgentBus that declared it"):
            await bus.declare()
