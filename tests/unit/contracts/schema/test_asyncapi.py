"""The AsyncAPI document, held to the rules of AsyncAPI 3.0.0 for the parts that it uses.

No validator for AsyncAPI 3 is to be had from the package index, so the rules are written out here.
"""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]  # it ships no types

from agentbus.contracts.address import Platform
from agentbus.contracts.envelope import CONTENT_TYPE
from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.messages import Role
from agentbus.contracts.schema import asyncapi
from agentbus.contracts.schema.samples import EVENT
from agentbus.contracts.topology import Topology
from tests.harness.schemas import schema_of

_DOCUMENT = asyncapi()
_CHANNELS: dict[str, Any] = _DOCUMENT["channels"]
_OPERATIONS: dict[str, Any] = _DOCUMENT["operations"]
_MESSAGES: dict[str, Any] = _DOCUMENT["components"]["messages"]
_EXAMPLES = [
    pytest.param(name, example["payload"], id=f"{name}-{example['name']}")
    for name, message in _MESSAGES.items()
    for example in message.get("examples", ())
]

_FIELDS = {
    "document": {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"},
    "server": {"host", "protocol", "protocolVersion", "pathname", "description", "title", "variables", "bindings"},
    "channel": {"address", "messages", "title", "summary", "description", "servers", "parameters", "bindings"},
    "parameter": {"enum", "default", "description", "examples", "location"},
    "operation": {"action", "channel", "title", "summary", "description", "bindings", "messages", "reply"},
    "message": {"headers", "payload", "correlationId", "contentType", "name", "title", "summary", "description"}
    | {"bindings", "examples"},
    "channel binding": {"is", "exchange", "queue", "bindingVersion"},
    "exchange": {"name", "type", "durable", "autoDelete", "vhost"},
    "operation binding": {"expiration", "userId", "cc", "priority", "deliveryMode", "mandatory", "bcc", "timestamp"}
    | {"ack", "bindingVersion"},
}
"""The fields that the specification knows, by kind of object."""


def _resolve(reference: str) -> Any:
    assert reference.startswith("#/")
    node: Any = _DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def test_it_has_what_every_document_needs() -> None:
    assert _DOCUMENT["asyncapi"] == "3.0.0"
    assert _DOCUMENT["info"].keys() >= {"title", "version"}
    assert _DOCUMENT.keys() <= _FIELDS["document"]


def test_all_references_lead_somewhere() -> None:
    references = set(_references(_DOCUMENT))
    assert references
    for reference in references:
        assert isinstance(_resolve(reference), dict), reference


def test_names_of_components_are_allowed() -> None:
    for components in _DOCUMENT["components"].values():
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in components)


def test_every_variable_of_a_server_is_declared() -> None:
    for server in _DOCUMENT["servers"].values():
        assert server.keys() <= _FIELDS["server"]
        used = set(re.findall(r"{(\w+)}", server["host"] + server["pathname"]))
        assert used == server["variables"].keys()


@pytest.mark.parametrize("channel", _CHANNELS.values(), ids=_CHANNELS.keys())
def test_a_channel_declares_its_parameters_and_exchange(channel: dict[str, Any]) -> None:
    assert channel.keys() <= _FIELDS["channel"]
    parameters = channel.get("parameters", {})
    assert set(re.findall(r"{(\w+)}", channel["address"] or "")) == parameters.keys()
    for parameter in parameters.values():
        assert parameter.keys() <= _FIELDS["parameter"]
    for binding in channel.get("bindings", {}).values():
        assert binding.keys() <= _FIELDS["channel binding"]
        assert binding["exchange"].keys() == _FIELDS["exchange"]
        assert binding["bindingVersion"] == "0.3.0"


def test_all_exchanges_of_the_topology_are_described_as_they_are_declared() -> None:
    described = {
        (exchange["name"], exchange["type"], exchange["durable"])
        for channel in _CHANNELS.values()
        if (exchange := channel.get("bindings", {}).get("amqp", {}).get("exchange"))
    }
    assert described == {(exchange.name, exchange.type, True) for exchange in Topology().exchanges()}


@pytest.mark.parametrize("operation", _OPERATIONS.values(), ids=_OPERATIONS.keys())
def test_an_operation_uses_messages_of_its_channel(operation: dict[str, Any]) -> None:
    assert operation.keys() <= _FIELDS["operation"]
    assert operation["action"] in {"send", "receive"}
    assert operation["bindings"]["amqp"].keys() <= _FIELDS["operation binding"]
    for part in (operation, operation.get("reply")):
        if part:
            channel = part["channel"]["$ref"]
            assert re.fullmatch(r"#/channels/\w+", channel)
            assert part["messages"]
            assert all(message["$ref"].startswith(f"{channel}/messages/") for message in part["messages"])


def test_a_reply_goes_where_the_request_says() -> None:
    replies = [operation["reply"] for operation in _OPERATIONS.values() if "reply" in operation]
    assert len(replies) == 2
    for reply in replies:
        assert reply["address"]["location"].startswith("$message.header#/")
        assert _resolve(reply["channel"]["$ref"])["address"] is None


def test_every_channel_and_message_is_used() -> None:
    used = set(_references(_OPERATIONS))
    assert {f"#/channels/{name}" for name in _CHANNELS} <= used
    carried = {_resolve(reference)["$ref"] for reference in used if "/messages/" in reference}
    assert carried == {f"#/components/messages/{name}" for name in _MESSAGES}


@pytest.mark.parametrize("name", _MESSAGES)
def test_a_message_has_known_fields_and_a_content_type(name: str) -> None:
    message = _MESSAGES[name]
    assert message.keys() <= _FIELDS["message"]
    assert message.get("contentType", _DOCUMENT["defaultContentType"]) == (
        "application/json" if name == "reply" else CONTENT_TYPE
    )


@pytest.mark.parametrize(("name", "payload"), _EXAMPLES)
def test_examples_are_valid(name: str, payload: dict[str, Any]) -> None:
    Draft202012Validator(schema_of(f"{name}.json")).validate(payload)
    within = {"$ref": f"#/components/schemas/{name}", "components": _DOCUMENT["components"]}
    Draft7Validator(_plain(within)).validate(payload)


@pytest.mark.parametrize(("name", "payload"), _EXAMPLES)
def test_correlation_ids_are_where_the_document_says(name: str, payload: dict[str, Any]) -> None:
    location = _MESSAGES[name]["correlationId"]["location"]
    node: Any = payload
    for step in location.removeprefix("$message.payload#/").split("/"):
        node = node[step]
    assert isinstance(node, str)


def test_the_component_schemas_refuse_what_the_published_ones_refuse() -> None:
    within = {"$ref": "#/components/schemas/input", "components": _DOCUMENT["components"]}
    validator = Draft7Validator(_plain(within))
    envelope = _MESSAGES["input"]["examples"][0]["payload"]
    assert validator.is_valid(envelope)
    assert not validator.is_valid(envelope | {"data": envelope["data"] | {"mood": "good"}})
    assert not validator.is_valid(envelope | {"data": {}})


def test_payloads_use_no_keyword_that_is_newer_than_the_schema_objects_of_asyncapi() -> None:
    text = json.dumps(_DOCUMENT["components"]["schemas"])
    assert not re.findall(r'"(?:\$defs|\$id|\$schema|prefixItems|unevaluated\w+|dependent\w+)":', text)


def test_a_message_of_every_kind_of_event_goes_to_a_described_topic() -> None:
    parameters = _CHANNELS["events"]["parameters"]
    assert {event.topic for event in get_args(AnyEvent)} | {"reply", "copied"} == set(parameters["what"]["enum"])
    appended = EVENT.data
    assert isinstance(appended, MessageAppended)
    reply = appended.model_copy(
        update={"message": appended.message.model_copy(update={"role": Role.ASSISTANT}), "platform": None}
    )
    for event in (appended, reply):
        session, what, platform = event.routing_key.split(".")
        assert session == "session"
        assert what in parameters["what"]["enum"]
        assert platform in parameters["platform"]["examples"]
    assert set(Platform) < set(parameters["platform"]["examples"])
    assert "enum" not in parameters["platform"], "there may be others"


def test_the_example_of_a_partition_is_that_of_the_example_message() -> None:
    key = _MESSAGES["input"]["examples"][0]["payload"]["partitionkey"]
    (partition,) = _CHANNELS["inbound"]["parameters"]["partition"]["examples"]
    assert int(partition) == zlib.crc32(key.encode()) % 64


def test_the_document_is_the_same_every_time() -> None:
    assert asyncapi() == asyncapi()


def _plain(schema: Any) -> Any:
    """Return the schemas without what AsyncAPI adds to draft 07."""
    if isinstance(schema, list):
        return [_plain(child) for child in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _plain(value) for key, value in schema.items() if key != "discriminator"}
