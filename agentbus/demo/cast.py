"""Who speaks in the demonstration, and what they say. Written for it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import InboundMessage, TextContent

OPENING: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Speaker:
    """Someone in a chat."""

    platform: Platform
    chat: str
    user: str
    name: str

    @property
    def address(self) -> Address:
        """Where they write from."""
        return Address(platform=self.platform, account="demo-bot", chat=self.chat, user=self.user)

    def says(self, text: str, message_id: str, sent_at: datetime) -> InboundMessage:
        """Return a message of theirs."""
        return InboundMessage(
            address=self.address,
            message_id=message_id,
            sent_at=sent_at,
            sender_name=self.name,
            content=TextContent(text=text),
        )


SPEAKERS: Final = (
    Speaker(Platform.TELEGRAM, "7301", "7301", "Mara"),
    Speaker(Platform.TELEGRAM, "-100455", "7302", "Ivo"),
    Speaker(Platform.TELEGRAM, "-100455", "7301", "Mara"),
    Speaker(Platform.SLACK, "C-support", "U-lin", "Lin"),
    Speaker(Platform.SLACK, "C-support", "U-tom", "Tom"),
    Speaker(Platform.WHATSAPP, "+4915550100", "+4915550100", "Nadja"),
    Speaker(Platform.DISCORD, "general", "kestrel", "Kestrel"),
    Speaker(Platform.WEB, "visit-81", "visitor-81", "Guest"),
)

LINES: Final = (
    "Good morning! Is anybody there?",
    "My order 4711 has not arrived yet.",
    "It was promised for yesterday.",
    "Could you look where it is?",
    "The tracking page shows nothing since Monday 🤷",
    "Thanks, I'll wait a moment.",
    "One more thing: can I change the address?",
    "The new one is Birch Road 5.",
    "Great, that was quick.",
    "And the invoice? I need it as a PDF.",
    "Got it, thank you!",
    "Have a good day 👋",
)

_LONGEST_BURST: Final = 4


def dialogue(rounds: int, seed: int) -> Iterator[InboundMessage]:
    """Yield what everyone says, each their lines `rounds` times over, in bursts, interleaved by `seed`."""
    dice = random.Random(seed)
    left = {speaker: [line for _ in range(rounds) for line in LINES] for speaker in SPEAKERS}
    number = 0
    while left:
        speaker = dice.choice(list(left))
        for _ in range(dice.randint(1, _LONGEST_BURST)):
            if not left[speaker]:
                break
            number += 1
            text = left[speaker].pop(0)
            yield speaker.says(text, f"{number}", OPENING + timedelta(seconds=5 * number))
        if not left[speaker]:
            del left[speaker]
