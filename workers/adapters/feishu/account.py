"""The account of a Feishu or Lark app."""

from pydantic import Field

from agentbus.workers.adapters.port import ApiAddress, ChannelAccount, Token


class FeishuAccount(ChannelAccount):
    """One app."""

    encrypt_key: str = Field(
        min_length=8,
        repr=False,
        description="The app's Encrypt Key: its events are encrypted and signed with it. Without it none is signed.",
    )
    verification_token: str = Field(min_length=8, repr=False, description="The app's Verification Token.")
    app_id: Token | None = Field(default=None, description="The app's id: what replies are sent with.")
    app_secret: Token | None = Field(
        default=None, repr=False, description="Its secret: what replies are sent with. A gateway needs none."
    )
    api: ApiAddress = Field(
        default="https://open.feishu.cn", description="Where its API is; of Lark https://open.larksuite.com."
    )
