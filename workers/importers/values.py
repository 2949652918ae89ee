"""From what people and exports write to what the contracts take: ids, names, texts."""

import re
from typing import Final

from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.ids import digest_of
from agentbus.contracts.messages import AttachmentKind

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_DIGEST_LENGTH: Final = 26
_LINE_DIGEST_LENGTH: Final = 8


def fit_id(text: str) -> str:
    """Return `text` if it can be an id; else as much of it as can, and a digest of all of it, so that no two meet."""
    if 0 < len(text) <= MAX_ID_LENGTH and not _UNFIT.search(text):
        return text
    kept = _UNFIT.sub("_", text)[: MAX_ID_LENGTH - _DIGEST_LENGTH - 1]
    return f"{kept}~{_digest(text)}"


def fit_name(text: str | None) -> str | None:
    """Return `text` cut to the length of a name; none if it is empty."""
    if not text:
        return None
    return fit_text(text if len(text) <= MAX_ID_LENGTH else text[: MAX_ID_LENGTH - 1] + "…")


def fit_text(text: str) -> str:
    """Return `text` with lone surrogates, which no encoding can carry, replaced by U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def position_id(stem: str, place: str, *written: str) -> str:
    """Make up the id of a message whose export has none, from its place in the file.

    The same file gives the same ids each time it is read. The digest of what is `written` there keeps files apart that
    have the same name (`2005/06/27.txt`, `2005/07/27.txt`) and are logs of the same chat.
    """
    return fit_id(f"{stem}:{place}:{_digest(*written)[:_LINE_DIGEST_LENGTH]}")


def kind_for(media_type: str | None) -> AttachmentKind:
    """Return the kind of attachment that a media type stands for."""
    match (media_type or "").partition("/")[0]:
        case "image":
            return AttachmentKind.IMAGE
        case "audio":
            return AttachmentKind.AUDIO
        case "video":
            return AttachmentKind.VIDEO
        case _:
            return AttachmentKind.FILE


def _digest(*parts: str) -> str:
    return digest_of(part.encode(errors="backslashreplace").decode() for part in parts)
