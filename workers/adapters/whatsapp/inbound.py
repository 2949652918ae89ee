"""What WhatsApp's Cloud API posts: messages, and what became of ours.

Source: https://developers.facebook.com/docs/graph-api/webhooks/getting-started (the challenge; `X-Hub-Signature-256`,
HMAC-SHA256 of the body with the app's secret) and https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks
(payloads; what is not answered by 200 is sent again, ever more rarely, for up to 7 days).

- A message is known by its id (`wamid...`), and nothing else of what it comes in, which may hold up to 1,000 changes.
- People have one reaction to a message: another one takes its place, and none takes it back.
- A file's address is `whatsapp:media/<id>`: the Graph API gives a link to it, with the account's token, for 30 days.
- What became of ours is told by its id, and by the key that was sent with it (`biz_opaque_callback_data`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import (
    ALL_REACTIONS,
    Attachment,
    AttachmentKind,
    ButtonContent,
    Content,
    InboundMessage,
    ReactionContent,
    TextContent,
)
from agentbus.workers.adapters.parsing import (
    MOST_EVENTS,
    REFUSALS,
    UNKNOWN,
    attached,
    hmac_sha256,
    listed,
    loaded_object,
    moment,
    need_same,
    understood,
    unsupported,
)
from agentbus.workers.adapters.port import (
    Answer,
    Inbound,
    Malformed,
    Receipt,
    ReceiptState,
    Received,
    Request,
    Unverified,
)
from agentbus.workers.adapters.whatsapp.account import WhatsAppAccount
from agentbus.workers.adapters.whatsapp.payloads import Contact, Location, Media, Message, Status
from agentbus.workers.importers.values import fit_id, fit_name, kind_for

SIGNATURE: Final = "x-hub-signature-256"

_STATES: Final = {state.value: state for state in ReceiptState}
_NOT_A_NUMBER: Final = re.compile(r"[^0-9+]")


class WhatsAppInbound(Inbound):
    """What one app's webhook is told of its numbers."""

    def __init__(self, name: str, account: WhatsAppAccount) -> None:
        self._name = name
        self._secret = account.app_secret.encode()
        self._verify_token = account.verify_token
        self._number = account.phone_number_id

    def verify(self, request: Request) -> None:
        if request.method == "GET":
            if request.query.get("hub.mode") != "subscribe":
                raise Unverified("nobody subscribes")
            need_same(request.query.get("hub.verify_token", ""), self._verify_token)
            return
        need_same(request.header(SIGNATURE), "sha256=" + hmac_sha256(self._secret, request.body).hexdigest())

    def parse(self, request: Request) -> Received:
        if request.method == "GET":
            return Received(ignored=1, answer=Answer(body=request.query.get("hub.challenge", "").encode()))
        body = loaded_object(request.body)
        messages: list[InboundMessage] = []
        receipts: list[Receipt] = []
        for entry in listed(body.get("entry")):
            for change in listed(entry.get("changes")) if isinstance(entry, dict) else ():
                self._take(change, request.received_at, messages, receipts)
                if len(messages) + len(receipts) > 2 * MOST_EVENTS:  # a reaction is two
                    raise Malformed(f"more than {MOST_EVENTS} messages and statuses")
        return Received(messages=tuple(messages), receipts=tuple(receipts), ignored=int(not messages and not receipts))

    def _take(self, change: Any, at: datetime, messages: list[InboundMessage], receipts: list[Receipt]) -> None:
        """Take up one change: of messages and statuses, or of something that is kept as it is."""
        value = change.get("value") if isinstance(change, dict) else None
        if not isinstance(value, dict) or change.get("field") != "messages":
            what = str(change.get("field")) if isinstance(change, dict) else UNKNOWN
            messages.append(unsupported(what, change, address=self._address("", UNKNOWN), sent_at=at))
            return
        number = _number_in(value)
        names = dict(_names(value))
        for raw in listed(value.get("messages")):
            messages += self._message(raw, number, names, at)
        for raw in listed(value.get("statuses")):
            try:
                receipts += self._receipt(Status.model_validate(raw), number)
            except REFUSALS:
                messages.append(self._kept("status", raw, number, at))
        for raw in listed(value.get("errors")):
            messages.append(self._kept("error", raw, number, at))

    def _message(self, raw: Any, number: str, names: Mapping[str, str], at: datetime) -> list[InboundMessage]:
        def made() -> Iterator[InboundMessage]:
            message = Message.model_validate(raw)
            contents = list(_contents(message))
            if not contents:
                yield self._kept(message.type, raw, number, at)
            for known, content in contents:
                yield InboundMessage(
                    address=self._address(number, message.from_, message.group_id),
                    message_id=fit_id(known),
                    sent_at=moment(message.timestamp),
                    sender_name=fit_name(names.get(message.from_)),
                    content=content,
                )

        what = str(raw.get("type") or "message") if isinstance(raw, dict) else "message"
        return understood(made, lambda: self._kept(what, raw, number, at))

    def _receipt(self, status: Status, number: str) -> Iterator[Receipt]:
        """Yield the receipt, if the state is one that there is here."""
        if state := _STATES.get(status.status):
            failures = [f"{one.code} {one.title or one.message}".strip() for one in status.errors]
            yield Receipt(
                address=self._address(number, fit_id(status.recipient_id)),
                message_id=fit_id(status.id),
                state=state,
                at=moment(status.timestamp),
                reason="; ".join(failures) or None,
                key=status.biz_opaque_callback_data,
            )

    def _kept(self, what: str, raw: Any, number: str, at: datetime) -> InboundMessage:
        """Keep what is not understood, where it happened as far as it says."""
        parts = raw if isinstance(raw, dict) else {}
        user, known = (parts.get(name) for name in ("from", "id"))
        return unsupported(
            what,
            raw,
            address=self._address(number, user if isinstance(user, str) and user else UNKNOWN),
            sent_at=at,
            message_id=known if isinstance(known, str) else None,
        )

    def _address(self, number: str, user: str, group: str | None = None) -> Address:
        chat = group or user
        elsewhere = number and number != self._number
        return Address(
            platform=Platform.WHATSAPP,
            account=self._name,
            chat=fit_id(f"{number}/{chat}" if elsewhere else chat),
            user=fit_id(user),
        )


def _contents(message: Message) -> Iterator[tuple[str, Content]]:
    """Yield what a message says, each with the id that it is known by; nothing if that is not understood."""
    replied = fit_id(message.context.id) if message.context and message.context.id else None
    if reaction := message.reaction:
        target = fit_id(reaction.message_id)
        yield f"{message.id}:before", ReactionContent(target=target, reaction=ALL_REACTIONS, removed=True)
        if reaction.emoji:
            yield message.id, ReactionContent(target=target, reaction=fit_id(reaction.emoji))
    elif message.button:
        label = fit_name(message.button.text)
        yield message.id, ButtonContent(data=message.button.payload, label=label, target=replied)
    elif message.interactive:
        if chosen := message.interactive.button_reply or message.interactive.list_reply:
            yield message.id, ButtonContent(data=chosen.id, label=fit_name(chosen.title), target=replied)
    else:
        text, files = _text(message), attached(_attachments(message))
        if text or files:
            yield message.id, TextContent(text=text, attachments=files, reply_to=replied)


def _text(message: Message) -> str:
    place = message.location
    media = message.image or message.video or message.document or message.audio
    parts = (message.text.body if message.text else "", media.caption if media else "")
    return "\n".join(filter(None, (*parts, place.name if place else "", place.address if place else "")))


def _attachments(message: Message) -> Iterator[Attachment]:
    for media, kind in (
        (message.image, AttachmentKind.IMAGE),
        (message.audio, AttachmentKind.AUDIO),
        (message.video, AttachmentKind.VIDEO),
        (message.sticker, AttachmentKind.STICKER),
    ):
        if media:
            yield _file(media, kind)
    if message.document:
        yield _file(message.document, kind_for(message.document.mime_type))
    if message.location:
        yield _place(message.location)
    for contact in message.contacts:
        yield _contact(contact)


def _file(media: Media, kind: AttachmentKind) -> Attachment:
    return Attachment(
        kind=kind,
        uri=f"whatsapp:media/{media.id}",
        media_type=fit_name(media.mime_type),
        name=fit_name(media.filename),
    )


def _place(place: Location) -> Attachment:
    return Attachment(kind=AttachmentKind.LOCATION, uri=f"geo:{place.latitude},{place.longitude}")


def _contact(contact: Contact) -> Attachment:
    number = next((one.phone for one in contact.phones if one.phone), "")
    email = next((one.email for one in contact.emails if one.email), "")
    uri = f"mailto:{email}" if email and not number else f"tel:{_NOT_A_NUMBER.sub('', number)}"
    return Attachment(kind=AttachmentKind.CONTACT, uri=uri, name=fit_name(contact.name.formatted_name))


def _number_in(value: Mapping[str, Any]) -> str:
    metadata = value.get("metadata")
    found = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def _names(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for contact in listed(value.get("contacts")):
        profile = contact.get("profile") if isinstance(contact, dict) else None
        name = profile.get("name") if isinstance(profile, dict) else None
        if isinstance(name, str) and isinstance(contact.get("wa_id"), str):
            yield contact["wa_id"], name
