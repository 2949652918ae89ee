"""`agentbus publish`: one message, by hand."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer
from pydantic import ValidationError

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import print_fields, print_json
from agentbus.client import AgentBus
from agentbus.composition.app import sending
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.settings import Settings


@connecting("amqp", "prefix", "partitions", "scope", "wait")
async def publish(
    text: Annotated[str, typer.Argument(help="What is said.")],
    chat: Annotated[str, typer.Option(help="The chat it is said in.")] = "first-chat",
    user: Annotated[str, typer.Option(help="Who says it.")] = "me",
    platform: Annotated[
        Platform, typer.Option(parser=options.platform_of, metavar="WORD", help="The platform it comes from.")
    ] = Platform.API,
    message_id: Annotated[
        str | None, typer.Option(help="The platform's id: the same id again changes nothing. [default: a new one]")
    ] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Publish one chat message, confirmed by the broker.

    Example: `agentbus publish "hello" --chat lobby --user ada`, then `agentbus sessions list`.
    """
    try:
        message = InboundMessage(
            address=Address(platform=platform, chat=chat, user=user),
            message_id=message_id or uuid4().hex,
            sent_at=datetime.now(UTC),
            content=TextContent(text=text),
        )
    except ValidationError as error:
        raise SchemaViolation("; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())) from None
    async with sending(settings) as bus:
        receipt = await AgentBus(bus, scope=settings.session.scope).publish(message)
    fields = {
        "confirmed": True,
        "input_id": receipt.input_id,
        "conversation_id": receipt.conversation_id,
        "partition": receipt.partition,
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
