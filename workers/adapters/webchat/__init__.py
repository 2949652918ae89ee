"""Web chat: a window on somebody's page, that speaks to the gateways themselves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Hosting, Streaming
from agentbus.workers.adapters.webchat.account import WebChatAccount
from agentbus.workers.adapters.webchat.tokens import PLATFORM, visitor_token

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.webchat.inbound import WebChatInbound
    from agentbus.workers.adapters.webchat.outbound import WebChatOutbound
    from agentbus.workers.adapters.webchat.pages import WebChat

__all__ = ["CHANNEL", "visitor_token"]


def _inbound(name: str, account: WebChatAccount) -> "WebChatInbound":
    from agentbus.workers.adapters.webchat.inbound import WebChatInbound  # noqa: PLC0415 - for gateways alone

    return WebChatInbound(name, account)


def _hosted(accounts: Mapping[str, WebChatAccount], hosting: Hosting) -> "WebChat":
    with importing_extras("channels"):
        from agentbus.workers.adapters.webchat.pages import WebChat  # noqa: PLC0415 - it needs an extra

    return WebChat(accounts, hosting)


def _outbound(_name: str, _account: WebChatAccount, _client: "AsyncClient") -> "WebChatOutbound":
    from agentbus.workers.adapters.webchat.outbound import WebChatOutbound  # noqa: PLC0415 - for who sends alone

    return WebChatOutbound()


CHANNEL: Final = Channel(
    name=PLATFORM,
    title="Web chat",
    account=WebChatAccount,
    capabilities=Capabilities(
        receives=frozenset({Feature.TEXT, Feature.REPLIES, Feature.COMMANDS}),
        sends=frozenset({Feature.TEXT, Feature.MEDIA, Feature.REPLIES, Feature.EDITS, Feature.DELETES, Feature.TYPING}),
        guarantee=Guarantee.IDEMPOTENT,
        text_limit=262_144,
        key_seconds=10.0**9,
        streaming=Streaming.SHOWN,
    ),
    inbound=_inbound,
    hosted=_hosted,
    outbound=_outbound,
)
