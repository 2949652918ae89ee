"""What Slack posts: events, slash commands, and what people do with buttons and menus.

Source: https://docs.slack.dev/authentication/verifying-requests-from-slack (version 0: HMAC-SHA256 over
`v0:timestamp:body`, five minutes), https://docs.slack.dev/apis/events-api (3 seconds to answer; sent again at once,
after a minute and after five), https://docs.slack.dev/reference/events/url_verification.

- A message is known by team, channel and `ts`: `app_mention` and `message` are one, whichever comes first, and an event
  that is sent again under another event id is too.
- Replies carry their thread's `ts` as thread; the message that a thread starts from does not, as it did not when it
  came.
- Text is Slack's own markup as it stands (`<@U1>`, `&lt;`), as in an imported export.
- What the app itself says is passed over, and so is a change of a message that only shows a link's preview.
- The deprecated verification token is in nothing that is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import (
    Attachment,
    ButtonContent,
    CommandContent,
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    TextContent,
)
from agentbus.workers.adapters.parsing import (
    UNKNOWN,
    attached,
    hmac_sha256,
    loaded_object,
    moment,
    need_recent,
    need_same,
    understood,
    unsupported,
)
from agentbus.workers.adapters.port import Answer, Inbound, Malformed, Received, Request
from agentbus.workers.adapters.slack.account import SlackAccount
from agentbus.workers.adapters.slack.payloads import (
    Actions,
    Changed,
    Command,
    Deleted,
    File,
    Member,
    MessageEvent,
    Pressed,
    Raw,
    Reaction,
    Said,
)
from agentbus.workers.importers.port import NOT_EXPORTED, UNKNOWN_USER
from agentbus.workers.importers.slack_texts import text_of
from agentbus.workers.importers.values import fit_id, fit_name, kind_for

SIGNATURE: Final = "x-slack-signature"
TIMESTAMP: Final = "x-slack-request-timestamp"

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 100
_SPOKEN: Final = frozenset({None, "bot_message", "file_share", "me_message", "thread_broadcast"})
_JOINED: Final = frozenset({"channel_join", "group_join", "member_joined_channel"})
_LEFT: Final = frozenset({"channel_leave", "group_leave", "member_left_channel"})
_TOMBSTONE: Final = "tombstone"
"""What stands in the place of a deleted message that has replies."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An event being read."""

    kind: str
    """Its type, or for messages that nobody typed the subtype."""
    raw: Raw
    whole: Raw
    team: str
    app: str
    known: str
    """Its id."""
    received_at: datetime


class SlackInbound(Inbound):
    """What one app is told."""

    def __init__(self, name: str, account: SlackAccount) -> None:
        self._name = name
        self._secret = account.signing_secret.encode()
        self._team = account.team
        self._readers: dict[str, Callable[[_Event], Iterator[InboundMessage]]] = {
            "message": self._said,
            "app_mention": self._said,
            "message_changed": self._changed,
            "message_deleted": self._deleted,
            "reaction_added": self._reacted,
            "reaction_removed": self._reacted,
            **dict.fromkeys(_JOINED | _LEFT, self._member),
            "command": self._command,
            "block_actions": self._pressed,
        }

    def verify(self, request: Request) -> None:
        at, given = request.header(TIMESTAMP), request.header(SIGNATURE)
        need_recent(at, request)
        need_same(given, "v0=" + hmac_sha256(self._secret, b"v0:" + at.encode() + b":" + request.body).hexdigest())

    def parse(self, request: Request) -> Received:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
            return self._read(self._in_form(request))
        body = loaded_object(request.body)
        match body.get("type"):
            case "url_verification":
                return Received(ignored=1, answer=Answer(body=_text_in(body, "challenge").encode()))
            case "event_callback" if isinstance(event := body.get("event"), dict):
                return self._read(_event(event, body, request))
            case kind:
                return self._read(_event({}, body, request, kind=str(kind)))

    def _in_form(self, request: Request) -> _Event:
        """Return what a form says: a slash command, or what people did with a message's parts. Raises Malformed."""
        try:
            text = request.body.decode("ascii")
            form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace"))
        except ValueError:
            raise Malformed("the body is no form") from None
        if "payload" in form:
            body = loaded_object(form["payload"].encode())
            return _event(body, body, request, kind=_text_in(body, "type"))
        return _event(form, dict(form), request, kind="command" if "command" in form else "form")

    def _read(self, event: _Event) -> Received:
        reader = self._readers.get(event.kind, self._not_known)
        messages = understood(lambda: reader(event), lambda: self._kept(event))
        return Received(messages=tuple(messages), ignored=int(not messages))

    # Events

    def _said(self, event: _Event) -> Iterator[InboundMessage]:
        said = MessageEvent.model_validate(event.raw)
        if said.subtype not in _SPOKEN:
            yield self._kept(event)
        elif not _own(said, event):
            text = text_of(said)
            content = TextContent(
                text=f"/me {text}" if said.subtype == "me_message" else text,
                attachments=attached(map(_attachment, said.files)),
            )
            yield self._message(event, said.channel, said, said.ts, content)

    def _changed(self, event: _Event) -> Iterator[InboundMessage]:
        changed = Changed.model_validate(event.raw)
        now, before = changed.message, changed.previous_message
        if _own(now, event):
            return
        if now.subtype == _TOMBSTONE:
            yield self._gone(event, changed.channel, now.ts, before or now)
        elif before is None or (text_of(now), now.files) != (text_of(before), before.files):
            content = EditContent(
                target=now.ts,
                target_user=fit_id(now.user) if now.user else None,
                text=text_of(now),
                attachments=attached(map(_attachment, now.files)),
            )
            yield self._message(event, changed.channel, now, f"{now.ts}:edit:{changed.ts}", content, at=changed.ts)

    def _deleted(self, event: _Event) -> Iterator[InboundMessage]:
        gone = Deleted.model_validate(event.raw)
        before = gone.previous_message or Said(ts=gone.deleted_ts)
        if not _own(before, event):
            yield self._gone(event, gone.channel, gone.deleted_ts, before)

    def _gone(self, event: _Event, channel: str, ts: str, before: Said) -> InboundMessage:
        content = DeleteContent(target=ts, target_user=fit_id(before.user) if before.user else None)
        return self._message(event, channel, before, f"{ts}:delete", content, at=ts)

    def _reacted(self, event: _Event) -> Iterator[InboundMessage]:
        one = Reaction.model_validate(event.raw)
        content = ReactionContent(
            target=one.item.ts,
            target_user=fit_id(one.item_user) if one.item_user else None,
            reaction=fit_id(one.reaction),
            removed=event.kind == "reaction_removed",
        )
        known = f"{one.item.ts}:reaction:{one.user}:{one.event_ts}"
        yield _made(self._address(event, one.item.channel, one.user), known, one.event_ts, None, content)

    def _member(self, event: _Event) -> Iterator[InboundMessage]:
        one = Member.model_validate({"event_ts": event.raw.get("ts"), **event.raw})
        change = Membership.JOINED if event.kind in _JOINED else Membership.LEFT
        known = f"{change}:{one.user}:{one.event_ts.partition('.')[0]}"
        content = MembershipContent(change=change, members=(fit_id(one.user),))
        yield _made(self._address(event, one.channel, one.user), known, one.event_ts, None, content)

    # Forms

    def _command(self, event: _Event) -> Iterator[InboundMessage]:
        one = Command.model_validate(event.raw)
        yield InboundMessage(
            address=self._address(event, one.channel_id, one.user_id),
            message_id=fit_id(f"command:{one.trigger_id}"),
            sent_at=event.received_at,
            sender_name=fit_name(one.user_name),
            content=CommandContent(name=fit_id(one.command.removeprefix("/")), arguments=one.text),
        )

    def _pressed(self, event: _Event) -> Iterator[InboundMessage]:
        done = Actions.model_validate(event.raw)
        thread = done.message.thread_ts if done.message and done.message.thread_ts != done.message.ts else None
        address = self._address(event, done.channel.id, done.user.id, thread)
        for one in done.actions:
            yield InboundMessage(
                address=address,
                message_id=fit_id(f"action:{one.action_ts}:{one.action_id}"),
                sent_at=event.received_at,
                sender_name=fit_name(done.user.name or done.user.username),
                content=_button(one, done.message.ts if done.message else None),
            )

    # Parts of them

    def _not_known(self, event: _Event) -> Iterator[InboundMessage]:
        yield self._kept(event)

    def _kept(self, event: _Event) -> InboundMessage:
        """Keep an event that is not understood, where it happened as far as it says."""
        raw = event.raw
        channel = _id_in(raw, "channel") or _text_in(raw, "channel_id") or UNKNOWN
        user = _id_in(raw, "user") or _text_in(raw, "user_id") or UNKNOWN_USER
        whole = {name: value for name, value in event.whole.items() if name != "token"}
        return unsupported(
            event.kind or UNKNOWN,
            whole,
            address=self._address(event, channel, user),
            sent_at=event.received_at,
            message_id=event.known or None,
        )

    def _message(
        self, event: _Event, channel: str, said: Said, known: str, content: Content, *, at: str | None = None
    ) -> InboundMessage:
        thread = said.thread_ts if said.thread_ts != said.ts else None
        user = said.user or said.bot_id or said.username or UNKNOWN_USER
        return _made(self._address(event, channel, user, thread), known, at or said.ts, said.name, content)

    def _address(self, event: _Event, channel: str, user: str, thread: str | None = None) -> Address:
        elsewhere = event.team and event.team != self._team
        return Address(
            platform=Platform.SLACK,
            account=self._name,
            chat=fit_id(f"{event.team}/{channel}" if elsewhere else channel),
            thread=thread,
            user=fit_id(user),
        )


def _event(raw: Raw, whole: Raw, request: Request, *, kind: str | None = None) -> _Event:
    told = kind if kind is not None else _text_in(raw, "type")
    subtype = _text_in(raw, "subtype")
    return _Event(
        kind=subtype if told == "message" and subtype and subtype not in _SPOKEN else told,
        raw=raw,
        whole=whole,
        team=_text_in(whole, "team_id") or _id_in(whole, "team") or "",
        app=_text_in(whole, "api_app_id"),
        known=_text_in(whole, "event_id") or _text_in(whole, "trigger_id"),
        received_at=request.received_at,
    )


def _own(said: Said, event: _Event) -> bool:
    """Whether the app said it itself."""
    return bool(said.app_id) and said.app_id == event.app


def _made(address: Address, known: str, at: str, name: str | None, content: Content) -> InboundMessage:
    return InboundMessage(
        address=address,
        message_id=fit_id(known),
        sent_at=moment(float(at)),
        sender_name=fit_name(name),
        content=content,
    )


def _button(one: Pressed, target: str | None) -> ButtonContent:
    option = one.selected_option
    label = option.text.text if option else one.text.text if one.text else ""
    value = option.value if option else one.value
    return ButtonContent(data=value or one.action_id, label=fit_name(label), target=target)


def _attachment(file: File) -> Attachment:
    """Describe a file; one that Slack has hidden has no address."""
    return Attachment(
        kind=kind_for(file.mimetype),
        uri=file.url_private or file.permalink or NOT_EXPORTED,
        media_type=fit_name(file.mimetype),
        name=fit_name(file.name or file.title),
        size=file.size,
    )


def _text_in(raw: Mapping[str, Any], part: str) -> str:
    found = raw.get(part)
    return found if isinstance(found, str) else ""


def _id_in(raw: Mapping[str, Any], part: str) -> str:
    """Return an id that stands by itself, or in an object with its name."""
    found = raw.get(part)
    return _text_in(found, "id") if isinstance(found, dict) else _text_in(raw, part)
