"""Feishu's files: the resource of a message, with a tenant's token, which is asked for each time.

Source: https://open.feishu.cn/document/server-docs/im-v1/message/get-2 (`type` is `image` or `file`; 100 MB at most).
"""

from urllib.parse import quote, urlsplit

from agentbus.contracts.messages import Attachment, AttachmentKind
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

_PREFIX = "feishu:message/"


class FeishuMedia(MediaLinks):
    """Finds the files of one app in one tenant."""

    def __init__(self, api: str, app_id: str, app_secret: str) -> None:
        self._api = api.rstrip("/")
        self._app = {"app_id": app_id, "app_secret": app_secret}

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:
        if not attachment.uri.startswith(_PREFIX):
            return None
        message_id, _, key = attachment.uri.removeprefix(_PREFIX).partition("/")
        url = f"{self._api}/open-apis/auth/v3/tenant_access_token/internal"
        told = await ask(Link(url=url, posts=self._app, private=True))
        token = told.get("tenant_access_token")
        if not isinstance(token, str) or not token:
            raise ValueError("Feishu gives no token")
        kind = "image" if attachment.kind is AttachmentKind.IMAGE else "file"
        place = f"{quote(message_id, safe='')}/resources/{quote(key, safe='')}?type={kind}"
        return Link(
            url=f"{self._api}/open-apis/im/v1/messages/{place}",
            headers={"Authorization": f"Bearer {token}"},
            hosts=frozenset({urlsplit(self._api).hostname or ""}),
            private=True,
        )
