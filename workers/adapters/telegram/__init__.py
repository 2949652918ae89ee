"""Telegram, by its Bot API."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee
from agentbus.workers.adapters.telegram.account import TelegramAccount

if TYPE_CHECKING:
    from agentbus.workers.adapters.telegram.inbound import TelegramInbound
    from agentbus.workers.adapters.telegram.source import TelegramSource


def _inbound(name: str, account: TelegramAccount) -> "TelegramInbound":
    from agentbus.workers.adapters.telegram.inbound import TelegramInbound  # noqa: PLC0415 - for gateways alone

    return TelegramInbound(name, account)


def _source(name: str, account: TelegramAccount) -> "TelegramSource | None":
    if not account.polling:
        return None
    with importing_extras("channels"):
        from agentbus.workers.adapters.telegram.source import TelegramSource  # noqa: PLC0415 - it needs an extra

    return TelegramSource(name, account)


CHANNEL: Final = Channel(
    name="telegram",
    title="Telegram",
    account=TelegramAccount,
    capabilities=Capabilities(
        receives=frozenset(Feature) - {Feature.DELETES, Feature.RECEIPTS, Feature.TYPING},
        guarantee=Guarantee.UNKNOWN,
        text_limit=4096,
        text_unit="utf-16",
        pace=1.0,
    ),
    inbound=_inbound,
    source=_source,
)
