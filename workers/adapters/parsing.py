"""What every way in needs: comparing secrets, reading JSON, and keeping what is not understood."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from agentbus.contracts.address import Address
from agentbus.contracts.documents import json_in
from agentbus.contracts.ids import digest_of
from agentbus.contracts.messages import Attachment, InboundMessage, UnsupportedContent
from agentbus.workers.adapters.port import Malformed, Request, Unverified
from agentbus.workers.importers.values import fit_id, fit_name, fit_text

UNKNOWN: Final = "unknown"
"""The chat and the user of what does not say where it happened, or who did it."""

MOST_ATTACHMENTS: Final = 64
"""As many as a message may have."""

MOST_EVENTS: Final = 1000
"""As many as a request may bring: WhatsApp's have the most, of all platforms. Each takes its time."""

TOLERANCE: Final = timedelta(minutes=5)
"""How old a signed request may be, and how far ahead of our clock: what Slack and Standard Webhooks say."""

REFUSALS: Final = (ValidationError, ValueError, OverflowError, RecursionError)
"""What contracts, payloads and dates raise for what a platform says."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = 15
"""Of a number of seconds or milliseconds in a header: more are no moment that there is."""

Payload = TypeVar("Payload", bound=BaseModel)


# Signatures


def same(given: str, right: str) -> bool:
    """Whether a secret is the right one; takes as long for every wrong one of a length."""
    return hmac.compare_digest(given.encode(errors="replace"), right.encode(errors="replace"))


def need_same(given: str, right: str) -> None:
    """Raise Unverified unless a secret, or a signature, is the right one."""
    if not same(given, right):
        raise Unverified("the signature is not the right one")


def hmac_sha256(secret: bytes, signed: bytes) -> hmac.HMAC:
    """Return the HMAC of `signed`."""
    return hmac.new(secret, signed, hashlib.sha256)


def need_recent(seconds: str, request: Request) -> None:
    """Raise Unverified unless the Unix time that was signed is within TOLERANCE of when the request came."""
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) <= _DIGITS):
        raise Unverified("the signed time is no Unix time")
    if abs((request.received_at - _EPOCH).total_seconds() - int(seconds)) > TOLERANCE.total_seconds():
        raise Unverified("it was signed too long ago, or is still to come by our clock: a replay, or a wrong clock")


# Bodies


def loaded(body: bytes) -> Any:
    """Return what a body says in JSON, without lone surrogates. Raises Malformed."""
    try:
        text = body.decode()
        found = json_in(text)
        return _encodable(found) if "\\u" in text else found
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON in UTF-8") from None


def loaded_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is. Raises Malformed."""
    found = loaded(body)
    if not isinstance(found, dict):
        raise Malformed("the body is not a JSON object")
    return found


def listed(value: object) -> list[Any]:
    """Return a value if it is a list; an empty one for everything else. Raises Malformed for one that is too long."""
    found = value if isinstance(value, list) else []
    if len(found) > MOST_EVENTS:
        raise Malformed(f"a list of {len(found)}, in place of {MOST_EVENTS} at most")
    return found


def written(raw: object) -> str:
    """Return JSON as text, as compact as it gets."""
    return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))


def moment(seconds: float) -> datetime:
    """Return the moment of a Unix time. Raises ValueError or OverflowError for one that there is not."""
    return _EPOCH + timedelta(seconds=seconds)


def milliseconds(count: float) -> datetime:
    """Return the moment of a Unix time in milliseconds. Raises as `moment`."""
    return _EPOCH + timedelta(milliseconds=count)


def attached(found: Iterable[Attachment | None]) -> tuple[Attachment, ...]:
    """Return what is there of attachments, as many as a message may have."""
    return tuple(islice((one for one in found if one), MOST_ATTACHMENTS))


# What is not understood


def unsupported(
    what: str,
    raw: object,
    *,
    address: Address,
    sent_at: datetime,
    message_id: str | None = None,
    name: str | None = None,
) -> InboundMessage:
    """Return the message that keeps what is not understood; without an id of its own it has a digest of all of it.

    Raises Malformed for what is nested so deep that it can't be written.
    """
    try:
        text = raw if isinstance(raw, str) else written(raw)
    except RecursionError:
        raise Malformed("the body is nested too deep") from None
    return InboundMessage(
        address=address,
        message_id=fit_id(message_id or f"raw:{digest_of((text,))}"),
        sent_at=sent_at,
        sender_name=fit_name(name),
        content=UnsupportedContent.of(fit_name(what) or UNKNOWN, fit_text(text)),
    )


Messages = Iterable[InboundMessage]


def understood(make: Callable[[], Messages], otherwise: Callable[[], InboundMessage]) -> list[InboundMessage]:
    """Return the messages that `make` finds; what it can't make of what there is, `otherwise` keeps."""
    try:
        return list(make())
    except REFUSALS:
        return [otherwise()]


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return fit_text(value)
        case list():
            return [_encodable(item) for item in value]
        case dict():
            return {fit_text(key): _encodable(item) for key, item in value.items()}
        case _:
            return value
