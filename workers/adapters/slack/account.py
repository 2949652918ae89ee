"""The account of a Slack app in a workspace."""

from pydantic import Field

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token


class SlackAccount(ChannelAccount):
    """One app in one workspace."""

    signing_secret: str = Field(
        min_length=16, repr=False, description="The app's signing secret, from its page Basic Information."
    )
    team: str = Field(
        pattern=r"^[TE][A-Z0-9]{1,30}$",
        description="The workspace's id, `T...`. Of another workspace that the app is installed in, chats are named "
        "`<team>/<channel>`.",
    )
    token: Token | None = Field(
        default=None,
        repr=False,
        description="The bot's token, `xoxb-...`: what replies are sent with. A gateway needs none.",
    )
    api: ApiAddress = Field(default="https://slack.com/api", description="Where the Web API is.")
