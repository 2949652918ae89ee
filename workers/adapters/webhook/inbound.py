"""Webhooks of any system.

Source: https://www.standardwebhooks.com/ (`spec/standard-webhooks.md`): HMAC-SHA256 over `id.timestamp.body`, in
base64, in the header `webhook-signature` as `v1,...`, several of them separated by spaces; the id stays the same when a
webhook is sent again; the time is to be checked.

- Without an id of its own a message is known by the request's id and its place in the request.
- What has neither chat nor user, or a part that is of the wrong kind, is kept as `unsupported`.
"""

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from jmespath import compile as compiled  # type: ignore[import-untyped] # it ships no types
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped] # it ships no types
from pydantic import BaseModel, ConfigDict, Field

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import Attachment, InboundMessage, TextContent
from agentbus.workers.adapters.parsing import (
    UNKNOWN,
    attached,
    hmac_sha256,
    listed,
    loaded,
    moment,
    need_recent,
    same,
    understood,
    unsupported,
)
from agentbus.workers.adapters.port import Inbound, Received, Request, Unverified
from agentbus.workers.adapters.webhook.account import WebhookAccount, WebhookMapping, key_of
from agentbus.workers.importers.values import fit_id, fit_name

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"

PLATFORM: Final = Platform("webhook")

_VERSION: Final = "v1,"
_MOST_SIGNATURES: Final = 16
"""As many are looked at: a secret that is being changed has two."""


class _Said(BaseModel):
    """A message, as the mapping found it."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    chat: str = Field(min_length=1)
    user: str = Field(min_length=1)
    message_id: str | None = None
    text: str = ""
    sent_at: datetime | None = None
    sender_name: str | None = None
    thread: str | None = None
    reply_to: str | None = None
    attachments: list[str] | str = Field(default_factory=list)


class WebhookInbound(Inbound):
    """What one sender posts."""

    def __init__(self, name: str, account: WebhookAccount) -> None:
        self._name = name
        self._key = key_of(account.secret)
        mapping = account.mapping.model_dump()
        self._paths = {part: compiled(mapping[part]) for part in WebhookMapping.model_fields}

    def verify(self, request: Request) -> None:
        told, at, signatures = (request.header(name) for name in (ID, TIMESTAMP, SIGNATURE))
        need_recent(at, request)
        signed = f"{told}.{at}.".encode("latin-1", "replace") + request.body
        right = _VERSION + base64.b64encode(hmac_sha256(self._key, signed).digest()).decode()
        found = [same(one, right) for one in signatures.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES]]
        if not any(found):
            raise Unverified("the signature is not the right one")

    def parse(self, request: Request) -> Received:
        body = loaded(request.body)
        found = self._find("messages", body)
        messages: list[InboundMessage] = []
        for place, item in enumerate(listed(found) if isinstance(found, list) else [] if found is None else [found]):
            messages += self._message(item, place, request)
        return Received(messages=tuple(messages), ignored=int(not messages))

    def _find(self, part: str, item: Any) -> Any:
        """Return what the mapping finds; None also where an expression is applied to what it is not made for."""
        try:
            return self._paths[part].search(item)
        except (JMESPathError, RecursionError):
            return None

    def _message(self, item: Any, place: int, request: Request) -> list[InboundMessage]:
        known = f"{request.headers[ID]}:{place}"
        at = moment(int(request.headers[TIMESTAMP]))
        parts = {part: self._find(part, item) for part in _Said.model_fields}

        def mapped() -> Iterator[InboundMessage]:
            said = _Said.model_validate({part: value for part, value in parts.items() if value is not None})
            files = [said.attachments] if isinstance(said.attachments, str) else said.attachments
            yield InboundMessage(
                address=Address(
                    platform=PLATFORM,
                    account=self._name,
                    chat=fit_id(said.chat),
                    thread=fit_id(said.thread) if said.thread else None,
                    user=fit_id(said.user),
                ),
                message_id=fit_id(said.message_id or known),
                sent_at=said.sent_at or at,
                sender_name=fit_name(said.sender_name),
                content=TextContent(
                    text=said.text,
                    attachments=attached(Attachment(uri=uri) for uri in files),
                    reply_to=fit_id(said.reply_to) if said.reply_to else None,
                ),
            )

        def kept() -> InboundMessage:
            chat, user = (fit_id(str(parts[part] or UNKNOWN)) for part in ("chat", "user"))
            address = Address(platform=PLATFORM, account=self._name, chat=chat, user=user)
            return unsupported("webhook", item, address=address, sent_at=at, message_id=known)

        return understood(mapped, kept)
