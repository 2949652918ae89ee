"""What Discord posts: interactions, which are slash commands and pressed buttons.

Source: https://docs.discord.com/developers/interactions/receiving-and-responding (a PING is answered by a PONG, all
else within 3 s; the types of interactions and of answers) and .../interactions/overview (Ed25519 over timestamp and
body, `X-Signature-Ed25519` and `X-Signature-Timestamp`).

- An interaction is known by its id. Discord sends none again: whoever gave it is told that it failed.
- A command's options are its arguments, as `name:value`; of one value alone, that value.
- Messages that are no interactions come by Discord's own gateway (`source.py`), not here.
- The interaction's token is in nothing that is kept.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import Many
from agentbus.contracts.messages import ButtonContent, CommandContent, Content, InboundMessage
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.discord.payloads import Member, Option, User
from agentbus.workers.adapters.discord.snowflakes import snowflake_time
from agentbus.workers.adapters.parsing import UNKNOWN, loaded_object, understood, unsupported, written
from agentbus.workers.adapters.port import Answer, Inbound, Received, Request, Unverified
from agentbus.workers.importers.values import fit_id, fit_name

SIGNATURE: Final = "x-signature-ed25519"
TIMESTAMP: Final = "x-signature-timestamp"

_COMMAND: Final = 2
_COMPONENT: Final = 3
_PONG: Final = 1
_MESSAGE: Final = 4
_NOTHING_NEW: Final = 6
_CHOICES: Final = 8
_EPHEMERAL: Final = 64
"""Seen by whoever gave the command, and by nobody else."""

_DEEPEST: Final = 3
"""Options of a subcommand of a group."""


class _Data(BaseModel):
    name: str = ""
    custom_id: str = ""
    values: Many[str] = Field(default=(), max_length=25)
    options: list[Any] = Field(default=[], max_length=25)


class _Shown(BaseModel):
    id: str = Field(min_length=1)


class _Interaction(BaseModel):
    id: str = Field(min_length=1)
    type: int
    data: _Data = _Data()
    channel_id: str = Field(min_length=1)
    member: Member | None = None
    user: User | None = None
    message: _Shown | None = None

    @property
    def by(self) -> User:
        """Whoever did it. Raises ValueError if that is not told."""
        if found := self.member.user if self.member else self.user:
            return found
        raise ValueError("nobody did it")

    @property
    def name(self) -> str | None:
        """Their name as people see it there."""
        nick = self.member.nick if self.member else None
        return nick or self.by.global_name or self.by.username


class DiscordInbound(Inbound):
    """What one application is told."""

    def __init__(self, name: str, account: DiscordAccount) -> None:
        self._name = name
        key = account.public_key
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) if key else None
        self._received = account.received

    def verify(self, request: Request) -> None:
        at, given = request.header(TIMESTAMP), request.header(SIGNATURE)
        if self._key is None:
            raise Unverified("the account has no public_key")
        try:
            self._key.verify(bytes.fromhex(given), at.encode() + request.body)
        except (InvalidSignature, ValueError):
            raise Unverified("the signature is not the right one") from None

    def parse(self, request: Request) -> Received:
        return self.read(loaded_object(request.body), request.received_at)

    def read(self, body: Mapping[str, Any], at: datetime) -> Received:
        """Return what an interaction says, as it was posted or dispatched, and what Discord is answered."""
        match body.get("type"):
            case 1:  # PING
                return Received(ignored=1, answer=_answer(_PONG))
            case 4:  # somebody is still typing a command
                return Received(ignored=1, answer=_answer(_CHOICES, {"choices": []}))
            case kind:
                messages = understood(lambda: self._done(body), lambda: self._kept(body, at))
                silent = kind == _COMPONENT
                told = {"content": self._received, "flags": _EPHEMERAL}
                answer = _answer(_NOTHING_NEW) if silent else _answer(_MESSAGE, told)
                return Received(messages=tuple(messages), answer=answer)

    def _done(self, body: Mapping[str, Any]) -> Iterator[InboundMessage]:
        one = _Interaction.model_validate(body)
        yield InboundMessage(
            address=self._address(one.channel_id, one.by.id),
            message_id=fit_id(one.id),
            sent_at=snowflake_time(one.id),
            sender_name=fit_name(one.name),
            content=_content(one),
        )

    def _kept(self, body: Mapping[str, Any], at: datetime) -> InboundMessage:
        """Keep an interaction that is not understood, where it happened as far as it says."""
        member = body.get("member")
        user = member.get("user") if isinstance(member, dict) else body.get("user")
        by = user.get("id") if isinstance(user, dict) else None
        channel, known = body.get("channel_id"), body.get("id")
        return unsupported(
            f"interaction {body.get('type')}",
            {name: value for name, value in body.items() if name != "token"},
            address=self._address(str(channel or UNKNOWN), str(by or UNKNOWN)),
            sent_at=at,
            message_id=known if isinstance(known, str) else None,
        )

    def _address(self, chat: str, user: str) -> Address:
        return Address(platform=Platform.DISCORD, account=self._name, chat=fit_id(chat), user=fit_id(user))


def _content(one: _Interaction) -> Content:
    """Return what an interaction says. Raises ValueError for a kind that is not understood."""
    if one.type == _COMMAND:
        return CommandContent(name=fit_id(one.data.name), arguments=_arguments(one.data.options))
    if one.type == _COMPONENT:
        data = " ".join([one.data.custom_id, *one.data.values])
        return ButtonContent(data=data, target=fit_id(one.message.id) if one.message else None)
    raise ValueError("not understood")


def _arguments(options: list[Any]) -> str:
    """Return a command's options as text."""
    found = list(_options(options, _DEEPEST))
    if len(found) == 1 and found[0][1] is not None:
        return found[0][1]
    return " ".join(name if value is None else f"{name}:{value}" for name, value in found)


def _options(options: list[Any], deep: int) -> Iterator[tuple[str, str | None]]:
    """Yield names and values; of subcommands the name, and then what it has."""
    for raw in options:
        option = Option.model_validate(raw)
        yield option.name, None if option.value is None else str(option.value)
        if option.options and deep:
            yield from _options(option.options, deep - 1)


def _answer(kind: int, data: Mapping[str, Any] | None = None) -> Answer:
    body = {"type": kind} | ({"data": data} if data is not None else {})
    return Answer(body=written(body).encode(), media_type="application/json")
