"""Feishu, which is called Lark outside of China, by its event subscriptions."""

from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.workers.adapters.feishu.account import FeishuAccount
from agentbus.workers.adapters.port import Capabilities, Channel, Feature, Guarantee

if TYPE_CHECKING:
    from agentbus.workers.adapters.feishu.inbound import FeishuInbound


def _inbound(name: str, account: FeishuAccount) -> "FeishuInbound":
    with importing_extras("channels"):
        from agentbus.workers.adapters.feishu.inbound import FeishuInbound  # noqa: PLC0415 - it needs an extra

    return FeishuInbound(name, account)


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
        guarantee=Guarantee.IDEMPOTENT,
        text_limit=150_000,
        text_unit="bytes",
        pace=5.0,
    ),
    inbound=_inbound,
)
