"""The account of a generic webhook."""

import base64

from pydantic import Field, field_validator

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import ChannelAccount


class WebhookMapping(ChannelAccount):
    """Where in the JSON what a message consists of is found, by JMESPath. What is not found counts as not said."""

    messages: str = Field(default="@", description="The messages: a list, or one.")
    chat: str = Field(default="chat", description="The chat; of one message, as all below.")
    user: str = Field(default="user", description="Who wrote it.")
    message_id: str = Field(
        default="message_id", description="Its id; without one it is known by the request's id and its place in it."
    )
    text: str = Field(default="text", description="What it says.")
    sent_at: str = Field(
        default="sent_at", description="When: ISO 8601 with a time zone, or a Unix time; by default when it was posted."
    )
    sender_name: str = Field(default="sender_name", description="The sender's name.")
    thread: str = Field(default="thread", description="The thread in the chat.")
    reply_to: str = Field(default="reply_to", description="The id of the message that it answers.")
    attachments: str = Field(default="attachments", description="Web addresses of files: a list, or one.")

    @field_validator("*")
    @classmethod
    def _expression(cls, written: str) -> str:
        with importing_extras():
            from jmespath import compile as compiled  # type: ignore[import-untyped] # noqa: PLC0415 - it needs an extra
            from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped] # noqa: PLC0415 - the same
        try:
            compiled(written)
        except JMESPathError as error:
            raise ValueError(f"no JMESPath: {str(error).splitlines()[0]}") from None
        return written


class WebhookAccount(ChannelAccount):
    """One sender of webhooks."""

    secret: str = Field(
        min_length=16,
        repr=False,
        description="What the requests are signed with, as Standard Webhooks write it: `whsec_` and base64 of 16 to 64 "
        "bytes.",
    )
    mapping: WebhookMapping = WebhookMapping()
    reply_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where replies are posted, signed with the same secret. None: they go nowhere.",
    )

    @field_validator("secret")
    @classmethod
    def _decodable(cls, secret: str) -> str:
        key_of(secret)
        return secret


def key_of(secret: str) -> bytes:
    """Return the key that a secret holds. Raises ValueError for what is none."""
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
