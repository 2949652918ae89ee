"""Web chat, the way in: what the window on somebody's page posts, with the token of who they are.

Its other end is ours, so what that would not send is refused as malformed: nothing of a stranger's is kept because it
is not understood. Text that begins with a slash and a word is a command.

- A message is known by the id that the window gave it, and by its visitor: nobody takes up the ids of others.
- When it was sent is when it came: what a visitor's clock says counts for nothing.
"""

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentbus.contracts.base import Id
from agentbus.contracts.messages import CommandContent, InboundMessage, TextContent
from agentbus.workers.adapters.parsing import loaded_object
from agentbus.workers.adapters.port import Inbound, Malformed, Received, Request, Unverified
from agentbus.workers.adapters.webchat.account import WebChatAccount
from agentbus.workers.adapters.webchat.tokens import Visitor, visitor_of

AUTHORIZATION: Final = "authorization"
BEARER: Final = "Bearer "

MOST_BODY: Final = 65_536
"""Bytes of a message with all that is about it."""
MOST_TEXT: Final = 16_384
"""Characters of what somebody writes at a time."""

_COMMAND: Final = re.compile(r"/([A-Za-z0-9_]{1,64})(?:\s+|$)")
_AT: Final = "@"


class _Said(BaseModel):
    """What the window sends."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    text: str = Field(min_length=1, max_length=MOST_TEXT)
    reply_to: Id | None = None


class WebChatInbound(Inbound):
    """What the visitors of one account write."""

    def __init__(self, name: str, account: WebChatAccount) -> None:
        self._name = name
        self._secret = account.secret

    def verify(self, request: Request) -> None:
        self._visitor(request)

    def parse(self, request: Request) -> Received:
        visitor = self._visitor(request)
        if len(request.body) > MOST_BODY:
            raise Malformed(f"{len(request.body)} bytes, in place of {MOST_BODY} at most")
        try:
            said = _Said.model_validate(loaded_object(request.body))
            content = _content(said)
            message = InboundMessage(
                address=visitor.address,
                message_id=message_id_for(said.id, visitor.visitor),
                sent_at=request.received_at,
                sender_name=visitor.name,
                content=content,
            )
        except ValidationError:
            raise Malformed("no message as the window sends them") from None
        return Received(messages=(message,))

    def _visitor(self, request: Request) -> Visitor:
        """Return whose request it is. Raises Unverified."""
        given = request.header(AUTHORIZATION)
        if not given.startswith(BEARER):
            raise Unverified("the token is no bearer's")
        return visitor_of(given.removeprefix(BEARER), self._secret, account=self._name, now=request.received_at)


def message_id_for(own: str, visitor: str) -> str:
    """Return a message's id, by that which its window gave it and its visitor: no two pairs have the same."""
    return f"{own}{_AT}{visitor}"


def own_id_of(message_id: str) -> str:
    """Return the id that the window gave to a message."""
    return message_id.partition(_AT)[0]


def _content(said: _Said) -> TextContent | CommandContent:
    if found := _COMMAND.match(said.text):
        return CommandContent(name=found[1], arguments=said.text[found.end() :].strip())
    return TextContent(text=said.text, reply_to=said.reply_to)
