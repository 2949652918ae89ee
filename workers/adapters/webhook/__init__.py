"""Any system that can post JSON: signed as in Standard Webhooks, mapped to messages by JMESPath."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee
from agentbus.workers.adapters.webhook.account import WebhookAccount, key_of

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.webhook.inbound import WebhookInbound
    from agentbus.workers.adapters.webhook.outbound import WebhookOutbound


def _inbound(name: str, account: WebhookAccount) -> "WebhookInbound":
    with importing_extras():
        from agentbus.workers.adapters.webhook.inbound import WebhookInbound  # noqa: PLC0415 - it needs an extra

    return WebhookInbound(name, account)


def _outbound(_name: str, account: WebhookAccount, client: "AsyncClient") -> "WebhookOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.webhook.outbound import WebhookOutbound  # noqa: PLC0415 - for who sends alone

    return WebhookOutbound(account.reply_url, key_of(account.secret), client) if account.reply_url else None


CHANNEL: Final = Channel(
    name="webhook",
    title="Generic webhook",
    account=WebhookAccount,
    capabilities=Capabilities(
        receives=frozenset({Feature.TEXT, Feature.MEDIA, Feature.REPLIES, Feature.THREADS}),
        sends=frozenset(
            {Feature.TEXT, Feature.MEDIA, Feature.REPLIES, Feature.THREADS}
            | {Feature.EDITS, Feature.DELETES, Feature.REACTIONS}
        ),
        guarantee=Guarantee.IDEMPOTENT,
        text_limit=262_144,
        key_seconds=86_400.0,
    ),
    inbound=_inbound,
    outbound=_outbound,
)
