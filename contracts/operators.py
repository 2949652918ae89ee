"""Who had something done, where that is nobody whose rights on the session count."""

from pydantic import Field

from agentbus.contracts.base import Contract, Id


class Operator(Contract):
    """Who called the HTTP API, or was at the dashboard: by a key, or as the user of a token."""

    key: Id | None = Field(default=None, description="The key's id, which is no secret.")
    user: Id | None = Field(default=None, description="The user of the token.")

    def __str__(self) -> str:
        return f"key:{self.key}" if self.key else f"user:{self.user}"
