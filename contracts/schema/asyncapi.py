"""The AsyncAPI 3.0 document: where AgentBus takes inputs, and where it announces events.

Sources: the AsyncAPI 3.0.0 specification; its AMQP 0-9-1 bindings, version 0.3.0. As there, `receive` and `send` are
what the described application, AgentBus, does; who talks to it does the opposite. The partition queues, however many,
are one channel with a parameter.
"""

from typing import Any, Final

from agentbus.contracts.address import Platform
from agentbus.contracts.envelope import SCHEMA_VERSION
from agentbus.contracts.events import topics
from agentbus.contracts.ids import partition_for
from agentbus.contracts.messages import Role
from agentbus.contracts.schema.components import messages, schemas
from agentbus.contracts.schema.samples import CONVERSATION
from agentbus.contracts.topology import DEFAULT_PARTITIONS, Topology

ASYNCAPI_VERSION: Final = "3.0.0"
BINDING_VERSION: Final = "0.3.0"

_TOPOLOGY: Final = Topology()
_PARTITION: Final = (
    "crc32(conversation id) % partitions, in decimal: CRC-32 as in zlib, gzip and PNG (ISO 3309) over the ASCII bytes "
    f"of the id. Every party needs the same number of partitions: {DEFAULT_PARTITIONS} unless the operator set another."
)
_DESCRIPTION: Final = (
    "Publish chat messages and commands, subscribe to what happens to sessions. Publish persistent and mandatory, with "
    "confirms; a publish without a confirm is retried with the same id. Events come at least once: drop repeats by "
    "`id`, find gaps by `sequence`, and pass over properties, kinds and values you do not know."
)


def asyncapi() -> dict[str, Any]:
    """Return the document, newly generated, with the names that AgentBus uses unless told otherwise."""
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": "AgentBus", "version": SCHEMA_VERSION, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"broker": _server()},
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": messages(), "schemas": schemas()},
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{host}:{port}",
        "pathname": "/{vhost}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "RabbitMQ 3.10 to 4.x, without plugins.",
        "variables": {
            "host": {"default": "localhost", "description": "The broker's host name."},
            "port": {"default": "5672", "description": "5671 with TLS (amqps)."},
            "vhost": {"default": "", "description": "The virtual host, percent-encoded; empty for the default one."},
        },
    }


def _channels() -> dict[str, Any]:
    return {
        "ingress": _channel(
            _TOPOLOGY.ingress,
            _TOPOLOGY.ingress,
            ["input"],
            "Chat messages of publishers that don't compute partitions; AgentBus passes them on, and parks anything "
            "else as `untrusted_sender`. Any routing key will do.",
        ),
        "inbound": _channel(
            "{partition}",
            _TOPOLOGY.inbound,
            ["input"],
            "Inputs of a conversation, in order. Needs `partitionkey`, or a conversation found as AgentBus does. "
            "Commands and queries may need the AMQP property user_id, of a user that the installation lists.",
        )
        | {"parameters": {"partition": _partition()}},
        "events": _channel(
            "session.{what}.{platform}",
            _TOPOLOGY.events,
            ["event"],
            "What happened to sessions. Bind a queue of your own; `session.#` is everything, also what is no event, to "
            "be passed over by its type (`agentbus.writing.v1`: a reply while it is being written).",
        )
        | {"parameters": {"what": _what(), "platform": _platform()}},
        "parked": _channel(
            _TOPOLOGY.parked,
            _TOPOLOGY.parked,
            ["refused"],
            "Inputs that failed for good, on their way into AgentBus's record of them. For its own workers.",
        ),
        "replies": {
            "address": None,
            "description": "Where the caller asked for the reply: RabbitMQ's direct reply-to, or its own queue named "
            f"`{_TOPOLOGY.reply_queue('...')}`; a reply goes nowhere else.",
            "messages": {"reply": {"$ref": "#/components/messages/reply"}},
        },
    }


def _channel(address: str, exchange: str, carried: list[str], description: str) -> dict[str, Any]:
    kinds = {declared.name: declared.type for declared in _TOPOLOGY.exchanges()}
    settings = {"name": exchange, "type": kinds[exchange], "durable": True, "autoDelete": False, "vhost": "/"}
    return {
        "address": address,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in carried},
        "bindings": {"amqp": {"is": "routingKey", "exchange": settings, "bindingVersion": BINDING_VERSION}},
    }


def _partition() -> dict[str, Any]:
    return {"description": _PARTITION, "examples": [str(partition_for(CONVERSATION, DEFAULT_PARTITIONS))]}


def _what() -> dict[str, Any]:
    return {
        "description": f"What happened; `reply` is a message of the role {Role.ASSISTANT}, `copied` one from a linked "
        "session, `message` any other.",
        "enum": topics(),
    }


def _platform() -> dict[str, Any]:
    return {
        "description": "The session's platform, `none` without one. A word that you do not know is one as well.",
        "examples": [*Platform, "none"],
    }


def _operations() -> dict[str, Any]:
    """Return what AgentBus does, and what it answers. A reply comes only where the AMQP property reply_to is set."""
    reply = {
        "address": {
            "location": "$message.header#/reply_to",
            "description": "The AMQP property reply_to of what is answered.",
        },
        "channel": {"$ref": "#/channels/replies"},
        "messages": [{"$ref": "#/channels/replies/messages/reply"}],
    }
    return {
        "takeInput": _operation("receive", "inbound", "input", "Take a message or command of a partition.")
        | {"reply": reply},
        "routeInput": _operation("receive", "ingress", "input", "Take a chat message and find its partition.")
        | {"reply": reply},
        "announceEvent": _operation("send", "events", "event", "Announce an event after it was committed."),
        "parkInput": _operation("send", "parked", "refused", "Take an input that failed for good out of the flow."),
        "recordParked": _operation("receive", "parked", "refused", "Move a parked input into the store."),
    }


def _operation(action: str, channel: str, message: str, summary: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }
    # deliveryMode 2 is persistent; acknowledgements are the consumer's.
    settings = {"deliveryMode": 2, "mandatory": channel != "events"} if action == "send" else {"ack": True}
    return operation | {"bindings": {"amqp": settings | {"bindingVersion": BINDING_VERSION}}}
