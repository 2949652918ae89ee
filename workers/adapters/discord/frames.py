"""What comes over a connection to Discord's gateway, frame by frame: as much of each as somebody needs. Pure.

Source: https://discord.com/developers/docs/events/gateway-events#payload-structure and .../resources/guild.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from agentbus.workers.adapters.discord.snowflakes import snowflake
from agentbus.workers.adapters.parsing import loaded_object
from agentbus.workers.adapters.port import Malformed

DISPATCH: Final = 0
HELLO: Final = 10
READY: Final = "READY"
RESUMED: Final = "RESUMED"
SERVER: Final = "GUILD_CREATE"
INTERACTION: Final = "INTERACTION_CREATE"

_SHORTEST_BEAT: Final = 1000
_LONGEST_BEAT: Final = 600_000
_WITH_MESSAGES: Final = frozenset({0, 1, 2, 3, 5, 10, 11, 12, 13})
"""Types of channels that hold messages: all but categories, forums and media, whose threads hold them."""
_MOST: Final = 10_000
"""Channels and threads of one server, or servers of a bot: Discord has fewer."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A dispatch."""

    event: str
    number: int
    """Its place in the session."""
    data: Mapping[str, Any]
    """What it says; nothing where nobody asks."""


@dataclass(frozen=True, slots=True)
class Began:
    """A session that began."""

    session: str
    url: str
    """Where it is gone on with."""
    bot: str
    servers: tuple[str, ...]
    """Those that are still to come."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that the bot is on."""

    id: str
    joined: str
    """When the bot came to it."""
    channels: tuple[tuple[str, int], ...]
    """Channels and threads that hold messages, with the id of the last one."""


def operation_in(raw: str) -> tuple[int, Mapping[str, Any]]:
    """Return what a frame is for, and the frame. Raises Malformed for what no gateway sends."""
    found = loaded_object(raw.encode(errors="surrogatepass"))
    operation, data = found.get("op"), found.get("d")
    if type(operation) is not int:
        raise Malformed("a frame without an operation")
    if operation == HELLO:
        beat = data.get("heartbeat_interval") if isinstance(data, dict) else None
        # It is slept for by a thread: NaN, none and a negative one would be no sleep at all.
        if not isinstance(beat, int | float) or not isfinite(beat) or not _SHORTEST_BEAT <= beat <= _LONGEST_BEAT:
            raise Malformed("no pace of heartbeats that there is")
    return operation, found


def dispatched(found: Mapping[str, Any]) -> Frame:
    """Return a frame that dispatches something. Raises Malformed."""
    event, number, data = found.get("t"), found.get("s"), found.get("d")
    if not isinstance(event, str) or type(number) is not int or number < 0:
        raise Malformed("a dispatch without a name or a number")
    if not isinstance(data, dict):
        return Frame(event, number, {})
    if event == SERVER:
        return Frame(event, number, _without_the_rest(data))
    wanted = event in {READY, INTERACTION} or event.startswith("MESSAGE_")
    return Frame(event, number, data if wanted else {})


def began(data: Mapping[str, Any]) -> Began:
    """Return the session that READY tells of. Raises Malformed."""
    user = data.get("user")
    bot = user.get("id") if isinstance(user, dict) else None
    session, url = data.get("session_id"), data.get("resume_gateway_url")
    if not (isinstance(session, str) and session and isinstance(url, str) and snowflake(bot) is not None):
        raise Malformed("a session without an id, an address or a bot")
    servers = (one.get("id") for one in _objects(data.get("guilds")))
    return Began(session, url, str(bot), tuple(str(one) for one in servers if snowflake(one) is not None))


def server(data: Mapping[str, Any]) -> Server:
    """Return what is needed of a server; what is not there is taken for nothing."""
    channels = [
        (str(one["id"]), last)
        for one in (*_objects(data.get("channels")), *_objects(data.get("threads")))
        if snowflake(one.get("id")) is not None
        and one.get("type") in _WITH_MESSAGES
        and (last := snowflake(one.get("last_message_id"))) is not None
    ]
    return Server(str(data.get("id")), str(data.get("joined_at")), tuple(channels))


def _without_the_rest(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `server` reads of a server: it has a thousand times as much."""
    kept = {name: data.get(name) for name in ("id", "joined_at")}
    return kept | {
        name: [{part: one.get(part) for part in ("id", "type", "last_message_id")} for one in _objects(data.get(name))]
        for name in ("channels", "threads")
    }


def _objects(value: object) -> list[dict[str, Any]]:
    found = value[:_MOST] if isinstance(value, list) else []
    return [one for one in found if isinstance(one, dict)]
