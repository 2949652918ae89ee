"""Notifications to a web address, signed."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.workers.notify.notices import ExpiryNotice, NotificationCallback, NotificationFailed
from agentbus.workers.notify.reachable import resolved
from agentbus.workers.notify.trying import NotYet, trying

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
    url: str, secret: str, *, timeout: float = 10.0, allow_private: bool = False, clock: Clock | None = None
) -> NotificationCallback:
    """Return a callback that posts the notice as JSON to `url`, signed with `secret`.

    Any 2xx is success; what else the answer says is not read. A timeout (`timeout` seconds for all of it), a lost
    connection, 429 and 5xx are tried again a few times, not before what Retry-After asks for (a minute at most); every
    other answer is final, a redirect too. An address that is not of the public internet is refused, unless
    `allow_private`. Raises ConfigurationError for a URL that is not http or https, without a secret, or
    without `agentbus[expiry]`.
    """
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise ConfigurationError("the address for notifications has to be an http or https URL")
    if not secret:
        raise ConfigurationError("notifications to a web address need a secret to be signed with")
    with importing_extras():
        import httpx  # noqa: PLC0415 - slow to import, and most processes call no webhook

    now = (clock or SystemClock()).now
    target = httpx.URL(url)
    where = target.host

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
            async with (
                httpx.AsyncClient(timeout=timeout, follow_redirects=False) as client,
                asyncio.timeout(timeout),
            ):
                response = await _post(client, target, body, headers, allow_private=allow_private)
        except (httpx.TransportError, TimeoutError) as error:
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


async def _post(
    client: "httpx.AsyncClient", url: "httpx.URL", body: bytes, headers: Mapping[str, str], *, allow_private: bool
) -> "httpx.Response":
    """Post to an address that was looked at, and return the answer's status and headers: its body is not read."""
    port = url.port or (443 if url.scheme == "https" else 80)
    address = await resolved(url.host, port, allow_private=allow_private)
    named = {"Host": url.netloc.decode("ascii"), **headers}
    async with client.stream(
        "POST", url.copy_with(host=address), content=body, headers=named, extensions={"sni_hostname": url.host}
    ) as response:
        return response


def _asked_wait(response: "httpx.Response", now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for: a number or a date (RFC 9110, section 10.2.3)."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        moment = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
