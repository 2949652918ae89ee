"""Discord, by its interactions: slash commands and buttons."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Streaming

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.discord.inbound import DiscordInbound
    from agentbus.workers.adapters.discord.outbound import DiscordOutbound


def _inbound(name: str, account: DiscordAccount) -> "DiscordInbound":
    with importing_extras("channels"):
        from agentbus.workers.adapters.discord.inbound import DiscordInbound  # noqa: PLC0415 - it needs an extra

    return DiscordInbound(name, account)


def _outbound(_name: str, account: DiscordAccount, client: "AsyncClient") -> "DiscordOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.discord.outbound import DiscordOutbound  # noqa: PLC0415 - for who sends alone

    return DiscordOutbound(account.api, account.token, client) if account.token else None


CHANNEL: Final = Channel(
    name="discord",
    title="Discord",
    account=DiscordAccount,
    capabilities=Capabilities(
        receives=frozenset({Feature.COMMANDS, Feature.BUTTONS}),
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
    outbound=_outbound,
)
