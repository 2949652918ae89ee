"""What platforms call the emoji that bots react with most, where they take a name and no emoji.

Sources: Slack's short names as https://github.com/iamcal/emoji-data has them, which Slack uses; and
https://open.feishu.cn/document/server-docs/im-v1/message-reaction/emojis-introduce.
"""

from collections.abc import Mapping
from typing import Final

_AS_PICTURE: Final = "\ufe0f"
"""Says that a sign is to be shown as a picture: with it or without, it is the same reaction."""

SLACK: Final[Mapping[str, str]] = {
    "👍": "thumbsup",
    "👎": "thumbsdown",
    "❤": "heart",
    "🔥": "fire",
    "🎉": "tada",
    "👏": "clap",
    "😂": "joy",
    "🙏": "pray",
    "👌": "ok_hand",
    "👀": "eyes",
    "🤔": "thinking_face",
    "✅": "white_check_mark",
    "❌": "x",
    "⏳": "hourglass_flowing_sand",
}
FEISHU: Final[Mapping[str, str]] = {
    "👍": "THUMBSUP",
    "❤": "HEART",
    "🎉": "PARTY",
    "👏": "APPLAUSE",
    "🙏": "THANKS",
    "👌": "OK",
    "✅": "DONE",
}


def plain(reaction: str) -> str:
    """Return an emoji without what says that it is to be shown as a picture."""
    return reaction.replace(_AS_PICTURE, "")


def named(reaction: str, names: Mapping[str, str]) -> str:
    """Return what a platform calls an emoji; what is no emoji of the table is taken for a name."""
    return names.get(plain(reaction), reaction.strip(":"))
