"""The OpenAPI document: of the calls as they are declared, with who may make them."""

import json
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from agentbus.contracts.documents import json_in
from agentbus.http.access import USER_HEADER
from agentbus.http.calls import FOR_USERS

_ABOUT = """\
Sessions and what is around them, over HTTP. Lists come in pages: hand `cursor` back as `after`. What is wrong is told
by problem details (RFC 9457); `code` is for programs. Answers may have more fields in a later release."""

_SCHEMAS: Final = "#/components/schemas/"

_USER = {
    "name": USER_HEADER,
    "in": "header",
    "required": False,
    "description": "The user on whose behalf the call is made: their access is checked.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the document, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title="AgentBus", version="v1", description=_ABOUT, routes=app.routes)
    document["security"] = [{"key": []}]
    schemes = {"key": {"type": "http", "scheme": "bearer", "description": "A key: `agentbus api-keys create`."}}
    document.setdefault("components", {})["securitySchemes"] = schemes
    for calls in document["paths"].values():
        for call in calls.values():
            if call.get(FOR_USERS):
                call.setdefault("parameters", []).append(_USER)
    app.openapi_schema = _plainly_named(document)
    _require_tags(app.openapi_schema, app.openapi_schema["components"]["schemas"])
    return app.openapi_schema


def _require_tags(place: Any, schemas: dict[str, Any]) -> None:
    """Say of what a tag tells apart that it needs the tag: pydantic does, and says that it has a default."""
    if isinstance(place, dict):
        if tag := place.get("discriminator", {}).get("propertyName"):
            for member in place["oneOf"]:
                schema = schemas[member["$ref"].removeprefix(_SCHEMAS)]
                schema["required"] = sorted({*schema.get("required", ()), tag})
        for inner in place.values():
            _require_tags(inner, schemas)
    elif isinstance(place, list):
        for inner in place:
            _require_tags(inner, schemas)


def _plainly_named(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without schemas that stand for another one, and with that one's own name."""
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        if schema.keys() == {"$ref"}:
            meant = schema["$ref"].removeprefix(_SCHEMAS)
            plain = name.rpartition("__")[0].rpartition("__")[2]
            text = text.replace(f'"{_SCHEMAS}{name}"', f'"{_SCHEMAS}{plain}"')
            text = text.replace(f'"{_SCHEMAS}{meant}"', f'"{_SCHEMAS}{plain}"')
            text = text.replace(f'"{meant}": {{', f'"{plain}": {{')
    named: dict[str, Any] = json_in(text)
    components = named["components"]
    components["schemas"] = {
        name: schema
        for name, schema in sorted(components["schemas"].items())
        if schema.get("$ref") != f"{_SCHEMAS}{name.rpartition('__')[0].rpartition('__')[2]}"
    }
    return named
