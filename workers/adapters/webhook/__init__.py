"""Any system that can post JSON: signed as in Standard Webhooks, mapped to messages by JMESPath."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature
from agentbus.workers.adapters.webhook.account import WebhookAccount

if TYPE_CHECKING:
    from agentbus.workers.adapters.webhook.inbound import WebhookInbound


def _inbound(name: str, account: WebhookAccount) -> "WebhookInbound":
    with importing_extras():
        from agentbus.workers.adapters.webhook.inbound import WebhookInbound  # noqa: PLC0415 - it needs an extra

    return WebhookInbound(name, account)


CHANNEL: Final = Channel(
    name="webhook",
    title="Generic webhook",
    account=WebhookAccount,
    capabilities=Capabilities(
        receives=frozenset({Feature.TEXT, Feature.MEDIA, Feature.REPLIES, Feature.THREADS}),
        text_limit=262_144,
    ),
    inbound=_inbound,
)
