"""The account of a Telegram bot."""

from pydantic import Field

from agentbus.workers.adapters.port import ChannelAccount


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
    username: str | None = Field(
        default=None, description="The bot's name, without @: commands to another bot in the same group are text then."
    )
    api: str = Field(default="https://api.telegram.org", description="Where the Bot API is: a server of your own too.")
