"""The account of a Discord application."""

from pydantic import Field

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token


class DiscordAccount(ChannelAccount):
    """One application."""

    public_key: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="The application's public key, from its page General Information."
    )
    received: str = Field(
        default="…",
        min_length=1,
        max_length=2000,
        description="What whoever gives a command sees at once, and nobody else: Discord wants an answer within 3 s.",
    )
    token: Token | None = Field(
        default=None, repr=False, description="The bot's token: what replies are sent with. A gateway needs none."
    )
    api: ApiAddress = Field(default="https://discord.com/api/v10", description="Where the API is.")
