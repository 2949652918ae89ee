"""The port of channels: a way in, a way out, and what each of them can do.

A channel is a folder here, or somebody else's package with an entry point of `GROUP`: one `Channel`, found by its name.
Its two halves know nothing of each other. `Inbound` is pure: no I/O, no clock, so that any number of gateways can run.
`Outbound` speaks to the platform and to nobody else; in which order and how often, its caller decides.
A channel without a platform, to which people come themselves, is `Hosted` by the gateways.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue

from agentbus.contracts.address import Address
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import Attachment, InboundMessage, TextContent
from agentbus.contracts.writing import Writing

if TYPE_CHECKING:
    from httpx import AsyncClient
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from agentbus.contracts.clock import Clock
    from agentbus.storage.port import Store

_LONGEST_TOKEN: Final = 4096

GROUP: Final = "agentbus.channels"
"""The entry points by which installed packages bring channels: the channel's name, and its `Channel`."""


class Unverified(AgentBusError):
    """The request is not signed as the platform signs."""


class Malformed(AgentBusError):
    """The request is signed, and is nothing that the platform would send: it is refused, and comes to nothing."""


class ChannelAccount(BaseModel):
    """One account of a channel, as the settings give it: each channel adds its own fields.

    What is secret has `repr=False`, and is in no log line and no error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


def _sendable(token: str) -> str:
    if not 0 < len(token) <= _LONGEST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise ValueError("it is empty, or has blanks or signs in it that no token has")
    return token


def _address(api: str) -> str:
    if not api.startswith(("https://", "http://")) or any(character.isspace() for character in api):
        raise ValueError("it is no web address: it begins with https://")
    return api


Token = Annotated[str, AfterValidator(_sendable)]
"""What requests are sent with, in a header or an address. One that can't be is told of when a worker starts."""
ApiAddress = Annotated[str, AfterValidator(_address)]
"""Where a platform's API is."""

Account = TypeVar("Account", bound=ChannelAccount)


# The way in


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the platform sent, as it came."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    received_at: datetime
    """When it came, by our clock; with a time zone."""

    def header(self, name: str) -> str:
        """Return a header by its lower-case name. Raises Unverified if it is missing."""
        try:
            return self.headers[name]
        except KeyError:
            raise Unverified(f"the header {name} is missing") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the platform is told, once all that it sent is confirmed."""

    body: bytes = b""
    media_type: str = "text/plain"
    status: int = 200


class ReceiptState(StrEnum):
    """What a platform says has become of a message that we sent."""

    SENT = "sent"
    """It took the message."""
    DELIVERED = "delivered"
    """It is on the person's device."""
    READ = "read"
    """The person has seen it."""
    FAILED = "failed"
    """It could not be delivered, for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A platform's word on a message that we sent."""

    address: Address
    message_id: str
    """The platform's id of our message."""
    state: ReceiptState
    at: datetime
    reason: str | None = None
    """Why it failed, in the platform's words."""
    key: str | None = None
    """The key that `Outbound.send` was given, where the platform says it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a request came to."""

    messages: tuple[InboundMessage, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    ignored: int = 0
    """Events with nothing in them for a session: handshakes, and what our own bot said."""
    answer: Answer = Answer()


class Inbound(ABC):
    """The way in of one account: pure, so that any number of gateways may have it at once.

    Hostile bytes are its input. Nothing but what is said below may be raised, whatever they are; what it takes is in
    proportion to the length of the body.
    """

    @abstractmethod
    def verify(self, request: Request) -> None:
        """Return if the platform sent this, for this account. Raises Unverified.

        The raw body is looked at, in constant time, and nothing is parsed before that is done; a header that is
        missing is no signature. Where the platform signs the time, one too far from `received_at` is refused.
        """

    @abstractmethod
    def parse(self, request: Request) -> Received:
        """Return what a verified request says, in the order in which it says it. Raises Malformed.

        Message ids are the platform's own: what the platform sends again, in whatever wrapping, has the same input
        id, for ever. Each event becomes a message, a receipt, or is counted as ignored; what is not understood
        becomes a message of type `unsupported`, which holds it. A handshake gives no messages and its answer.
        """


class MediaError(AgentBusError):
    """Something that came with a message can't be had. What a reason says holds no secret."""


class MediaTooLarge(MediaError):
    """It has more bytes than were asked for."""


class MediaTypeRefused(MediaError):
    """It is not of a type that was asked for, whatever is said of it."""


class MediaAddressRefused(MediaError):
    """It leads to an address that nothing is fetched from: a private network, a scheme other than https and http."""


class MediaNotFound(MediaError):
    """It is not there, not any more, or not for this account."""


class MediaUnavailable(MediaError):
    """It can't be had at the moment."""


class NotNow(AgentBusError):
    """The platform gives nothing at the moment: it is to be asked again, `after` so many seconds."""

    def __init__(self, message: str, *, after: float) -> None:
        super().__init__(message)
        self.after = after


Place = Mapping[str, JsonValue]
"""How far a platform was read: what whoever asks next goes on from."""


class Source(ABC):
    """The way in of one account whose platform is asked, as it can't reach us; or of a share of it."""

    @property
    def share(self) -> str:
        """Which share of the account it is, where it has several: each is asked for by one gateway at a time."""
        return ""

    @property
    def place(self) -> Place | None:
        """How far all is `taken`, 256 KiB at most; None, as by default: the platform knows by itself."""
        return None

    def go_on(self, place: Place | None) -> None:  # noqa: B027 - a platform may know by itself
        """Begin where somebody else has come to; None: nobody has been there. What makes no sense counts as that."""

    async def rest(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what is held for as long as one asks: somebody else does so now. Idempotent."""

    @abstractmethod
    async def next(self, clock: "Clock") -> Received:
        """Wait for what is new, for half a minute or so, and return it in its order; nothing if nothing came.

        The same is returned again until `taken`, here and to whoever asks in our place. Raises NotNow, whose words
        hold no secret.
        """

    @abstractmethod
    def taken(self) -> None:
        """Say that what `next` returned last is confirmed by the broker."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Idempotent."""


# Where people come to us


LASTING: Final = "agentbus.lasting"
"""In the scope of an HTTP request, where the server ends what takes long: called for a response that is to last."""


@dataclass(slots=True)
class Heard:
    """What reaches somebody who waits for news of a conversation."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something may have been committed, or a reply is being written. Whoever clears it and then reads
    the log misses nothing for long. Now and then nothing is heard, so it is worth a look without it."""
    writing: Writing | None = None
    """What a reply reads that is being written, as it was told last; whoever shows it takes it away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """What a gateway lends to a channel that it hosts."""

    receive: "Callable[[HttpRequest, str], Awaitable[Response]]"
    """Takes what is posted for the account of that name, as gateways take what platforms post."""
    take: Callable[[str, Request], Awaitable[Answer]]
    """Does so with what came by another way; the status is that of the response. A channel's pace is its account's."""
    heard: Callable[[ConversationId], AbstractContextManager[Heard]]
    """Lets somebody hear of a conversation."""
    conversation_of: Callable[[Address], ConversationId]
    """Which conversation an address belongs to."""
    store: "Store"
    """To read from."""
    clock: "Clock"


class Hosted(ABC):
    """A channel whose people come to the gateways: it has pages of its own, below `/channels/{name}`.

    Any number of gateways host it at once. None of them keeps anything that outlives a connection.
    """

    @property
    @abstractmethod
    def routes(self) -> "Sequence[BaseRoute]":
        """What it serves, by paths below its own, of which the first part is the account's name.

        What is posted to `/{account}` is its as well.
        """

    @property
    @abstractmethod
    def connected(self) -> int:
        """How many connections there are at the moment."""

    @abstractmethod
    def open(self) -> None:
        """Let people connect."""

    @abstractmethod
    async def drain(self) -> None:
        """Take no more connections, and end those that there are, so that people go to another gateway. Idempotent."""


# The way out


@dataclass(frozen=True, slots=True)
class Sent:
    """The platform has it, under this id."""

    message_id: str
    """The platform's id: the one that later edits, reactions and receipts name."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The platform does not have it, for certain."""

    reason: str
    """In the platform's words; no secret is in it."""
    permanent: bool
    """Whether trying again is of no use: the chat is gone, the bot was blocked, the text is refused."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether the platform has it: the connection died, or its answer can't be read."""

    reason: str


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The platform does not have it, for certain, and will take it `after` so many seconds."""

    after: float
    account: bool = False
    """Whether that holds for all chats of the account, and not for this one alone."""


Outcome = Sent | Failed | Unknown | RateLimited
"""What became of a send."""


class Outbound(ABC):
    """The way out of one account.

    Calls say what became of them and raise nothing but a cancellation, which leaves the outcome unknown; each ends
    within its `timeout`. None of them tries again by itself, sleeps, or keeps anything between calls.
    `key` is the idempotency key of one piece of a reply: 1 to 64 letters, digits and dashes, the same whenever that
    piece is sent again. Where the platform takes one, it is given, as it is or as a digest of it.
    """

    @abstractmethod
    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Send one message to `address`: its chat, its thread, in answer to `content.reply_to` if that is given.

        The text is Markdown within `Capabilities.text_limit`, and is rendered in the platform's dialect; where the
        platform refuses the rendering, and surely did not send it, the text is sent plain.
        """

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:
        """Let a message of ours say something else. Repeating it changes nothing. By default Failed for good."""
        return self._unable("edit")

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        """Take a message of ours back; one that is gone already counts as Sent. By default Failed for good."""
        return self._unable("delete")

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        """React to a message, by an emoji or the platform's name of one. Repeating it changes nothing.

        By default Failed for good.
        """
        return self._unable("react")

    async def show(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Show what a reply reads that is being written, as what it is: no message, and gone by itself within a minute.

        `key` is the same for all that is shown of one reply. Where `Capabilities.streaming` is `shown`; Failed for good
        where a chat has no such thing, as by default. `Sent` names nothing.
        """
        return self._unable("show")

    async def typing(self, address: Address, *, timeout: float = 5.0) -> None:  # noqa: B027 - a platform may have none
        """Show that an answer is being written, for the some seconds that the platform shows it. By default nothing.

        What goes wrong is nobody's concern, and is not told.
        """

    async def reconcile(self, key: str, address: Address, since: datetime, *, timeout: float = 10.0) -> Outcome:
        """Ask the platform what became of a send whose outcome is unknown, begun at `since`.

        Sent if it is there; Failed, not permanent, if it surely is not; else Unknown, as by default.
        """
        return Unknown("the platform can't be asked")

    @staticmethod
    def _unable(what: str) -> Failed:
        return Failed(f"this channel can't {what}", permanent=True)


# What came with a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where the bytes of something are, for the moment."""

    url: str = field(repr=False)
    """It may hold a secret, and is in no log line and no error."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What is shown to `hosts`, and to nobody else, wherever they redirect to."""
    hosts: frozenset[str] = frozenset()
    """Hosts by their names; one with a dot before it stands for all below it."""
    posts: Mapping[str, str] | None = field(default=None, repr=False)
    """What is posted there as JSON; None: nothing, it is asked for."""
    private: bool = False
    """Whether it may be an address of a private network: that of the account's own API, as the settings have it."""


Ask = Callable[[Link], Awaitable[Mapping[str, Any]]]
"""Returns the JSON object that stands at a link. Raises MediaError."""


class MediaLinks(ABC):
    """Finds what came with the messages of one account: their attachments name it, and do not hold it."""

    @abstractmethod
    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:
        """Return where something is; None if it is not kept by this platform. Raises what `ask` does, ValueError."""


# What a channel can do


class Feature(StrEnum):
    """Something that may come in by a channel, or go out by it."""

    TEXT = "text"
    """What people write."""
    MEDIA = "media"
    """Pictures, sound, films and files, by reference."""
    ALBUMS = "albums"
    """Several of them as one."""
    REPLIES = "replies"
    """A message in answer to another one."""
    THREADS = "threads"
    """Threads, or topics, within a chat."""
    EDITS = "edits"
    """A message that says something else now."""
    DELETES = "deletes"
    """A message that was taken back."""
    REACTIONS = "reactions"
    """Emoji put to a message."""
    STICKERS = "stickers"
    """Stickers of the platform."""
    LOCATIONS = "locations"
    """Places."""
    CONTACTS = "contacts"
    """People's addresses."""
    COMMANDS = "commands"
    """Commands such as `/start`."""
    BUTTONS = "buttons"
    """Buttons that people press."""
    MEMBERSHIP = "membership"
    """Who joins a chat, and who leaves it."""
    RECEIPTS = "receipts"
    """What became of what we sent."""
    TYPING = "typing"
    """That an answer is being written."""


class Streaming(StrEnum):
    """How people see a reply while it is being written."""

    COLLECTED = "collected"
    """Not at all: it comes when it is whole."""
    EDITED = "edited"
    """Its beginning is sent as a message, which is edited as it grows."""
    SHOWN = "shown"
    """The platform shows it as what it is (`Outbound.show`); where a chat has no such thing, it is as `edited`."""


class Guarantee(StrEnum):
    """What is known of a send whose connection died."""

    IDEMPOTENT = "idempotent"
    """It is sent again under the same key: the platform takes it once."""
    RECONCILED = "reconciled"
    """The platform is asked, or tells: known in the end, in most cases."""
    UNKNOWN = "unknown"
    """Nobody will know: held, or sent again and marked, as the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a channel can do: docs/channels.md shows these as a table."""

    receives: frozenset[Feature]
    """What the platform tells that becomes more than `unsupported`."""
    sends: frozenset[Feature] = frozenset()
    """What our adapter can have the platform do."""
    guarantee: Guarantee = Guarantee.UNKNOWN
    text_limit: int = 4096
    """The longest text of one message, in `text_unit`."""
    text_unit: str = "characters"
    """What the platform counts: `characters` (code points), `utf-16` (code units) or `bytes` (of UTF-8)."""
    key_seconds: float = 0.0
    """For how long the platform knows a key again, where its guarantee is `idempotent`."""
    streaming: Streaming = Streaming.COLLECTED
    """How people see a reply while it is being written."""
    shown_every: float = 2.0
    """Seconds between two times that it is shown as it grows; more, the longer it takes, where a message is edited."""
    most_edits: int | None = None
    """How often the platform lets a message be edited, if it counts."""
    typing_seconds: float = 0.0
    """For how long the platform shows that an answer is being written, if it does."""
    pace: float | None = None
    """Messages a second that one chat takes, as far as the platform says."""
    account_pace: float | None = None
    """Messages a second that it takes of one account, all chats together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(Generic[Account]):
    """A channel: a name that is the platform of its addresses, and how its halves are made. Both take an account.

    A half that is None is not there. Its halves are imported when they are made.
    """

    name: str
    title: str
    """As people write it: `WhatsApp Cloud`."""
    account: type[Account]
    capabilities: Capabilities
    inbound: Callable[[str, Account], Inbound] | None = None
    """Makes the way in of the account of that name."""
    sources: Callable[[str, Account], Sequence[Source]] | None = None
    """Makes what asks for the account of that name: several if each has a share of it, none if it is not asked."""
    hosted: Callable[[Mapping[str, Account], Hosting], Hosted] | None = None
    """Makes what a gateway serves for the accounts of these names, if people come to it."""
    media: Callable[[Account], MediaLinks | None] | None = None
    """Makes what finds the files of an account; None if the account has not what that needs, such as a token."""
    outbound: "Callable[[str, Account, AsyncClient], Outbound | None] | None" = None
    """Makes the way out of the account of that name; None if the account has not what sending needs, such as a token.

    Whoever gave the client closes it.
    """
