"""Notifications of what expiry rules do: to the log, by e-mail, to a web address, to a function of one's own."""

from agentbus.workers.notify.email import create_email_notification_callback
from agentbus.workers.notify.notices import (
    ExpiryNotice,
    NotificationCallback,
    NotificationFailed,
    default_notification_callback,
)
from agentbus.workers.notify.webhook import create_webhook_notification_callback, signature_of

__all__ = [
    # callbacks
    "NotificationCallback",
    "default_notification_callback",
    "create_email_notification_callback",
    "create_webhook_notification_callback",
    "signature_of",
    # what they get, what they raise
    "ExpiryNotice",
    "NotificationFailed",
]
