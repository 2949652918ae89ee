"""The account of a Discord application."""

from typing import Final

from pydantic import Field, model_validator

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token

_MOST_SHARDS: Final = 64


class DiscordAccount(ChannelAccount):
    """One application."""

    public_key: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="The application's public key, from its page General Information. Without one nothing that is "
        "posted is taken.",
    )
    received: str = Field(
        default="…",
        min_length=1,
        max_length=2000,
        description="What whoever gives a command sees at once, and nobody else: Discord wants an answer within 3 s.",
    )
    token: Token | None = Field(
        default=None,
        repr=False,
        description="The bot's token: what replies are sent with, and messages are taken by. For interactions that are "
        "posted a gateway needs none.",
    )
    messages: bool = Field(
        default=False,
        description="Whether messages are taken too, over a connection to Discord's own gateway. It needs the token, "
        "the extra `discord`, and the Message Content Intent on the application's page Bot.",
    )
    bots: bool = Field(default=False, description="Whether what other bots and webhooks say is taken as well.")
    shards: int = Field(
        default=1,
        ge=1,
        le=_MOST_SHARDS,
        description="Connections that the bot's servers are shared among: Discord wants one for each 2,500 of them.",
    )
    api: ApiAddress = Field(default="https://discord.com/api/v10", description="Where the API is.")

    @model_validator(mode="after")
    def _has_what_it_asks_by(self) -> "DiscordAccount":
        if self.messages and not self.token:
            raise ValueError("messages needs the token")
        return self
