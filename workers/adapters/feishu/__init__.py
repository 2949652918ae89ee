"""Feishu, which is called Lark outside of China, by its event subscriptions."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.feishu.account import FeishuAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee, Streaming

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agentbus.workers.adapters.feishu.inbound import FeishuInbound
    from agentbus.workers.adapters.feishu.media import FeishuMedia
    from agentbus.workers.adapters.feishu.outbound import FeishuOutbound


def _inbound(name: str, account: FeishuAccount) -> "FeishuInbound":
    with importing_extras("channels"):
        from agentbus.workers.adapters.feishu.inbound import FeishuInbound  # noqa: PLC0415 - it needs an extra

    return FeishuInbound(name, account)


def _outbound(_name: str, account: FeishuAccount, client: "AsyncClient") -> "FeishuOutbound | None":
    with importing_extras("channels"):
        from agentbus.workers.adapters.feishu.outbound import FeishuOutbound  # noqa: PLC0415 - for who sends alone

    if account.app_id is None or account.app_secret is None:
        return None
    return FeishuOutbound(account.api, account.app_id, account.app_secret, client)


def _media(account: FeishuAccount) -> "FeishuMedia | None":
    from agentbus.workers.adapters.feishu.media import FeishuMedia  # noqa: PLC0415 - for who downloads alone

    return (
        FeishuMedia(account.api, account.app_id, account.app_secret) if account.app_id and account.app_secret else None
    )


CHANNEL: Final = Channel(
    name="feishu",
    title="Feishu, Lark",
    account=FeishuAccount,
    capabilities=Capabilities(
        receives=frozenset(
            {
                Feature.TEXT,
                Feature.MEDIA,
                Feature.REPLIES,
                Feature.THREADS,
                Feature.DELETES,
                Feature.STICKERS,
                Feature.LOCATIONS,
                Feature.BUTTONS,
                Feature.MEMBERSHIP,
            }
        ),
        sends=frozenset({Feature.TEXT, Feature.REPLIES, Feature.EDITS, Feature.DELETES, Feature.REACTIONS}),
        guarantee=Guarantee.IDEMPOTENT,
        key_seconds=3600.0,
        text_limit=150_000,
        text_unit="bytes",
        streaming=Streaming.EDITED,
        most_edits=20,
        pace=5.0,
        account_pace=16.0,
    ),
    inbound=_inbound,
    media=_media,
    outbound=_outbound,
)
