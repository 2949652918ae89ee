"""Slack, by its Events API, slash commands and interactivity."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Streaming
from agentbus.workers.adapters.slack.account import SlackAccount

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.slack.inbound import SlackInbound
    from agentbus.workers.adapters.slack.media import SlackMedia
    from agentbus.workers.adapters.slack.outbound import SlackOutbound


def _inbound(name: str, account: SlackAccount) -> "SlackInbound":
    from agentbus.workers.adapters.slack.inbound import SlackInbound  # noqa: PLC0415 - for gateways alone

    return SlackInbound(name, account)


def _outbound(_name: str, account: SlackAccount, client: "AsyncClient") -> "SlackOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.slack.outbound import SlackOutbound  # noqa: PLC0415 - for who sends alone

    return SlackOutbound(account.api, account.token, client) if account.token else None


def _media(account: SlackAccount) -> "SlackMedia | None":
    from agentbus.workers.adapters.slack.media import SlackMedia  # noqa: PLC0415 - for who downloads alone

    return SlackMedia(account.token) if account.token else None


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
        sends=frozenset(
            {Feature.TEXT, Feature.REPLIES, Feature.THREADS, Feature.EDITS, Feature.DELETES, Feature.REACTIONS}
        ),
        guarantee=Guarantee.RECONCILED,
        text_limit=4000,
        streaming=Streaming.EDITED,
        pace=1.0,
    ),
    inbound=_inbound,
    media=_media,
    outbound=_outbound,
)
