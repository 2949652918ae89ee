"""The text of a message in a Slack export: what was written, else what a bot says in blocks or attachments."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from agentbus.contracts.base import Many

_DEEPEST: Final = 20


class _Preview(BaseModel):
    fallback: str | None = None
    pretext: str | None = None
    title: str | None = None
    text: str | None = None
    blocks: Any = None


class Texts(BaseModel):
    """What is read of a message that makes up its text."""

    text: str | None = None
    blocks: Any = None
    attachments: Many[_Preview] | None = None


def text_of(message: Texts) -> str:
    """Return the text, or a line for each block or attachment that has one."""
    if message.text:
        return message.text
    said = "\n".join(_lines_of(message.blocks))
    return said or "\n".join(filter(None, map(_preview, message.attachments or ())))


def _preview(preview: _Preview) -> str:
    written = "\n".join(filter(None, (preview.pretext, preview.title, preview.text)))
    return preview.fallback or written or "\n".join(_lines_of(preview.blocks))


def _lines_of(blocks: Any) -> Iterator[str]:
    for block in blocks if isinstance(blocks, list) else ():
        if line := "".join(_words_of(block, _DEEPEST)):
            yield line


def _words_of(block: Any, deep: int) -> Iterator[str]:
    """Yield the words in a block, in the order in which they stand; what is nested deeper than any is, is left out."""
    if isinstance(block, list) and deep:
        for one in block:
            yield from _words_of(one, deep - 1)
    if not isinstance(block, dict) or not deep:
        return
    for key in ("text", "elements", "fields", "title", "alt_text"):
        found = block.get(key)
        if isinstance(found, str):
            yield found
        elif key != "alt_text":
            yield from _words_of(found, deep - 1)
