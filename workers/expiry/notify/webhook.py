"""Notifications to a web address, signed."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from contracts.clock import Clock, SystemClock
from contracts.errors import ConfigurationError
from workers.expiry.notify.notices import ExpiryNotice, NotificationCallback, NotificationFailed
from workers.expiry.notify.trying import NotYet, trying

ID_HEADER: Final = "X-AgentBus-Id"
"""The notice's id, the same at each repeat: the receiver's idempotency key."""
TIMESTAMP_HEADER: Final = "X-AgentBus-Timestamp"
"""Seconds since 1970 at which the request was signed; old ones should be refused."""
SIGNATURE_HEADER: Final = "X-AgentBus-Signature"
"""`sha256=` and the signature in hexadecimal."""

_TOO_MANY: Final = 429


def signature_of(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request: HMAC-SHA256 over the timestamp, a full stop, and the body."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={digest.hexdigest()}"


def create_webhook_notification_callback(
    url: str, secret: str, *, timeout: float = 10.0, clock: Clock | None = None
) -> NotificationCallback:
    """Return a callback that posts the notice as JSON to `url`, signed with `secret`.

    Any 2xx is success. A timeout, a lost connection, 429 and 5xx are tried again a few times, not before what
    Retry-After asks for (a minute at most); every other answer is final. Raises ConfigurationError for a URL that is
    not http or https, or without a secret.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise ConfigurationError("the address for notifications has to be an http or https URL")
    if not secret:
        raise ConfigurationError("notifications to a web address need a secret to be signed with")
    now = (clock or SystemClock()).now
    where = urlsplit(url).hostname

    async def post(notice: ExpiryNotice) -> None:
        body = json.dumps(notice.as_json(), separators=(",", ":")).encode()
        timestamp = str(int(now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: notice.notice_id,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature_of(secret, timestamp, body),
        }
        try:
            async with httpx.AsyncClient(timeout=timeout) as client:
                response = await client.post(url, content=body, headers=headers)
        except httpx.TransportError as error:
            raise NotYet(f"{where} does not answer: {error!r}") from error
        if response.status_code == _TOO_MANY or response.is_server_error:
            raise NotYet(f"{where} answered {response.status_code}", _asked_wait(response, now()))
        if not response.is_success:
            raise NotificationFailed(f"{where} refuses the notification: {response.status_code}")

    async def notify(notice: ExpiryNotice) -> None:
        try:
            await trying()(post, notice)
        except NotYet as error:
            raise NotificationFailed(f"no notification: {error}") from error

    return notify


def _asked_wait(response: httpx.Response, now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for: a number or a date (RFC 9110, section 10.2.3)."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
