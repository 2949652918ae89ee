"""The account of a web chat."""

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from agentbus.workers.adapters.port import ChannelAccount

MOST_ORIGINS: Final = 100

Origin = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]{1,255}$", to_lower=True)]
"""A site as browsers name it: scheme, host, and port if it is not the usual one; no path."""


class WebChatAccount(ChannelAccount):
    """One chat, on the pages of one or more sites."""

    secret: str = Field(
        min_length=32,
        max_length=256,
        repr=False,
        description="What visitors' tokens are signed with (HS256): 32 to 256 characters, by chance.",
    )
    origins: tuple[Origin, ...] = Field(
        default=(),
        max_length=MOST_ORIGINS,
        description="The sites whose pages may embed it, such as `https://shop.example`. The gateway's own page may.",
    )
    anonymous: bool = Field(
        default=False, description="Whether the gateway gives a token to every visitor who has none."
    )
    title: str = Field(default="Chat", min_length=1, max_length=80, description="What its window is called.")
