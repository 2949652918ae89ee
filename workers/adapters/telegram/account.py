"""The account of a Telegram bot."""

from pydantic import Field, model_validator

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount


class TelegramAccount(ChannelAccount):
    """One bot."""

    token: str | None = Field(
        default=None,
        pattern=r"^[0-9]{1,20}:[A-Za-z0-9_-]{1,128}$",
        repr=False,
        description="The bot's token, from @BotFather: what replies are sent with. A gateway needs none.",
    )
    webhook_secret: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{16,256}$",
        repr=False,
        description="The `secret_token` given to setWebhook: 16 to 256 letters, digits, _ and -. Without one nothing "
        "that is posted is taken.",
    )
    polling: bool = Field(
        default=False,
        description="Whether Telegram is asked for updates, in place of posting them: for a gateway without a public "
        "address. It needs the token, and no webhook may be set.",
    )
    username: str | None = Field(
        default=None, description="The bot's name, without @: commands to another bot in the same group are text then."
    )
    api: ApiAddress = Field(
        default="https://api.telegram.org", description="Where the Bot API is: a server of your own too."
    )

    @model_validator(mode="after")
    def _has_what_it_asks_by(self) -> "TelegramAccount":
        if self.polling and not self.token:
            raise ValueError("polling needs the token")
        return self
