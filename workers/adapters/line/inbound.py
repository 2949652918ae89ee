"""What LINE's Messaging API posts: webhook events.

Source: https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature (`X-Line-Signature`: HMAC-SHA256 of
the body with the channel's secret, in base64), https://developers.line.biz/en/docs/messaging-api/receiving-messages
(redelivery, if it is switched on: the same `webhookEventId`, out of order perhaps), and the reference of the events.

- A message is known by its id, everything else by `webhookEventId`: a redelivery is the same.
- LINE asks for the address with a request that has no events: it is answered.
- A file's address is `line:content/<message's id>`, unless somebody else keeps it: the API gives it, with the account's
  token, for a while.
- Who adds the account as a friend joins; who blocks it leaves.
"""

import base64
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    Content,
    DeleteContent,
    InboundMessage,
    Membership,
    MembershipContent,
    TextContent,
)
from agentbus.workers.adapters.line.account import LineAccount
from agentbus.workers.adapters.line.payloads import Event, Message, Source
from agentbus.workers.adapters.parsing import (
    UNKNOWN,
    attached,
    hmac_sha256,
    listed,
    loaded_object,
    milliseconds,
    need_same,
    understood,
    unsupported,
)
from agentbus.workers.adapters.port import Inbound, Received, Request
from agentbus.workers.importers.port import UNKNOWN_USER
from agentbus.workers.importers.values import fit_id, fit_name

SIGNATURE: Final = "x-line-signature"

_KINDS: Final = {
    "image": AttachmentKind.IMAGE,
    "video": AttachmentKind.VIDEO,
    "audio": AttachmentKind.AUDIO,
    "file": AttachmentKind.FILE,
}
_CHANGES: Final = {
    "follow": Membership.JOINED,
    "join": Membership.JOINED,
    "memberJoined": Membership.JOINED,
    "unfollow": Membership.LEFT,
    "leave": Membership.LEFT,
    "memberLeft": Membership.LEFT,
}


class LineInbound(Inbound):
    """What one official account is told."""

    def __init__(self, name: str, account: LineAccount) -> None:
        self._name = name
        self._secret = account.channel_secret.encode()

    def verify(self, request: Request) -> None:
        right = base64.b64encode(hmac_sha256(self._secret, request.body).digest()).decode()
        need_same(request.header(SIGNATURE), right)

    def parse(self, request: Request) -> Received:
        body = loaded_object(request.body)
        bot = body.get("destination")
        messages: list[InboundMessage] = []
        for raw in listed(body.get("events")):
            messages += self._event(raw, bot if isinstance(bot, str) and bot else UNKNOWN, request.received_at)
        return Received(messages=tuple(messages), ignored=int(not messages))

    def _event(self, raw: Any, bot: str, at: datetime) -> list[InboundMessage]:
        def made() -> Iterator[InboundMessage]:
            event = Event.model_validate(raw)
            known, content = _content(event, bot)
            if content is None:
                yield self._kept(raw, at)
            else:
                yield InboundMessage(
                    address=self._address(event.source),
                    message_id=fit_id(known),
                    sent_at=milliseconds(event.timestamp),
                    content=content,
                )

        return understood(made, lambda: self._kept(raw, at))

    def _kept(self, raw: Any, at: datetime) -> InboundMessage:
        """Keep an event that is not understood, where it happened as far as it says."""
        parts = raw if isinstance(raw, dict) else {}
        message, source = (parts.get(name) for name in ("message", "source"))
        told = source.items() if isinstance(source, dict) else ()
        places = {name: value for name, value in told if isinstance(value, str)}
        kind = message.get("type") if isinstance(message, dict) else parts.get("type")
        known = parts.get("webhookEventId")
        return unsupported(
            str(kind or UNKNOWN),
            {name: value for name, value in parts.items() if name != "replyToken"} or raw,
            address=self._address(Source.model_validate(places)),
            sent_at=at,
            message_id=known if isinstance(known, str) else None,
        )

    def _address(self, source: Source) -> Address:
        user = source.userId or UNKNOWN_USER
        return Address(
            platform=Platform.LINE,
            account=self._name,
            chat=fit_id(source.groupId or source.roomId or user),
            user=fit_id(user),
        )


def _content(event: Event, bot: str) -> tuple[str, Content | None]:
    """Return what an event says, and the id that it is known by; nothing if that is not understood."""
    known = event.webhookEventId
    match event:
        case Event(type="message", message=Message() as message):
            return message.id, _said(message)
        case Event(type="unsend", unsend=gone) if gone:
            return known, DeleteContent(target=fit_id(gone.messageId))
        case Event(type="postback", postback=pressed) if pressed:
            return known, ButtonContent(data=pressed.data)
        case Event(type=kind) if change := _CHANGES.get(kind):
            return known, MembershipContent(change=change, members=_members(event, bot))
        case _:
            return known, None


def _members(event: Event, bot: str) -> tuple[str, ...]:
    """Return who joined or left: those named, the bot itself, or whoever the event is of."""
    if named := event.joined or event.left:
        return tuple(fit_id(one.userId) for one in named.members if one.userId)
    return (fit_id(bot),) if event.type in {"join", "leave"} else ()


def _said(message: Message) -> TextContent | None:
    files = attached(_attachments(message))
    place = [message.title, message.address] if message.type == "location" else []
    text = message.text if message.type == "text" else "\n".join(filter(None, place))
    if not text and not files:
        return None
    return TextContent(
        text=text,
        attachments=files,
        reply_to=fit_id(message.quotedMessageId) if message.quotedMessageId else None,
        album=fit_id(message.imageSet.id) if message.imageSet else None,
    )


def _attachments(message: Message) -> Iterator[Attachment]:
    if kind := _KINDS.get(message.type):
        yield Attachment(
            kind=kind,
            uri=message.contentProvider.originalContentUrl or f"line:content/{message.id}",
            name=fit_name(message.fileName),
            size=message.fileSize,
        )
    if message.type == "sticker" and message.stickerId:
        uri = f"line:sticker/{message.packageId or UNKNOWN}/{message.stickerId}"
        yield Attachment(kind=AttachmentKind.STICKER, uri=uri)
    if message.type == "location" and message.latitude is not None and message.longitude is not None:
        yield Attachment(kind=AttachmentKind.LOCATION, uri=f"geo:{message.latitude},{message.longitude}")
