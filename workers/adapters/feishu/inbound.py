"""What Feishu (Lark) posts: encrypted events, and what people press in cards.

Source: "Receive events" at https://open.feishu.cn/document (`encrypt-key-encryption-configuration-case`: AES-256-CBC,
the key is the SHA-256 of the Encrypt Key, the first 16 bytes are the vector; `X-Lark-Signature` is the SHA-256 of
timestamp, nonce, Encrypt Key and body; 3 s to answer; sent again after 15 s, 5 min, 1 h, 6 h).

- The request that asks whether we are there is not signed: it is taken if it decrypts, and holds the right token.
- How old a signed request is, is not looked at: one that is sent again hours later may be signed as it was at first. A
  replay is recognised by its id.
- A message is known by its id, everything else by `event_id`.
- A file's address is `feishu:message/<message's id>/<key>`: the API gives it, with a token of the app.
- In a text the names of those mentioned stand in the place of their keys.
- Reactions don't say which chat they are in, and who took a message back is not told: the first are kept as they are.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.documents import json_in
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    DeleteContent,
    InboundMessage,
    Membership,
    MembershipContent,
    TextContent,
)
from agentbus.workers.adapters.feishu.account import FeishuAccount
from agentbus.workers.adapters.feishu.payloads import Content, Members, Mention, Message, Pressed, Recalled
from agentbus.workers.adapters.feishu.payloads import Received as Said
from agentbus.workers.adapters.parsing import (
    UNKNOWN,
    attached,
    listed,
    loaded_object,
    milliseconds,
    need_same,
    understood,
    unsupported,
    written,
)
from agentbus.workers.adapters.port import Answer, Inbound, Malformed, Received, Request, Unverified
from agentbus.workers.importers.port import UNKNOWN_USER
from agentbus.workers.importers.values import fit_id, fit_name

SIGNATURE: Final = "x-lark-signature"
TIMESTAMP: Final = "x-lark-request-timestamp"
NONCE: Final = "x-lark-request-nonce"

_BLOCK: Final = 16
_CHALLENGE: Final = "url_verification"
_CARD: Final = "card.action.trigger"
_FILES: Final = {
    "image": AttachmentKind.IMAGE,
    "audio": AttachmentKind.AUDIO,
    "media": AttachmentKind.VIDEO,
    "file": AttachmentKind.FILE,
    "sticker": AttachmentKind.STICKER,
}
_JSON: Final = "application/json"
_KEY: Final = re.compile(r"@_user_[0-9]+|@_all")
"""What stands in a text for somebody."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An event being read."""

    kind: str
    known: str
    raw: Mapping[str, Any]
    whole: Mapping[str, Any]
    at: datetime


class FeishuInbound(Inbound):
    """What one app is told."""

    def __init__(self, name: str, account: FeishuAccount) -> None:
        self._name = name
        self._secret = account.encrypt_key.encode()
        self._key = hashlib.sha256(self._secret).digest()
        self._token = account.verification_token
        self._readers: dict[str, Callable[[_Event], Iterator[InboundMessage]]] = {
            "im.message.receive_v1": self._said,
            "im.message.recalled_v1": self._recalled,
            "im.chat.member.user.added_v1": self._members,
            "im.chat.member.user.deleted_v1": self._members,
            "im.chat.member.user.withdrawn_v1": self._members,
            _CARD: self._pressed,
        }

    def verify(self, request: Request) -> None:
        if SIGNATURE not in request.headers:
            self._need_challenge(request)
            return
        at, nonce = (request.header(name).encode(errors="replace") for name in (TIMESTAMP, NONCE))
        need_same(request.header(SIGNATURE), hashlib.sha256(at + nonce + self._secret + request.body).hexdigest())

    def parse(self, request: Request) -> Received:
        body = self._opened(request.body)
        if body.get("type") == _CHALLENGE:
            answer = written({"challenge": str(body.get("challenge", ""))}).encode()
            return Received(ignored=1, answer=Answer(body=answer, media_type=_JSON))
        event = _event(body, request.received_at)
        reader = self._readers.get(event.kind, self._not_known)
        messages = understood(lambda: reader(event), lambda: self._kept(event))
        return Received(messages=tuple(messages), answer=Answer(body=b"{}", media_type=_JSON))

    def _need_challenge(self, request: Request) -> None:
        """Raise Unverified unless a request is the one that asks whether we are there."""
        try:
            body = self._opened(request.body)
        except Malformed:
            raise Unverified(f"the header {SIGNATURE} is missing") from None
        if body.get("type") != _CHALLENGE or not isinstance(body.get("token"), str):
            raise Unverified(f"the header {SIGNATURE} is missing")
        need_same(body["token"], self._token)

    def _opened(self, raw: bytes) -> dict[str, Any]:
        """Return what a body says, decrypted. Raises Malformed."""
        sealed = loaded_object(raw).get("encrypt")
        if not isinstance(sealed, str):
            raise Malformed("it is not encrypted: the app has no Encrypt Key")
        try:
            ciphertext = base64.b64decode(sealed, validate=True)
        except ValueError:
            raise Malformed("what is encrypted is not base64") from None
        if len(ciphertext) < 2 * _BLOCK or len(ciphertext) % _BLOCK:
            raise Malformed("what is encrypted is cut short")
        opener = Cipher(AES(self._key), CBC(ciphertext[:_BLOCK])).decryptor()
        padded = opener.update(ciphertext[_BLOCK:]) + opener.finalize()
        padding = padded[-1]
        if not 1 <= padding <= _BLOCK or padded[-padding:] != bytes([padding]) * padding:
            raise Malformed("it is encrypted with another key")
        return loaded_object(padded[:-padding])

    # Events

    def _said(self, event: _Event) -> Iterator[InboundMessage]:
        one = Said.model_validate(event.raw)
        message = one.message
        content = _content(message)
        if content is None:
            yield self._kept(event)
            return
        address = self._address(message.chat_id, one.sender.sender_id.open_id, message.thread_id)
        yield self._made(address, message.message_id, milliseconds(message.create_time), content)

    def _recalled(self, event: _Event) -> Iterator[InboundMessage]:
        one = Recalled.model_validate(event.raw)
        content = DeleteContent(target=fit_id(one.message_id))
        yield self._made(self._address(one.chat_id, None), event.known, event.at, content)

    def _members(self, event: _Event) -> Iterator[InboundMessage]:
        one = Members.model_validate(event.raw)
        change = Membership.JOINED if event.kind.endswith("added_v1") else Membership.LEFT
        members = tuple(fit_id(user.user_id.open_id) for user in one.users if user.user_id.open_id)
        address = self._address(one.chat_id, one.operator_id.open_id if one.operator_id else None)
        yield self._made(address, event.known, event.at, MembershipContent(change=change, members=members))

    def _pressed(self, event: _Event) -> Iterator[InboundMessage]:
        one = Pressed.model_validate(event.raw)
        value = one.action.option or one.action.value
        data = value if isinstance(value, str) else written(value) if value is not None else one.action.name or ""
        target = one.context.open_message_id
        content = ButtonContent(data=data, target=fit_id(target) if target else None)
        user = one.operator.open_id
        yield self._made(
            self._address(one.context.open_chat_id or user or UNKNOWN, user), event.known, event.at, content
        )

    # Parts of them

    def _not_known(self, event: _Event) -> Iterator[InboundMessage]:
        yield self._kept(event)

    def _kept(self, event: _Event) -> InboundMessage:
        """Keep an event that is not understood, where it happened as far as it says."""
        message = event.raw.get("message")
        inner = message if isinstance(message, dict) else {}
        chat = _text_in(event.raw, "chat_id") or _text_in(inner, "chat_id") or UNKNOWN
        told = (_open_id(event.raw.get(part)) for part in ("sender", "user_id", "operator_id"))
        user = next(filter(None, told), None)
        header = event.whole.get("header")
        parts = {name: value for name, value in event.whole.items() if name != "token"}
        if isinstance(header, dict):
            parts["header"] = {name: value for name, value in header.items() if name != "token"}
        return unsupported(
            event.kind, parts, address=self._address(chat, user), sent_at=event.at, message_id=event.known or None
        )

    def _made(self, address: Address, known: str, at: datetime, content: Any) -> InboundMessage:
        return InboundMessage(address=address, message_id=fit_id(known), sent_at=at, content=content)

    def _address(self, chat: str, user: str | None, thread: str | None = None) -> Address:
        return Address(
            platform=Platform.FEISHU,
            account=self._name,
            chat=fit_id(chat),
            thread=fit_id(thread) if thread else None,
            user=fit_id(user or UNKNOWN_USER),
        )


def _event(body: Mapping[str, Any], received_at: datetime) -> _Event:
    """Return an event of the second schema, or of the first, which has all in one place."""
    header, event = body.get("header"), body.get("event")
    told = header if isinstance(header, dict) else {}
    raw = event if isinstance(event, dict) else {}
    kind = _text_in(told, "event_type") or _text_in(raw, "type") or _text_in(body, "type") or UNKNOWN
    created = _text_in(told, "create_time")
    try:
        at = milliseconds(int(created)) if created else received_at
    except (ValueError, OverflowError):
        at = received_at
    return _Event(kind, _text_in(told, "event_id") or _text_in(body, "uuid"), raw, body, at)


def _content(message: Message) -> TextContent | None:
    """Return what a message says; None if that is not understood."""
    said = Content.model_validate(json_in(message.content))
    files = attached(_attachments(message, said))
    match message.message_type:
        case "text":
            text = said.text
        case "post":
            text = "\n".join(filter(None, (said.title, *_lines(said.content))))
        case "location":
            text = said.name
        case _:
            text = ""
    if not text and not files:
        return None
    return TextContent(
        text=_with_names(text, message.mentions or ()),
        attachments=files,
        reply_to=fit_id(message.parent_id) if message.parent_id else None,
    )


def _with_names(text: str, mentions: Iterable[Mention]) -> str:
    """Return a text with names in the place of keys: in one go, as a name may look like a key. Raises ValueError."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError("longer than a text may be")
    names = {one.key: f"@{fit_name(one.name) or ''}" for one in mentions}
    return _KEY.sub(lambda found: names.get(found[0], found[0]), text)


def _lines(content: Any) -> Iterator[str]:
    """Yield the lines of a post: what is written, links with their addresses, names."""
    for line in listed(content):
        parts = [part for part in listed(line) if isinstance(part, dict)]
        yield "".join(_words(part) for part in parts)


def _words(part: Mapping[str, Any]) -> str:
    text = _text_in(part, "text")
    match part.get("tag"):
        case "a" if (address := _text_in(part, "href")) != text:
            return f"{text} ({address})"
        case "at":
            return f"@{_text_in(part, 'user_name')}"
        case _:
            return text


def _attachments(message: Message, said: Content) -> Iterator[Attachment]:
    if kind := _FILES.get(message.message_type):
        key = said.image_key if message.message_type == "image" else said.file_key
        if key:
            uri = f"feishu:message/{message.message_id}/{key}"
            yield Attachment(kind=kind, uri=uri, name=fit_name(said.file_name))
    for line in listed(said.content) if message.message_type == "post" else ():
        for part in listed(line):
            if isinstance(part, dict) and part.get("tag") == "img" and (key := _text_in(part, "image_key")):
                yield Attachment(kind=AttachmentKind.IMAGE, uri=f"feishu:message/{message.message_id}/{key}")
    if message.message_type == "location" and said.latitude is not None and said.longitude is not None:
        yield Attachment(kind=AttachmentKind.LOCATION, uri=f"geo:{said.latitude},{said.longitude}")


def _text_in(raw: Mapping[str, Any], part: str) -> str:
    found = raw.get(part)
    return found if isinstance(found, str) else ""


def _open_id(raw: Any) -> str:
    if not isinstance(raw, dict):
        return ""
    return _text_in(raw, "open_id") or _open_id(raw.get("sender_id"))
