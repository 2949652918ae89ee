"""Discord, by its interactions: slash commands and buttons."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee

if TYPE_CHECKING:
    from agentbus.workers.adapters.discord.inbound import DiscordInbound


def _inbound(name: str, account: DiscordAccount) -> "DiscordInbound":
    with importing_extras("channels"):
        from agentbus.workers.adapters.discord.inbound import DiscordInbound  # noqa: PLC0415 - it needs an extra

    return DiscordInbound(name, account)


CHANNEL: Final = Channel(
    name="discord",
    title="Discord",
    account=DiscordAccount,
    capabilities=Capabilities(
        receives=frozenset({Feature.COMMANDS, Feature.BUTTONS}),
        guarantee=Guarantee.IDEMPOTENT,
        text_limit=2000,
        pace=1.0,
    ),
    inbound=_inbound,
)
