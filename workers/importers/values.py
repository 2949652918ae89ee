"""From what people and exports write to what the contracts take: ids, names, texts."""

import re
from collections import OrderedDict
from typing import Final

from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.ids import digest_of
from agentbus.contracts.messages import AttachmentKind

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_DIGEST_LENGTH: Final = 26
_REMEMBERED: Final = 10_000
"""Lines within which a repeat is found: exports repeat a minute's lines at most."""


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


class ContentIds:
    """Makes up the ids of messages whose export has none: a digest of what was said when, and the how-manieth it is.

    So the same message has the same id in every export that holds it, also in one that begins later, or from which
    others are missing. What was written alike is told apart if not too much lies between.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()

    def next(self, *written: str) -> str:
        """Return the id of what comes next in the file."""
        once = f"said:{_digest(*written)}"
        times = self._times.pop(once, 0) + 1
        self._times[once] = times
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        return once if times == 1 else f"{once}:{times}"


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
