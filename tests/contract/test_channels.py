"""Our channels, held to the contract of ways in."""

from collections.abc import Sequence
from typing import Any

import pytest

from agentbus.testing.adapters import InboundConformance
from agentbus.workers.adapters.factory import OURS, accounts_in, channel_named
from agentbus.workers.adapters.port import Channel, ChannelAccount
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


def test_every_channel_of_ours_is_held_to_it() -> None:
    assert {kind.name for kind in Ours.__subclasses__()} == set(OURS) == SAMPLES.keys()
