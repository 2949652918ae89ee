"""The account of a number at WhatsApp."""

from pydantic import Field

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token


class WhatsAppAccount(ChannelAccount):
    """One number of a WhatsApp business account."""

    app_secret: str = Field(
        min_length=16, repr=False, description="The Meta app's secret: what its webhooks are signed with."
    )
    verify_token: str = Field(
        min_length=8, repr=False, description="A word of yours: the one given where the webhook's address is set."
    )
    phone_number_id: str = Field(
        pattern=r"^[0-9]{1,32}$",
        description="The number's id. Of another number of the same app, chats are named `<number's id>/<chat>`.",
    )
    token: Token | None = Field(
        default=None, repr=False, description="An access token: what replies are sent with. A gateway needs none."
    )
    api: ApiAddress = Field(default="https://graph.facebook.com/v23.0", description="Where the Graph API is.")
