"""What the text of a WhatsApp export says: a notice, or something said, with the files and marks that were in it."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.messages import Attachment, AttachmentKind
from agentbus.workers.importers.port import NOT_EXPORTED
from agentbus.workers.importers.values import fit_name
from agentbus.workers.importers.whatsapp_headers import MARKS
from agentbus.workers.importers.whatsapp_words import (
    ATTACHED,
    DELETED,
    EDITED,
    ENCRYPTED,
    NOTICES,
    OMITTED,
    OMITTED_KINDS,
    QUOTES,
)

_MARKED: Final = ("\u200e", "\u200f")
_TIGHT: Final = re.compile(r"(?P<name>[^:]+):(?!//)(?P<text>\S.*)?", re.DOTALL)
_IN_ANGLES: Final = re.compile(r"<([^<>]{1,80})>")
_COLON: Final = re.compile("[:\uff1a]")
_WITHIN_TIME: Final = re.compile(r"\d:\d")
_MARKED_FILE: Final = re.compile(r"[\u200e\u200f]<[^<>:\uff1a\n]{1,40}[:\uff1a]\s?(?P<name>[^<>\n]{1,255}\.\w{1,8})>")
_ENGLISH_FILE: Final = re.compile(r"<attached: (?P<name>[^<>\n]{1,255})>")
_FILE_IN_BRACKETS: Final = re.compile(
    r"(?P<name>[^\n]{1,246}\.\w{1,8}) \((?P<what>[^()\n]{1,40})\)[ \u200e]{0,2}(?:\n|$)"
)
_OWN_NAME: Final = re.compile(r"[A-Z]{3}-\d{8}-WA\d{4,}\.\w{1,8}")
_LONGEST_NAME: Final = 1000
_CLOSING: Final = "»"
"""What opens in some languages, and closes in more."""
_KINDS_BY_ENDING: Final = {
    **dict.fromkeys(("jpg", "jpeg", "png", "heic"), AttachmentKind.IMAGE),
    **dict.fromkeys(("mp4", "mov", "3gp"), AttachmentKind.VIDEO),
    **dict.fromkeys(("opus", "ogg", "m4a", "mp3", "aac"), AttachmentKind.AUDIO),
    "webp": AttachmentKind.STICKER,
}


@dataclass(frozen=True, slots=True)
class Content:
    """What was said, without what WhatsApp wrote into it."""

    text: str
    attachments: tuple[Attachment, ...] = ()
    edited: bool = False
    deleted: bool = False


def name_and_text(rest: str) -> tuple[str, str] | None:
    """Part a header's rest; None for what has no name, and so is a notice.

    The name ends at the first colon and blank (in Korean, blank, colon and blank); without one, at the first colon, if
    that is not within a time or an address. What has a quotation mark open there, or tells of encryption, is no name.
    """
    name, colon, text = rest.partition(": ")
    if not colon:
        tight = _TIGHT.fullmatch(rest)
        if tight is None or _WITHIN_TIME.match(rest, max(tight.end("name") - 1, 0)):
            return None
        name, text = tight["name"], tight["text"] or ""
    name = name.strip(MARKS + " \u202f\u00a0")
    if not name or _has_open_quote(name) or _tells_of(ENCRYPTED, name):
        return None
    return name, text


def is_first_notice(text: str) -> bool:
    """Tell whether a marked text is the one about encryption, so that the name before it is the chat's."""
    return text.startswith(_MARKED) and _tells_of(ENCRYPTED, text)


def is_written_by_one(text: str) -> bool:
    """Tell whether a text is surely somebody's: not marked, or a file, a deleted message, a poll, a place."""
    if not text.startswith(_MARKED) or text.endswith(":") or "://" in text:
        return True
    content = content_of(text)
    return content.edited or content.deleted or bool(content.attachments)


def is_notice(name: str, text: str, chat: str | None, people: Collection[str] | None) -> bool:
    """Tell whether what an iPhone wrote under a name is a notice: marked, and about the one that is named.

    `chat` is the chat's own name, if it is known: nobody has that. So it is with a name that is none of `people`, if
    they are known: under it nobody ever wrote.
    """
    if is_written_by_one(text):
        return False
    nobody = people is not None and name not in people
    return nobody or name == chat or name in text or _tells_of(NOTICES, text)


def content_of(text: str) -> Content:
    """Take out of a text what stands for a file, and the marks of an edited or deleted message."""
    text, edited = _without_edit_mark(text)
    if text.strip(MARKS + " ").removesuffix(".").strip(MARKS + " ") in DELETED:
        return Content("", deleted=True)
    text, attachments = _without_file(text)
    return Content(text.lstrip(MARKS), attachments, edited)


def _without_edit_mark(text: str) -> tuple[str, bool]:
    begin = text.rfind("<")
    if begin < 0 or not text.endswith(">"):
        return text, False
    marked, inside = text[:begin].endswith(_MARKED), text[begin + 1 : -1]
    known = inside.strip(MARKS + " ").removesuffix(".") in EDITED
    before = text[:begin].rstrip(MARKS + " ")
    if not known and (not marked or not before or not inside or inside in OMITTED or _COLON.search(inside)):
        return text, False
    return before, True


def _without_file(text: str) -> tuple[str, tuple[Attachment, ...]]:
    first, _, further = text.partition("\n")
    if (found := _IN_ANGLES.fullmatch(first.strip(MARKS + " "))) and found[1] in OMITTED:
        return further, (Attachment(uri=NOT_EXPORTED),)
    before, mark, what = _last_marked(text)
    if mark and (what in OMITTED_KINDS or what in OMITTED):
        return _omitted(before, OMITTED_KINDS.get(what, AttachmentKind.FILE))
    attached = _MARKED_FILE.search(text) or _ENGLISH_FILE.search(text)
    if attached is None:
        begin = len(text) - len(text.lstrip(MARKS))
        attached = _FILE_IN_BRACKETS.match(text, begin)
        if attached is None or not (attached["what"].strip(MARKS) in ATTACHED or _OWN_NAME.fullmatch(attached["name"])):
            return text, ()
    name = attached["name"]
    kind = _KINDS_BY_ENDING.get(name.rpartition(".")[2].lower(), AttachmentKind.FILE)
    rest = text[: attached.start()].rstrip(MARKS + " ") + text[attached.end() :]
    return rest, (Attachment(kind=kind, uri=name, name=name),)


def _omitted(before: str, kind: AttachmentKind) -> tuple[str, tuple[Attachment, ...]]:
    """Return the caption, and the file that is not there; of a document its name stands in place of a caption."""
    caption = before.strip(MARKS + " \n")
    name, bullet, _ = caption.partition(" • ")
    if bullet:
        return "", (Attachment(kind=kind, uri=NOT_EXPORTED, name=fit_name(name)),)
    return caption, (Attachment(kind=kind, uri=NOT_EXPORTED),)


def _last_marked(text: str) -> tuple[str, str, str]:
    """Part a text at its last mark."""
    at = max(text.rfind(mark) for mark in _MARKED)
    return (text[:at], text[at], text[at + 1 :].strip()) if at >= 0 else (text, "", "")


def _has_open_quote(name: str) -> bool:
    """Tell whether a quotation mark is opened in `name` and not closed."""
    name = name[:_LONGEST_NAME]
    for opening, closing in QUOTES:
        name = re.sub(f"{opening}[^{closing}]*{closing}", "", name)
    return bool(name.count('"') % 2) or any(opening in name for opening, _ in QUOTES if opening not in _CLOSING)


def _tells_of(phrases: tuple[str, ...], text: str) -> bool:
    return any(phrase in text for phrase in phrases)
