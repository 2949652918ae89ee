"""Uses of the client that must be errors, to both type checkers; see sessions_wrong.py. Nothing here is run."""

from agentbus.client import AgentBus, Receipt, connect, connect_sync
from agentbus.contracts.commands import CloseSession
from agentbus.contracts.messages import InboundMessage


async def use(bus: AgentBus, message: InboundMessage, receipt: Receipt) -> None:
    await bus.publish("hello")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.publish(message, "mine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await bus.publish_many(message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.send(CloseSession(), to=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await bus.send(message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    receipt.partition = 3  # type: ignore[misc, assignment]  # pyright: ignore[reportAttributeAccessIssue]
    connect(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @bus.on("session.#")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType, reportUntypedFunctionDecorator]
    def not_async(event: object) -> None:
        del event

    with connect():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def use_blocking(message: InboundMessage) -> None:
    with connect_sync() as bus:
        bus.publish(message).again()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        bus.on("session.#")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
