"""What the fake platforms have in common: they post what people write, take what we send, and fail as they are told.

A platform is one object, whoever reaches it: through `httpx.MockTransport`, without a server (`client`), or over
sockets (`tests.platforms.serving`). What each does is from its documentation, which its file cites.
"""

import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, cast

import httpx

from agentbus.contracts.address import Address, Platform
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.adapters.port import Capabilities, Guarantee, Outbound, Request
from tests.harness.outbound import Fate, Killed

TOKEN: Final = "777:a-secret-that-no-log-shows"  # noqa: S105 - of no bot
SECRET: Final = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
API: Final = "https://platform.test"

ENDS_ITS_READER: Final = "x-ends-its-reader"
"""The header of an answer whose reader is killed in the moment that it comes: in place of a process."""

_REMEMBERED: Final = 100
_DEATHS: Final = frozenset({"died", "after", "odd"})


@dataclass(frozen=True)
class Said:
    """What a person writes to our bot."""

    user: int
    number: int
    """Of this person's messages."""
    text: str


@dataclass(frozen=True)
class Taken:
    """A message that the platform has."""

    chat: str
    text: str
    key: str
    """What it was told apart by, if by anything."""
    message_id: str


@dataclass
class FakePlatform(ABC):
    """Takes what is sent. `fate` has a word for each request that would make a message.

    `lost`, `died`: the connection ends before, or after it took the message. `killed`, `after`: so does the sender.
    `busy`: too much. `error`, `odd`: 500 before, or after it took the message. `refused`: never.
    """

    in_order: ClassVar[bool] = False
    """Whether it posts one after the other, and nothing before what came earlier was taken."""
    tells: ClassVar[Sequence[str]] = ()
    """What it tells of each message that it took, word by word."""
    answered_within: ClassVar[float] = 10.0
    """Seconds for which it waits for an answer to what it posts."""

    fate: Fate = field(default_factory=Fate)
    taken: list[Taken] = field(default_factory=list)
    requests: deque[httpx.Request] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    """The latest ones."""
    busy_for: float = 3
    """Seconds for which it asks to be left alone, where it asks for a time of ours."""
    early: int = 0
    """Requests to a chat that it had asked to leave alone for longer."""
    deaths: int = 0
    """Messages that it took whose sender did not hear so."""
    on_taken: Callable[[Taken], None] = lambda _taken: None
    """Is told of each message that it takes."""

    platform: Platform = Platform.CUSTOM
    guarantee: Guarantee = Guarantee.UNKNOWN

    _by_key: dict[str, Taken] = field(default_factory=dict)
    _alone: dict[str, float] = field(default_factory=dict)
    """Until when, by `monotonic`, chats are to be left alone."""

    @property
    def name(self) -> str:
        """The channel's name."""
        return self.platform.value

    # The way in

    @abstractmethod
    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:
        """Return the request by which it tells what somebody said, signed `at` that time: its so many-th repeat."""

    def telling(self, word: str, taken: Taken, at: datetime) -> Request:
        """Return the request by which it tells one of what it `tells` of a message."""
        raise NotImplementedError

    # The way out

    @abstractmethod
    def account(self, api: str = API) -> dict[str, Any]:
        """Return the account's settings, for the way in and out; `api`: where the platform is reached."""

    def outbound(self, client: httpx.AsyncClient, api: str = API) -> Outbound:
        """Return our adapter for it."""
        [one] = accounts_in({self.name: {"default": self.account(api)}})
        assert one.channel.outbound
        return cast("Outbound", one.channel.outbound(one.name, one.account, client))

    def client(self) -> httpx.AsyncClient:
        """Return a client that reaches nobody else."""
        return mortal(httpx.MockTransport(self.handle))

    def address(self, chat: str = "C1", **more: Any) -> Address:
        return Address(platform=self.platform, chat=chat, user="U1", **more)

    @property
    def can(self) -> Capabilities:
        return Capabilities(receives=frozenset(), guarantee=self.guarantee, text_limit=64, key_seconds=3600.0)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request. Raises httpx.TransportError where the connection ends instead."""
        self.requests.append(request)
        made = self.message_in(request)
        if made is None:
            return self.other(request)
        fate, chat = self.fate.next(), made[0]
        self.early += time.monotonic() < self._alone.get(chat, 0.0)
        if fate == "busy":
            self._alone[chat] = time.monotonic() + self.busy_for
        if not_taken := self._before(fate):
            return not_taken
        taken, again = self.take(*made)
        return self._after(fate) or (self.repeated(taken) if again else self.accepted(taken))

    def _before(self, fate: str) -> httpx.Response | None:
        """Return what is answered before the message is taken, which it is not then; None if it is."""
        match fate:
            case "lost":
                raise httpx.ConnectTimeout("not even reached") if len(self.requests) % 2 else httpx.ReadError("gone")
            case "killed":
                return httpx.Response(503, headers={ENDS_ITS_READER: fate})
            case "busy":
                return self.busy()
            case "error":
                return httpx.Response(502, text="<html>bad gateway</html>")
            case "refused":
                return self.refusal()
        return None

    def _after(self, fate: str) -> httpx.Response | None:
        """Return what is answered once the message is taken, if it is not that."""
        self.deaths += fate in _DEATHS
        match fate:
            case "died":
                raise httpx.ReadError("gone")
            case "after":
                return httpx.Response(503, headers={ENDS_ITS_READER: fate})
            case "odd":
                return httpx.Response(500)
        return None

    @property
    def texts(self) -> list[str]:
        """Return what people read, in its order."""
        return [one.text for one in self.taken]

    def take(self, chat: str, text: str, key: str) -> tuple[Taken, bool]:
        """Keep a message; return it, and whether it was there under its key, which then counts for nothing."""
        if self.guarantee is Guarantee.IDEMPOTENT and key and (known := self._by_key.get(key)):
            return known, True
        taken = Taken(chat, text, key, str(1000 + len(self.taken)))
        self.taken.append(taken)
        self._by_key[key] = taken
        self.on_taken(taken)
        return taken, False

    @abstractmethod
    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        """Return chat, text and key of the message that a request asks for; None if it is for something else."""

    @abstractmethod
    def accepted(self, taken: Taken) -> httpx.Response:
        """Answer that a message was taken."""

    def repeated(self, taken: Taken) -> httpx.Response:
        """Answer that a message was taken before."""
        return self.accepted(taken)

    def busy(self) -> httpx.Response:
        """Answer that it is too much."""
        return httpx.Response(429, headers={"retry-after": f"{self.busy_for:g}"}, json={})

    def refusal(self) -> httpx.Response:
        """Answer that it will never be taken."""
        return httpx.Response(403, json={"message": "the chat is gone"})

    def other(self, request: httpx.Request) -> httpx.Response:
        """Answer another request."""
        return httpx.Response(404, json={"message": f"nothing at {request.url.path}"})


def mortal(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Return a client whose user is killed by the answers that say so; `transport`: by default the network's."""
    return httpx.AsyncClient(transport=transport, event_hooks={"response": [_perhaps_die]})


async def _perhaps_die(response: httpx.Response) -> None:
    if ENDS_ITS_READER in response.headers:
        raise Killed


def said(request: httpx.Request) -> dict[str, Any]:
    """Return what a request says in JSON."""
    found = json.loads(request.content)
    assert isinstance(found, dict)
    return found
