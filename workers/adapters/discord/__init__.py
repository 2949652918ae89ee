"""Discord: slash commands and buttons as it posts them, and messages over a connection to its gateway."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Streaming

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.discord.inbound import DiscordInbound
    from agentbus.workers.adapters.discord.media import DiscordMedia
    from agentbus.workers.adapters.discord.outbound import DiscordOutbound
    from agentbus.workers.adapters.discord.source import DiscordSource


def _inbound(name: str, account: DiscordAccount) -> "DiscordInbound":
    with importing_extras("channels"):
        from agentbus.workers.adapters.discord.inbound import DiscordInbound  # noqa: PLC0415 - it needs an extra

    return DiscordInbound(name, account)


def _sources(name: str, account: DiscordAccount) -> Sequence["DiscordSource"]:
    if not account.messages:
        return ()
    with importing_extras("discord"):
        from agentbus.workers.adapters.discord.source import DiscordSource  # noqa: PLC0415 - it needs an extra

    return tuple(DiscordSource(name, account, shard) for shard in range(account.shards))


def _media(account: DiscordAccount) -> "DiscordMedia | None":
    from agentbus.workers.adapters.discord.media import DiscordMedia  # noqa: PLC0415 - for who downloads alone

    return DiscordMedia(account.api, account.token) if account.token else None


def _outbound(_name: str, account: DiscordAccount, client: "AsyncClient") -> "DiscordOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.discord.outbound import DiscordOutbound  # noqa: PLC0415 - for who sends alone

    return DiscordOutbound(account.api, account.token, client) if account.token else None


CHANNEL: Final = Channel(
    name="discord",
    title="Discord",
    account=DiscordAccount,
    capabilities=Capabilities(
        receives=frozenset(Feature)
        - {Feature.ALBUMS, Feature.LOCATIONS, Feature.CONTACTS, Feature.RECEIPTS, Feature.TYPING},
        sends=frozenset(
            {Feature.TEXT, Feature.REPLIES, Feature.THREADS, Feature.EDITS, Feature.DELETES}
            | {Feature.REACTIONS, Feature.TYPING}
        ),
        guarantee=Guarantee.IDEMPOTENT,
        key_seconds=120.0,
        text_limit=2000,
        streaming=Streaming.EDITED,
        typing_seconds=10.0,
        pace=1.0,
        account_pace=40.0,
    ),
    inbound=_inbound,
    media=_media,
    sources=_sources,
    outbound=_outbound,
)
