"""Telegram, by its Bot API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Streaming
from agentbus.workers.adapters.telegram.account import TelegramAccount

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.telegram.inbound import TelegramInbound
    from agentbus.workers.adapters.telegram.media import TelegramMedia
    from agentbus.workers.adapters.telegram.outbound import TelegramOutbound
    from agentbus.workers.adapters.telegram.source import TelegramSource


def _inbound(name: str, account: TelegramAccount) -> "TelegramInbound":
    from agentbus.workers.adapters.telegram.inbound import TelegramInbound  # noqa: PLC0415 - for gateways alone

    return TelegramInbound(name, account)


def _sources(name: str, account: TelegramAccount) -> Sequence["TelegramSource"]:
    if not account.polling:
        return ()
    with importing_extras("channels"):
        from agentbus.workers.adapters.telegram.source import TelegramSource  # noqa: PLC0415 - it needs an extra

    return (TelegramSource(name, account),)


def _outbound(_name: str, account: TelegramAccount, client: "AsyncClient") -> "TelegramOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.telegram.outbound import TelegramOutbound  # noqa: PLC0415 - for who sends alone

    return TelegramOutbound(account.api, account.token, client) if account.token else None


def _media(account: TelegramAccount) -> "TelegramMedia | None":
    from agentbus.workers.adapters.telegram.media import TelegramMedia  # noqa: PLC0415 - for who downloads alone

    return TelegramMedia(account.api, account.token) if account.token else None


CHANNEL: Final = Channel(
    name="telegram",
    title="Telegram",
    account=TelegramAccount,
    capabilities=Capabilities(
        receives=frozenset(Feature) - {Feature.DELETES, Feature.RECEIPTS, Feature.TYPING},
        sends=frozenset(
            {Feature.TEXT, Feature.REPLIES, Feature.THREADS, Feature.EDITS, Feature.DELETES}
            | {Feature.REACTIONS, Feature.TYPING}
        ),
        guarantee=Guarantee.UNKNOWN,
        text_limit=4096,
        text_unit="utf-16",
        streaming=Streaming.SHOWN,
        shown_every=1.0,
        typing_seconds=5.0,
        pace=1.0,
        account_pace=30.0,
    ),
    inbound=_inbound,
    media=_media,
    sources=_sources,
    outbound=_outbound,
)
