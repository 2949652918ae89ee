"""The notifier: a subscription of its own, so that whoever is slow to be told never delays expiry."""

import asyncio
from collections.abc import Sequence
from typing import Final

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import Reject
from agentbus.contracts.events import ExpiryStepTaken
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.faults import told
from agentbus.workers.notify.notices import ExpiryNotice, NotificationCallback
from agentbus.workers.reactive.handler import BatchHandler, Handler

TOPICS: Final = (f"session.{ExpiryStepTaken.topic}.*",)

CALLBACK_SECONDS: Final = 30.0
"""Seconds that a callback may take; one that never returns would stop all notices."""

_log = Logger(__name__)


class Notifier(Handler):
    """Gives each step to every callback. If one fails for good the event is parked: a replay tells all again."""

    def __init__(self, callbacks: Sequence[NotificationCallback], metrics: WorkerMetrics) -> None:
        self._callbacks = list(callbacks)
        self._metrics = metrics

    async def handle(self, event: EventEnvelope) -> None:
        if not isinstance(event.data, ExpiryStepTaken):
            return
        notice = ExpiryNotice.of(event.data)
        outcomes = await side_by_side(self._tell(callback, notice) for callback in self._callbacks)
        if reasons := [reason for reason in outcomes if reason]:
            raise Reject("; ".join(reasons))

    async def _tell(self, callback: NotificationCallback, notice: ExpiryNotice) -> str | None:
        """Tell one callback; return why that failed, if it did."""
        try:
            async with asyncio.timeout(CALLBACK_SECONDS):
                await callback(notice)
        except Exception as error:
            raise_if_cancelled()
            self._metrics.notifications.labels("failed").inc()
            _log.error(Action.NOTIFICATION_FAILED, notice_id=notice.notice_id, **told(error))
            return str(error) or repr(error)
        self._metrics.notifications.labels("sent").inc()
        return None


class Nobody(BatchHandler):
    """Passes over what happens, where nobody is to be told of it."""

    async def handle_all(self, events: Sequence[EventEnvelope]) -> None:
        """Do nothing."""
