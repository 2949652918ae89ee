"""Discord's messages: by a connection to its gateway, and from the history of channels after a gap.

Source: https://discord.com/developers/docs/events/gateway (resuming; close codes).

- Where somebody else goes on is the session, the number of the last dispatch that the broker has, and the id of the
  last message. Within about a minute a session is resumed, by whoever: then all that happened meanwhile is dispatched.
- Later a new one is begun, and what was said meanwhile is read from history: of the channels whose last message is
  later, and of private chats that are known. Edits, deletions and reactions of that time are told to nobody.
- READY and the servers that come after it tell which these are; none counts as taken before its channels are read.
- Repeats are recognised by the platform's ids, so history is read from some minutes before.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from httpx import AsyncBaseTransport
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentbus.contracts.clock import Clock
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.discord.api import LATER, PAGE, DiscordApi
from agentbus.workers.adapters.discord.frames import INTERACTION, READY, SERVER, Frame, began, server
from agentbus.workers.adapters.discord.inbound import DiscordInbound
from agentbus.workers.adapters.discord.messages import SAID, DiscordMessages, Told
from agentbus.workers.adapters.discord.shard import Connection, Ended
from agentbus.workers.adapters.discord.snowflakes import before, first_of, snowflake
from agentbus.workers.adapters.port import Malformed, NotNow, Place, Received, Source

HELD: Final = 25.0
"""Seconds for which it is waited for something new."""

_TOGETHER: Final = 50
"""Dispatches that are published at once."""
_CHANNELS: Final = 10
"""Channels that are looked at before it is told that they have nothing."""
_OVERLAP: Final = timedelta(minutes=5)
"""How far before the last message history is read: dispatches of different channels overtake each other."""
_MOST_PRIVATE: Final = 1000
"""Private chats that are remembered: Discord lists a bot none of its own."""
_RESUMES: Final = 2
"""How often a session is resumed that ends at once, before another one is begun."""
_WHY: Final[Mapping[int | None, str]] = {
    4004: "Discord does not know the bot's token",
    4010: "the account's `shards` are not what Discord takes",
    4011: "the bot is on so many servers that Discord wants more `shards`",
    4013: "Discord does not know what the bot wants to be told",
    4014: "Discord does not let the bot read what people write: Message Content Intent, on the application's page Bot",
}


class _Place(BaseModel):
    """What whoever connects in our place goes on from: kept in the store, and so read as what somebody else wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session: str | None = None
    url: str = ""
    number: int = Field(default=0, ge=0)
    bot: str = ""
    last: int | None = Field(default=None, ge=0)
    """The highest id of a message that was taken; None: there was no session yet."""
    gap: int = Field(default=0, ge=0)
    """From where on the history is to be read of the servers that are still to come."""
    servers: tuple[str, ...] = ()
    """These."""
    private: tuple[str, ...] = Field(default=(), max_length=_MOST_PRIVATE)
    """Private chats, the one with the latest message last."""

    def change(self, **parts: Any) -> "_Place":
        return self.model_copy(update=parts)

    def with_private(self, channel: str) -> "_Place":
        if self.private and self.private[-1] == channel:
            return self
        others = [one for one in self.private if one != channel]
        return self.change(private=(*others, channel)[-_MOST_PRIVATE:])


@dataclass(slots=True)
class _Given:
    """What was returned last, and how things stand once it is taken."""

    received: Received
    place: _Place
    gaps: dict[str, int]
    """Channels whose history is to be read, and the message after which it is."""
    answers: tuple[tuple[Mapping[str, Any], bytes], ...] = ()


@dataclass(slots=True)
class _Reading:
    """Dispatches as they are read."""

    place: _Place
    at: datetime
    messages: list[Any] = field(default_factory=list)
    ignored: int = 0
    answers: list[tuple[Mapping[str, Any], bytes]] = field(default_factory=list)

    def add(self, received: Received) -> None:
        self.messages += received.messages
        self.ignored += received.ignored

    def given(self, gaps: dict[str, int] | None = None) -> _Given:
        received = Received(messages=tuple(self.messages), ignored=self.ignored)
        return _Given(received, self.place, gaps or {}, tuple(self.answers))


class DiscordSource(Source):
    """What one bot is told, or one shard of it."""

    def __init__(
        self, name: str, account: DiscordAccount, shard: int = 0, transport: AsyncBaseTransport | None = None
    ) -> None:
        if account.token is None:
            raise ValueError("there is no token")
        self._token = account.token
        self._shard, self._shards = shard, account.shards
        self._api = DiscordApi(account.api, self._token, transport)
        self._messages = DiscordMessages(name, bots=account.bots)
        self._interactions = DiscordInbound(name, account)
        self._connection: Connection | None = None
        self._place = _Place()
        self._frames: deque[Frame] = deque()
        self._gaps: dict[str, int] = {}
        self._behind: _Place | None = None
        """How things stand once the gaps are filled."""
        self._given: _Given | None = None
        self._answers: tuple[tuple[Mapping[str, Any], bytes], ...] = ()
        self._vain = 0
        """Connections that ended one after the other before anything was dispatched."""

    @property
    def share(self) -> str:
        return str(self._shard) if self._shard else ""

    @property
    def place(self) -> Place | None:
        return self._place.model_dump(mode="json") if self._place.last is not None else None

    def go_on(self, place: Place | None) -> None:
        try:
            self._place = _Place.model_validate(place or {})
        except ValidationError:
            self._place = _Place()

    async def next(self, clock: Clock) -> Received:
        if self._given is None:
            self._given = await self._new(clock)
        return self._given.received

    def taken(self) -> None:
        given, self._given = self._given, None
        if given is None:
            return
        self._place, self._gaps, self._answers = given.place, given.gaps, given.answers
        if not self._gaps and self._behind is not None:
            self._place, self._behind = self._behind, None
        if self._connection and self._place.session is not None:
            self._connection.taken(self._place.number)

    async def rest(self) -> None:
        connection, self._connection = self._connection, None
        self._frames.clear()
        self._given, self._behind, self._gaps, self._answers = None, None, {}, ()
        if connection:
            await connection.close()

    async def close(self) -> None:
        try:
            await self.rest()
        finally:
            await self._api.close()

    async def _new(self, clock: Clock) -> _Given:
        """Return what comes next: what is left of a gap before what was dispatched since."""
        answers, self._answers = self._answers, ()
        for interaction, body in answers:
            await self._api.answer(interaction, body)
        if self._gaps:
            return await self._filled(clock.now())
        if not self._frames:
            self._frames.extend(await self._heard())
        try:
            return self._read(clock.now())
        except Malformed as error:
            await self.rest()
            raise NotNow(f"Discord's gateway began no session: {error}", after=LATER) from None

    # Connections

    async def _heard(self) -> list[Frame]:
        """Return what was dispatched; connect if there is no connection. Raises NotNow."""
        connection = self._connection or await self._connected()
        try:
            found = await connection.frames(HELD, _TOGETHER)
        except Ended as error:
            await self._lost(error)
            return []
        if found:
            self._vain = 0
        return found

    async def _connected(self) -> Connection:
        place = self._place
        if place.session is not None and self._vain < _RESUMES:
            url, session = place.url, place.session
        else:
            url, session = await self._api.gateway(), None
        if not url.startswith("wss://" if not self._api.plain else ("ws://", "wss://")):
            self._place = place.change(session=None)
            raise NotNow("the address of Discord's gateway is none that the token may be shown to", after=LATER)
        self._connection = connection = Connection(self._token, shard=self._shard, shards=self._shards)
        try:
            await connection.open(url, session, place.number)
        except Ended as error:
            await self._lost(error)
            raise NotNow(str(error), after=1.0) from None
        return connection

    async def _lost(self, error: Ended) -> None:
        """Let go of a connection that is over. Raises NotNow if the next one is to wait."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()
        self._vain += 1
        if not error.resumable:
            self._place = self._place.change(session=None)
        if error.code is not None:
            raise NotNow(_WHY.get(error.code, str(error)), after=LATER)
        if self._vain > 1 or not error.resumable:
            raise NotNow(str(error), after=min(2.0 ** (self._vain - 1), LATER))

    # What was dispatched

    def _read(self, at: datetime) -> _Given:
        """Read dispatches, up to the first one that shows a gap. Raises Malformed."""
        reading = _Reading(self._place, at)
        while self._frames:
            frame = self._frames[0]
            gaps = self._gaps_by(frame, reading)
            if gaps:
                if reading.place is self._place and not reading.messages:
                    self._frames.popleft()
                    self._behind = self._after(frame, reading.place, at)
                    return _Given(Received(ignored=1), reading.place, gaps)
                break  # what came before it is taken first
            self._frames.popleft()
            self._take(frame, reading)
            reading.place = self._after(frame, reading.place, at)
        return reading.given()

    def _take(self, frame: Frame, reading: _Reading) -> None:
        if frame.event == INTERACTION:
            received = self._interactions.read(frame.data, reading.at)
            reading.add(received)
            reading.answers.append((frame.data, received.answer.body))
            return
        known = f"{reading.place.session}:{frame.number}"
        reading.add(self._messages.read(Told(frame.event, frame.data, known, reading.place.bot, reading.at)))

    def _gaps_by(self, frame: Frame, reading: _Reading) -> dict[str, int]:
        """Return the channels whose history a dispatch asks for."""
        place = reading.place
        if place.last is None:
            return {}
        if frame.event == READY:
            after = before(place.last, _OVERLAP)
            return dict.fromkeys(place.private, after) if not self._shard else {}
        if frame.event != SERVER:
            return {}
        found = server(frame.data)
        after = place.gap if found.id in place.servers else before(place.last, _OVERLAP)
        after = max(after, _joined(found.joined))
        return {channel: after for channel, last in found.channels if last > after}

    @staticmethod
    def _after(frame: Frame, place: _Place, at: datetime) -> _Place:
        """Return how things stand once a dispatch is taken. Raises Malformed."""
        if frame.event == READY:
            new = began(frame.data)
            gap = place.gap if place.servers else before(place.last, _OVERLAP) if place.last is not None else 0
            return place.change(
                session=new.session,
                url=new.url,
                bot=new.bot,
                number=frame.number,
                gap=gap,
                servers=new.servers if place.last is not None else (),
                last=place.last if place.last is not None else first_of(at),
            )
        place = place.change(number=frame.number)
        if frame.event == SERVER:
            left = tuple(one for one in place.servers if one != frame.data.get("id"))
            return place.change(servers=left)
        if frame.event == SAID:
            channel = frame.data.get("channel_id")
            if "guild_id" not in frame.data and isinstance(channel, str) and snowflake(channel) is not None:
                place = place.with_private(channel)
            return place.change(last=max(place.last or 0, snowflake(frame.data.get("id")) or 0))
        return place

    # What is read from history

    async def _filled(self, at: datetime) -> _Given:
        """Return the next messages of a channel that has a gap, or that some have none. Raises NotNow."""
        gaps, reading = dict(self._gaps), _Reading(self._place, at)
        bot = (self._behind or self._place).bot
        for channel, after in list(gaps.items())[:_CHANNELS]:
            try:
                found = await self._api.history(channel, after)
            except NotNow:
                if len(gaps) < len(self._gaps):
                    break  # what was looked at before counts, however little the platform gives at a time
                raise
            for one in found:
                told = {**one, "channel_id": channel}
                reading.add(self._messages.read(Told(SAID, told, f"history:{one['id']}", bot, at)))
            del gaps[channel]
            if len(found) == PAGE:
                gaps = {channel: int(found[-1]["id"]), **gaps}
            if found:
                break
        return reading.given(gaps)


def _joined(when: str) -> int:
    try:
        return first_of(datetime.fromisoformat(when))
    except (ValueError, OverflowError):
        return 0
