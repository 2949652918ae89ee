"""LINE, by its Messaging API."""

from typing import TYPE_CHECKING, Final

from agentbus.workers.adapters.line.account import LineAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee

if TYPE_CHECKING:
    from agentbus.workers.adapters.line.inbound import LineInbound


def _inbound(name: str, account: LineAccount) -> "LineInbound":
    from agentbus.workers.adapters.line.inbound import LineInbound  # noqa: PLC0415 - for gateways alone

    return LineInbound(name, account)


CHANNEL: Final = Channel(
    name="line",
    title="LINE",
    account=LineAccount,
    capabilities=Capabilities(
        receives=frozenset(
            {
                Feature.TEXT,
                Feature.MEDIA,
                Feature.ALBUMS,
                Feature.REPLIES,
                Feature.DELETES,
                Feature.STICKERS,
                Feature.LOCATIONS,
                Feature.BUTTONS,
                Feature.MEMBERSHIP,
            }
        ),
        guarantee=Guarantee.IDEMPOTENT,
        text_limit=5000,
        text_unit="utf-16",
    ),
    inbound=_inbound,
)
