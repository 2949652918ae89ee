"""WhatsApp's files: the Graph API says where one is, for five minutes; both want the account's token.

Source: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media (`GET /<media id>`, then its `url`).
"""

from urllib.parse import quote, urlsplit

from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

_PREFIX = "whatsapp:media/"
_HOSTS = frozenset({".fbsbx.com", ".facebook.com", ".fbcdn.net", ".whatsapp.net"})


class WhatsAppMedia(MediaLinks):
    """Finds the files of one business account."""

    def __init__(self, api: str, token: str) -> None:
        self._api = api.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:
        if not attachment.uri.startswith(_PREFIX):
            return None
        asked = f"{self._api}/{quote(attachment.uri.removeprefix(_PREFIX), safe='')}"
        own = frozenset({urlsplit(self._api).hostname or ""})
        told = await ask(Link(url=asked, headers=self._headers, hosts=own, private=True))
        url = told.get("url")
        if not isinstance(url, str) or not url:
            raise ValueError("WhatsApp does not say where the file is")
        return Link(url=url, headers=self._headers, hosts=_HOSTS | own)
