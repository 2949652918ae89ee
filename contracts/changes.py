"""Changes to what a session holds, top-level key by key."""

from pydantic import Field

from agentbus.contracts.base import Contract, JsonObject, Many, Numbers


class FieldChanges(Contract):
    """Changes to top-level keys of a session's data or metadata."""

    values: JsonObject = Field(default_factory=dict, description="Keys to set.")
    remove: Many[str] = Field(default=(), description="Keys to take out.")
    replace: bool = Field(default=False, description="Take out all keys that are not in `values`.")
    expected: JsonObject = Field(default_factory=dict, description="Refused unless these keys have these values.")
    absent: Many[str] = Field(default=(), description="Refused if one of these keys is set.")
    increments: Numbers | None = Field(default=None, description="What to add to numbers, 0 where there is none.")
