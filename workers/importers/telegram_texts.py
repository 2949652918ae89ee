"""The text of a message in a Telegram export: what was written, and what stands in place of text in other messages."""

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

_IN_TEXT: Final = "text_link"


class _Entity(BaseModel):
    type: str = ""
    text: str = ""
    href: str | None = None


class _Answer(BaseModel):
    text: str = ""
    voters: int = 0


class _Poll(BaseModel):
    question: str = ""
    answers: tuple[_Answer, ...] = ()


class _Contact(BaseModel):
    first_name: str = ""
    last_name: str = ""
    phone_number: str = ""


class _Dice(BaseModel):
    emoji: str = ""
    value: int = 0


class _Tasks(BaseModel):
    title: str = ""
    answers: tuple[_Answer, ...] = ()


class _Invoice(BaseModel):
    title: str = ""


class Texts(BaseModel):
    """What is read of a message that makes up its text."""

    text: str | list[str | _Entity] = ""
    forwarded_from: str | None = None
    poll: _Poll | None = None
    contact_information: _Contact | None = None
    game_title: str | None = None
    game_link: str | None = None
    dice: _Dice | None = None
    place_name: str | None = None
    address: str | None = None
    todo_list: _Tasks | None = None
    invoice_information: _Invoice | None = None


def text_of(message: Texts) -> str:
    """Return the text: what was written, with links' addresses, and a line each for what else there is."""
    parts = [message.text] if isinstance(message.text, str) else message.text
    written = "".join(part if isinstance(part, str) else _shown(part) for part in parts)
    forwarded = (f"[forwarded from {message.forwarded_from}]",) if message.forwarded_from else ()
    return "\n".join(filter(None, (*forwarded, written, *_others(message))))


def _shown(entity: _Entity) -> str:
    if entity.type != _IN_TEXT or not entity.href or entity.href == entity.text:
        return entity.text
    return f"{entity.text} ({entity.href})"


def _others(message: Texts) -> Iterator[str]:
    if poll := message.poll:
        yield poll.question
        yield from (f"- {answer.text} ({answer.voters})" for answer in poll.answers)
    if contact := message.contact_information:
        yield " ".join(filter(None, (contact.first_name, contact.last_name, contact.phone_number)))
    yield from filter(None, (message.game_title, message.game_link, message.place_name, message.address))
    if dice := message.dice:
        yield f"{dice.emoji} {dice.value}"
    if tasks := message.todo_list:
        yield tasks.title
        yield from (f"- {task.text}" for task in tasks.answers)
    if message.invoice_information:
        yield message.invoice_information.title
