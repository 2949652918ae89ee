"""Uses of the client that type checkers take, and the types that they find in them. Nothing here is run."""

from typing import assert_type

from agentbus.client import AgentBus, Receipt, SyncAgentBus, connect, connect_sync
from agentbus.contracts.commands import CloseSession, CommandReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.messages import InboundMessage


async def use(message: InboundMessage, conversation: ConversationId) -> None:
    async with connect("amqp://there/", prefix="other", partitions=4) as bus:
        assert_type(bus, AgentBus)
        receipt = await bus.publish(message)
        assert_type(receipt, Receipt)
        assert_type(receipt.input_id, InputId)
        assert_type(receipt.partition, Partition)
        assert_type(await bus.publish_many([message], input_ids=[None]), list[Receipt])
        assert_type(await bus.send(CloseSession(), to=conversation, timeout=1), CommandReply)

        @bus.on("session.message.*", "session.#", durable="mine")
        async def on_message(event: EventEnvelope) -> None:
            assert_type(event.id, str)

        await on_message(EventEnvelope.model_validate({}))
        await bus.run()


def use_blocking(message: InboundMessage) -> None:
    with connect_sync() as bus:
        assert_type(bus, SyncAgentBus)
        assert_type(bus.publish(message, input_id="mine"), Receipt)
        assert_type(bus.send(CloseSession(), command_id="mine"), CommandReply)
