"""The account of a LINE channel."""

from pydantic import Field

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token


class LineAccount(ChannelAccount):
    """One official account."""

    channel_secret: str = Field(
        min_length=16, repr=False, description="The channel's secret: what its webhooks are signed with."
    )
    token: Token | None = Field(
        default=None,
        repr=False,
        description="A channel access token: what replies are sent with. A gateway needs none.",
    )
    api: ApiAddress = Field(default="https://api.line.me", description="Where the Messaging API is.")
