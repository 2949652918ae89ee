"""WhatsApp, by Meta's Cloud API."""

from typing import TYPE_CHECKING, Final

from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee
from agentbus.workers.adapters.whatsapp.account import WhatsAppAccount

if TYPE_CHECKING:
    from agentbus.workers.adapters.whatsapp.inbound import WhatsAppInbound


def _inbound(name: str, account: WhatsAppAccount) -> "WhatsAppInbound":
    from agentbus.workers.adapters.whatsapp.inbound import WhatsAppInbound  # noqa: PLC0415 - for gateways alone

    return WhatsAppInbound(name, account)


CHANNEL: Final = Channel(
    name="whatsapp",
    title="WhatsApp Cloud",
    account=WhatsAppAccount,
    capabilities=Capabilities(
        receives=frozenset(
            {
                Feature.TEXT,
                Feature.MEDIA,
                Feature.REPLIES,
                Feature.REACTIONS,
                Feature.STICKERS,
                Feature.LOCATIONS,
                Feature.CONTACTS,
                Feature.BUTTONS,
                Feature.RECEIPTS,
            }
        ),
        guarantee=Guarantee.RECONCILED,
        text_limit=4096,
        pace=1 / 6,
    ),
    inbound=_inbound,
)
