"""LINE's files: a host of its own gives the content of a message, for a while, to whoever shows the account's token.

Source: https://developers.line.biz/en/reference/messaging-api/#get-content (api-data.line.me).
"""

from urllib.parse import quote, urlsplit

from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

_PREFIX = "line:content/"


class LineMedia(MediaLinks):
    """Finds the files of one official account."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/").replace("://api.line.me", "://api-data.line.me")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:  # noqa: ARG002 - the id says all
        if not attachment.uri.startswith(_PREFIX):
            return None
        message_id = quote(attachment.uri.removeprefix(_PREFIX), safe="")
        url = f"{self._api}/v2/bot/message/{message_id}/content"
        hosts = frozenset({urlsplit(self._api).hostname or ""})
        return Link(url=url, headers=self._headers, hosts=hosts, private=True)
