"""Slack, by its Events API, slash commands and interactivity."""

from typing import TYPE_CHECKING, Final

from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee
from agentbus.workers.adapters.slack.account import SlackAccount

if TYPE_CHECKING:
    from agentbus.workers.adapters.slack.inbound import SlackInbound


def _inbound(name: str, account: SlackAccount) -> "SlackInbound":
    from agentbus.workers.adapters.slack.inbound import SlackInbound  # noqa: PLC0415 - for gateways alone

    return SlackInbound(name, account)


CHANNEL: Final = Channel(
    name="slack",
    title="Slack",
    account=SlackAccount,
    capabilities=Capabilities(
        receives=frozenset(
            {
                Feature.TEXT,
                Feature.MEDIA,
                Feature.THREADS,
                Feature.EDITS,
                Feature.DELETES,
                Feature.REACTIONS,
                Feature.COMMANDS,
                Feature.BUTTONS,
                Feature.MEMBERSHIP,
            }
        ),
        guarantee=Guarantee.RECONCILED,
        text_limit=4000,
        pace=1.0,
    ),
    inbound=_inbound,
)
