"""Slack's files: `url_private` gives one to whoever shows the bot's token.

Source: https://docs.slack.dev/reference/objects/file-object (`url_private`, the scope files:read).
"""

from typing import Final
from urllib.parse import urlsplit

from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

HOSTS: Final = frozenset({"files.slack.com", "slack-files.com"})


class SlackMedia(MediaLinks):
    """Finds the files of one workspace."""

    def __init__(self, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"}

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:  # noqa: ARG002 - the address says all
        place = urlsplit(attachment.uri)
        if place.scheme != "https" or place.hostname not in HOSTS:
            return None
        return Link(url=attachment.uri, headers=self._headers, hosts=HOSTS)
