"""LINE, by its Messaging API."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.line.account import LineAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.line.inbound import LineInbound
    from agentbus.workers.adapters.line.media import LineMedia
    from agentbus.workers.adapters.line.outbound import LineOutbound


def _inbound(name: str, account: LineAccount) -> "LineInbound":
    from agentbus.workers.adapters.line.inbound import LineInbound  # noqa: PLC0415 - for gateways alone

    return LineInbound(name, account)


def _outbound(_name: str, account: LineAccount, client: "AsyncClient") -> "LineOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.line.outbound import LineOutbound  # noqa: PLC0415 - for who sends alone

    return LineOutbound(account.api, account.token, client) if account.token else None


def _media(account: LineAccount) -> "LineMedia | None":
    from agentbus.workers.adapters.line.media import LineMedia  # noqa: PLC0415 - for who downloads alone

    return LineMedia(account.api, account.token) if account.token else None


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
        sends=frozenset({Feature.TEXT, Feature.TYPING}),
        guarantee=Guarantee.IDEMPOTENT,
        key_seconds=86_400.0,
        typing_seconds=20.0,
        text_limit=5000,
        text_unit="utf-16",
    ),
    inbound=_inbound,
    media=_media,
    outbound=_outbound,
)
