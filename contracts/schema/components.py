"""The AsyncAPI document's components: the messages, and the published schemas as their payloads.

AsyncAPI's own schema objects extend JSON Schema draft 07: no `$defs`, and a discriminator is a property's name. So
the definitions within a published schema become components called `<schema>.<definition>`.
"""

from typing import Any

from pydantic import BaseModel

from agentbus.contracts.envelope import CONTENT_TYPE
from agentbus.contracts.schema.documents import DOCUMENTS
from agentbus.contracts.schema.samples import COMMAND, EVENT, MESSAGE, REPLY
from agentbus.contracts.schema.shape import JsonSchema

_PAYLOADS = ("input", "event", "reply")


def messages() -> dict[str, Any]:
    """Return the messages by name."""
    return {
        "input": _message("A chat message or a command.", "input", "$message.payload#/id")
        | {"contentType": CONTENT_TYPE, "examples": [_example("message", MESSAGE), _example("command", COMMAND)]},
        "event": _message("Something that happened to a session.", "event", "$message.payload#/data/cause")
        | {"contentType": CONTENT_TYPE, "examples": [_example("message_appended", EVENT)]},
        "reply": _message("The answer to a command.", "reply", "$message.payload#/command_id")
        | {"examples": [_example("done", REPLY)]},
        "refused": {
            "title": "An input that failed for good",
            "description": "The original bytes, whatever they are; why it failed is in the headers.",
            "contentType": CONTENT_TYPE,
        },
    }


def schemas() -> dict[str, JsonSchema]:
    """Return the payloads' schemas and their definitions by component name."""
    found: dict[str, JsonSchema] = {}
    for document in DOCUMENTS:
        if document.name in _PAYLOADS:
            schema = document.schema()
            definitions = schema.pop("$defs", {})
            root = {key: value for key, value in schema.items() if key not in {"$schema", "$id"}}
            found[document.name] = _lifted(root, document.name)
            found |= {f"{document.name}.{name}": _lifted(node, document.name) for name, node in definitions.items()}
    return found


def _message(title: str, payload: str, correlation: str) -> dict[str, Any]:
    return {
        "title": title,
        "payload": {"$ref": f"#/components/schemas/{payload}"},
        "correlationId": {"location": correlation, "description": "The input's id: what caused what."},
    }


def _example(name: str, model: BaseModel) -> dict[str, Any]:
    return {"name": name, "payload": model.model_dump(mode="json", exclude_none=True)}


def _lifted(node: Any, name: str) -> Any:
    """Rewrite references and discriminators within a schema that moves to the components under `name`."""
    if isinstance(node, list):
        return [_lifted(child, name) for child in node]
    if not isinstance(node, dict):
        return node
    lifted = {key: _lifted(value, name) for key, value in node.items() if key not in {"$ref", "discriminator"}}
    if reference := node.get("$ref"):
        lifted["$ref"] = f"#/components/schemas/{name}.{reference.removeprefix('#/$defs/')}"
    if discriminator := node.get("discriminator"):
        lifted["discriminator"] = discriminator["propertyName"]
    return lifted
