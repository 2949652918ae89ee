"""Discord's files: the link to one is good for a day, and the message that it came with gives another.

Source: https://discord.com/developers/docs/reference#signed-attachment-cdn-urls and
.../resources/message#get-channel-message.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.discord.snowflakes import snowflake
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

_PREFIX: Final = "discord:attachment/"


class DiscordMedia(MediaLinks):
    """Finds the files of one bot."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._headers = {"Authorization": f"Bot {token}"}
        self._hosts = frozenset({urlsplit(api).hostname or ""})

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:
        if not attachment.uri.startswith(_PREFIX):
            return None
        parts = attachment.uri.removeprefix(_PREFIX).split("/")
        if len(parts) != 3 or any(snowflake(one) is None for one in parts):
            raise ValueError("it names no file of a message")
        channel, message, file = parts
        url = f"{self._api}/channels/{channel}/messages/{message}"
        told = await ask(Link(url=url, headers=self._headers, hosts=self._hosts, private=True))
        found = next((one for one in _files(told) if one.get("id") == file), None)
        if found is None or not isinstance(found.get("url"), str):
            raise ValueError("Discord does not say where the file is")
        return Link(url=found["url"])


def _files(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a message, and of those that it forwards."""
    snapshots = [one.get("message") for one in _objects(message.get("message_snapshots"))]
    bodies = [message, *(one for one in snapshots if isinstance(one, dict))]
    return [file for body in bodies for file in _objects(body.get("attachments"))]


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
