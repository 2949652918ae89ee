"""What a notification says, and what it is given to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentbus.contracts.address import Platform
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.events import ExpiryStepTaken
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import SessionId
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger

_log = Logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryNotice:
    """A step of an expiry rule was taken, or is announced. It may come more than once: with the same `notice_id`."""

    notice_id: str
    """Of the event: `<session_id>/<sequence>`."""
    session_id: SessionId
    rule_id: str
    step: int
    """Counted from 0; -1 is the warning."""
    action: CleanupAction
    at: datetime
    next_at: datetime | None
    """When the next step comes, unless something happens."""
    platform: Platform | None
    identity: str | None

    @property
    def is_warning(self) -> bool:
        """Whether nothing has been done yet."""
        return self.step < 0

    @classmethod
    def of(cls, event: ExpiryStepTaken) -> "ExpiryNotice":
        """Return what there is to say of an event."""
        return cls(
            notice_id=event.event_id,
            session_id=event.earlier or event.session_id,
            rule_id=event.rule_id,
            step=event.step,
            action=event.action,
            at=event.at,
            next_at=event.next_at,
            platform=event.platform,
            identity=event.identity,
        )

    @property
    def text(self) -> str:
        """The notice as one sentence."""
        done = "warns of its first step" if self.is_warning else f"took step {self.step + 1} ({self.action})"
        after = f"; the next one comes at {self.next_at:%Y-%m-%d %H:%M:%S} UTC" if self.next_at else ""
        return f"Session {self.session_id}: the rule {self.rule_id} {done}{after}."

    def as_json(self) -> dict[str, Any]:
        """Return the notice as plain values."""
        return {
            "notice_id": self.notice_id,
            "session_id": self.session_id,
            "rule_id": self.rule_id,
            "step": self.step,
            "warning": self.is_warning,
            "action": self.action.value,
            "at": self.at.isoformat(),
            "next_at": self.next_at.isoformat() if self.next_at else None,
            "platform": self.platform.value if self.platform else None,
            "identity": self.identity,
        }


NotificationCallback = Callable[[ExpiryNotice], Awaitable[None]]
"""Gives a notice to whoever is to know. It tries again itself where that helps; what it raises is final."""


class NotificationFailed(AgentBusError):
    """A notification could not be given."""


async def default_notification_callback(notice: ExpiryNotice) -> None:
    """Write the notice to the log."""
    _log.info(Action.SESSION_EXPIRING, text=notice.text, **notice.as_json())
