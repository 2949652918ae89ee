"""The fake platforms that there are, one for each channel of ours."""

from typing import Final

from tests.platforms.discord import FakeDiscord
from tests.platforms.feishu import FakeFeishu
from tests.platforms.line import FakeLine
from tests.platforms.model import FakePlatform
from tests.platforms.slack import FakeSlack
from tests.platforms.telegram import FakeTelegram
from tests.platforms.webchat import FakeWindows
from tests.platforms.webhook import FakeWebhook
from tests.platforms.whatsapp import FakeWhatsApp

PLATFORMS: Final[tuple[type[FakePlatform], ...]] = (
    FakeTelegram,
    FakeSlack,
    FakeDiscord,
    FakeWhatsApp,
    FakeLine,
    FakeFeishu,
    FakeWebhook,
)
"""Those that what we send is sent to."""

POSTING: Final[tuple[type[FakePlatform], ...]] = (*PLATFORMS, FakeWindows)
"""Those that post what people write."""
