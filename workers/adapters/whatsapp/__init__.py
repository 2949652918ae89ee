"""WhatsApp, by Meta's Cloud API."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee
from agentbus.workers.adapters.whatsapp.account import WhatsAppAccount

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.whatsapp.inbound import WhatsAppInbound
    from agentbus.workers.adapters.whatsapp.media import WhatsAppMedia
    from agentbus.workers.adapters.whatsapp.outbound import WhatsAppOutbound


def _inbound(name: str, account: WhatsAppAccount) -> "WhatsAppInbound":
    from agentbus.workers.adapters.whatsapp.inbound import WhatsAppInbound  # noqa: PLC0415 - for gateways alone

    return WhatsAppInbound(name, account)


def _outbound(_name: str, account: WhatsAppAccount, client: "AsyncClient") -> "WhatsAppOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.whatsapp.outbound import WhatsAppOutbound  # noqa: PLC0415 - for who sends alone

    if account.token is None:
        return None
    return WhatsAppOutbound(account.api, account.phone_number_id, account.token, client)


def _media(account: WhatsAppAccount) -> "WhatsAppMedia | None":
    from agentbus.workers.adapters.whatsapp.media import WhatsAppMedia  # noqa: PLC0415 - for who downloads alone

    return WhatsAppMedia(account.api, account.token) if account.token else None


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
        sends=frozenset({Feature.TEXT, Feature.REPLIES, Feature.REACTIONS}),
        guarantee=Guarantee.RECONCILED,
        text_limit=4096,
        pace=1.0,  # In the long run 6 s apart: the platform says so when it has had enough of a burst.
        account_pace=80.0,
    ),
    inbound=_inbound,
    media=_media,
    outbound=_outbound,
)
