"""Telegram's files: getFile says where one is, for an hour; the bot's token is a part of the address.

Source: https://core.telegram.org/bots/api#getfile (20 MB at most).
"""

from urllib.parse import quote

from agentbus.contracts.messages import Attachment
from agentbus.workers.adapters.masking import mask_tokens
from agentbus.workers.adapters.port import Ask, Link, MediaLinks

_PREFIX = "telegram:file/"


class TelegramMedia(MediaLinks):
    """Finds the files of one bot."""

    def __init__(self, api: str, token: str) -> None:
        mask_tokens()
        self._api = api.rstrip("/")
        self._token = token

    async def link(self, attachment: Attachment, ask: Ask) -> Link | None:
        if not attachment.uri.startswith(_PREFIX):
            return None
        file_id = quote(attachment.uri.removeprefix(_PREFIX), safe="")
        told = await ask(Link(url=f"{self._api}/bot{self._token}/getFile?file_id={file_id}", private=True))
        result = told.get("result")
        path = result.get("file_path") if isinstance(result, dict) else None
        if not isinstance(path, str) or not path:
            raise ValueError("Telegram does not say where the file is")
        return Link(url=f"{self._api}/file/bot{self._token}/{quote(path)}", private=True)
