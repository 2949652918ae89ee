"""Our channels, held to the contract of ways in."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from agentbus.contracts.messages import TextContent, UnsupportedContent
from agentbus.testing.adapters import InboundConformance, OutboundConformance
from agentbus.workers.adapters.factory import OURS, accounts_in, channel_named
from agentbus.workers.adapters.port import Channel, ChannelAccount, Malformed
from tests.platforms import discord, feishu, line, slack, telegram, whatsapp
from tests.platforms.samples import SAMPLES, Signed


class Ours(InboundConformance):
    """A channel of ours, by its name."""

    name: str

    @pytest.fixture
    def channel(self) -> Channel[Any]:
        return channel_named(self.name)

    @pytest.fixture
    def account(self) -> ChannelAccount:
        [one] = accounts_in({self.name: {"conforming": SAMPLES[self.name].account}})
        return one.account

    @pytest.fixture
    def signed(self) -> Signed:
        return SAMPLES[self.name].signed

    @pytest.fixture
    def bodies(self) -> Sequence[Any]:
        return SAMPLES[self.name].bodies


class TestTelegram(Ours):
    name = "telegram"
    signs_bodies = False


class TestSlack(Ours):
    name = "slack"


class TestDiscord(Ours):
    name = "discord"


class TestWhatsApp(Ours):
    name = "whatsapp"


class TestLine(Ours):
    name = "line"


class TestFeishu(Ours):
    name = "feishu"


class TestWebhook(Ours):
    name = "webhook"


class TestWebChat(Ours):
    name = "webchat"
    signs_bodies = False


def test_every_channel_of_ours_is_held_to_it() -> None:
    assert {kind.name for kind in Ours.__subclasses__()} == set(OURS) == SAMPLES.keys()


NOON = datetime(2025, 11, 27, 12, tzinfo=UTC)
N = 20_000
_MANY: dict[str, list[Any]] = {
    "telegram": [
        telegram.update(1, message=telegram.message(text="x", entities=[1] * N)),
        telegram.update(1, message=telegram.message(text="x", new_chat_members=[{"id": 1}] * N)),
    ],
    "slack": [slack.callback(slack.message(files=[1] * N)), slack.callback(slack.message(files=[{}] * N))],
    "discord": [discord.interaction(2, data={"name": "x", "options": [{"name": "a"}] * N})],
    "whatsapp": [
        whatsapp.webhook(messages=[1] * N),
        {"entry": [{"changes": [1] * 999}] * 99},
        whatsapp.webhook(messages=[whatsapp.message("contacts", contacts=[{}] * N)]),
    ],
    "line": [{"events": [1] * N}, {"events": [line.event("memberJoined", joined={"members": [{}] * N})]}],
    "feishu": [
        feishu.message("post", {"content": [[{"tag": "text", "text": "a"}]] * N}),
        feishu.message("text", {"text": "@_user_1" * 9}, mentions=[{"key": "@_user_1", "name": "@_user_1" * 9}] * N),
    ],
    "webhook": [[1] * N, {"chat": "c", "user": "u", "attachments": ["x"] * N}],
    "webchat": [[1] * N, {"id": "m", "text": ["x"] * N}],
}


@pytest.mark.parametrize("name", OURS)
def test_what_there_is_too_much_of_costs_no_more_than_reading_it(name: str) -> None:
    """Counted in what is made of it, not in seconds: a thousand messages at most, or as many parts of one."""
    [one] = accounts_in({name: {"conforming": SAMPLES[name].account}})
    inbound = one.channel.inbound("conforming", one.account) if one.channel.inbound else None
    assert inbound
    for body in _MANY[name]:
        request = SAMPLES[name].signed(json.dumps(body).encode(), NOON)
        with suppress(Malformed):
            [message] = inbound.parse(request).messages
            assert isinstance(message.content, TextContent | UnsupportedContent)
            assert isinstance(message.content, UnsupportedContent) or len(message.content.attachments) <= 64


class OursOut(OutboundConformance):
    """A channel of ours with all that sending needs, by its name."""

    name: str
    fields: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def channel(self) -> Channel[Any]:
        return channel_named(self.name)

    @pytest.fixture
    def account(self) -> ChannelAccount:
        given = {**SAMPLES[self.name].account, **self.fields}
        [one] = accounts_in({self.name: {"conforming": given}})
        return one.account


SECRET = "a-secret-that-nobody-sees"  # noqa: S105 - nobody's


class TestTelegramOut(OursOut):
    name = "telegram"
    fields: ClassVar = {"token": f"7:{SECRET}"}


class TestSlackOut(OursOut):
    name = "slack"
    fields: ClassVar = {"token": SECRET}


class TestDiscordOut(OursOut):
    name = "discord"
    fields: ClassVar = {"token": SECRET}


class TestWhatsAppOut(OursOut):
    name = "whatsapp"
    fields: ClassVar = {"token": SECRET}


class TestLineOut(OursOut):
    name = "line"
    fields: ClassVar = {"token": SECRET}


class TestFeishuOut(OursOut):
    name = "feishu"
    fields: ClassVar = {"app_id": "cli_1", "app_secret": SECRET}


class TestWebhookOut(OursOut):
    name = "webhook"
    fields: ClassVar = {"reply_url": "https://shop.test/replies"}


class TestWebChatOut(OursOut):
    name = "webchat"


def test_every_way_out_of_ours_is_held_to_it() -> None:
    assert {kind.name for kind in OursOut.__subclasses__()} == set(OURS)
