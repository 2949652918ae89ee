"""How pydantic's schemas of our models are made to say what is true on the wire."""

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

_MOMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]+)?"

# `format` is an annotation to most validators, so the zone is asked for by a pattern as well.
_ZONED: Final = rf"^{_MOMENT}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})$"
_UTC: Final = rf"^{_MOMENT.replace('[Tt]', 'T')}Z$"


class ReadSchema(GenerateJsonSchema):
    """Of what others write: a moment is RFC 3339 with a zone."""

    moment: str = _ZONED

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        return super().datetime_schema(schema) | {"pattern": self.moment}

    def normalize_name(self, name: str) -> str:
        # Published names stay what they are: they are from before the contracts became a part of agentbus.
        return super().normalize_name(name.removeprefix("agentbus."))

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the overridden method's signature
        """Titles are for models; made out of a field's name they tell nothing."""
        return False

    def bytes_schema(self, schema: Any) -> JsonSchemaValue:  # noqa: ARG002 - the overridden method's signature
        return {"type": "string", "contentEncoding": "base64url"}


class WrittenSchema(ReadSchema):
    """Of what we write: all fields but those without a value, which are left out; moments in UTC."""

    moment = _UTC

    def nullable_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ARG002 - the overridden method's signature
        inner = field["schema"]
        while inner["type"] in {"default", "definitions"}:
            if inner.get("default", ...) is None:
                return False  # a null is left out, whatever else it may be
            inner = inner["schema"]
        return bool(inner["type"] != "nullable")
