"""Notifications by e-mail."""

from collections.abc import Sequence
from email.message import EmailMessage
from typing import Final

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.workers.notify.notices import ExpiryNotice, NotificationCallback, NotificationFailed
from agentbus.workers.notify.trying import NotYet, trying

_TRANSIENT_CODES: Final = range(400, 500)
"""SMTP replies by which the server says: not now (RFC 5321, section 4.2.1)."""


def create_email_notification_callback(
    host: str,
    port: int,
    sender: str,
    to: str | Sequence[str],
    *,
    username: str | None = None,
    password: str | None = None,
    start_tls: bool | None = None,
    use_tls: bool = False,
    timeout: float = 30.0,
) -> NotificationCallback:
    """Return a callback that sends an e-mail through an SMTP server.

    `start_tls`: None encrypts if the server offers it, True insists; `use_tls` from the first byte on. A server that
    does not answer or asks to wait is tried again a few times, for up to some minutes. The Message-ID comes from the
    notice, so that a repeat can be told. Raises ConfigurationError without a recipient, or without `agentbus[expiry]`.
    """
    with importing_extras():
        import aiosmtplib  # noqa: PLC0415 - slow to import, and most processes send no mail

    recipients = [to] if isinstance(to, str) else list(to)
    if not recipients:
        raise ConfigurationError("notifications by e-mail need a recipient")

    async def send(notice: ExpiryNotice) -> None:
        try:
            await aiosmtplib.send(
                _message(notice, sender, recipients),
                hostname=host,
                port=port,
                username=username,
                password=password,
                start_tls=start_tls,
                use_tls=use_tls,
                timeout=timeout,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _failure(error, {refused.code for refused in error.recipients}) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _failure(error, {error.code}) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise NotYet(f"the mail server {host}:{port}: {error}") from error

    async def notify(notice: ExpiryNotice) -> None:
        try:
            await trying()(send, notice)
        except NotYet as error:
            raise NotificationFailed(f"no e-mail: {error}") from error

    return notify


def _failure(error: Exception, codes: set[int]) -> Exception:
    if all(code in _TRANSIENT_CODES for code in codes):
        return NotYet(str(error))
    return NotificationFailed(f"the mail server refuses: {error}")


def _message(notice: ExpiryNotice, sender: str, recipients: Sequence[str]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = f"Session {notice.session_id}: {'warning' if notice.is_warning else notice.action.value}"
    message["Message-ID"] = f"<{notice.notice_id.replace('/', '.')}@agentbus.invalid>"
    message["Date"] = notice.at
    lines = [notice.text, ""] + [f"{name}: {value}" for name, value in notice.as_json().items() if value is not None]
    message.set_content("\n".join(lines) + "\n")
    return message
