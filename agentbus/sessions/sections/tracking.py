"""Tracking: what applications tell of sessions, and how sessions are used."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import SchemaViolation, StoreDamaged
from agentbus.contracts.ids import conversation_of, digest_of
from agentbus.contracts.machine import StateMachine
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.secrets import without_secrets
from agentbus.contracts.tracking import EventType, TrackedEvent, Usage
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.validation import checked_request, checking
from agentbus.storage.archive import ArchiveStore
from agentbus.workers.domain.access import Right
from agentbus.workers.domain.tracking.chances import Prediction
from agentbus.workers.domain.tracking.patterns import Patterns, Period, patterns_of
from agentbus.workers.installation.machine import set_machine, state_machine
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.kept import read_series, usage_of
from agentbus.workers.tracking.outlook import predict
from agentbus.workers.tracking.statistics import StateStatistics, state_statistics


class Tracking:
    """Events that applications tell, and figures that workers keep."""

    def __init__(
        self, engine: Engine, archive: ArchiveStore | None, clock: Clock, *, secret_keys: Collection[str]
    ) -> None:
        self._engine = engine
        self._archive = archive
        self._clock = clock
        self._secret_keys = secret_keys

    async def track(
        self,
        session_id: str,
        event_type: EventType | str,
        data: Mapping[str, Any],
        *,
        user_id: str | None,
        request_id: str | None,
    ) -> TrackedEvent:
        state = await self._engine.existing(session_id, user_id, Right.WRITE)
        event_id = digest_of(("tracked", state.session_id, checked_request(request_id)))
        with checking("the event can't be kept"):
            event = TrackedEvent(
                event_id=event_id,
                session_id=state.session_id,
                kind=event_type,
                at=self._clock.now(),
                actor=user_id,
                data=without_secrets(data, self._secret_keys),
            )
            record = _record(event)
        if await self._engine.store.records.put(record, replace=False):
            return event
        kept = await self._engine.store.records.get(RecordKind.TRACKED_EVENT, event_id)
        return _event(kept) if kept and kept.data else event  # erased meanwhile

    async def events(
        self, session_id: str, user_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[TrackedEvent]:
        state = await self._engine.existing(session_id, user_id)
        page = await self._engine.store.records.page(
            RecordKind.TRACKED_EVENT, state.session_id, limit=limit, cursor=cursor
        )
        # One with nothing in it is one whose key was destroyed.
        return Page([_event(record) for record in page.items if record.data], page.cursor)

    async def usage(self, session_id: str, user_id: str | None) -> Usage | None:
        state = await self._engine.existing(session_id, user_id)
        # Now, not when the worker comes by: a caller sees what they wrote themselves.
        await Tracker(self._engine.store, self._archive).catch_up([conversation_of(state.session_id)])
        return await usage_of(self._engine.store, state.session_id)

    async def patterns(self, within: timedelta, zone: str, period: Period | str) -> Patterns:
        with checking("there are no such patterns"):
            by = Period(period)
        until = self._clock.now()
        since, named = until - _checked(within), _zone(zone)
        return patterns_of(await read_series(self._engine.store, since, until), since, until, zone=named, period=by)

    async def plot(self, file: str | Path, within: timedelta, zone: str, period: Period | str) -> Path:
        from agentbus.plots import charts_of, write_picture  # noqa: PLC0415 - for who draws

        picture, found = Path(file), await self.patterns(within, zone, period)
        await asyncio.to_thread(write_picture, charts_of(found, Period(period)), picture)
        return picture

    async def statistics(self, within: timedelta) -> StateStatistics:
        until = self._clock.now()
        return await state_statistics(self._engine.store, until - _checked(within), until)

    async def machine(self) -> StateMachine:
        return await state_machine(self._engine.store)

    async def set_machine(self, machine: StateMachine | None) -> None:
        await set_machine(self._engine.store, machine, self._clock)

    async def predict(self, session_id: str, user_id: str | None) -> Prediction:
        state = await self._engine.existing(session_id, user_id)
        await Tracker(self._engine.store, self._archive).catch_up([conversation_of(state.session_id)])
        return await predict(self._engine.store, state, self._clock.now())


_LONGEST: Final = timedelta(days=3660)


def _checked(within: timedelta) -> timedelta:
    if not timedelta() < within <= _LONGEST:
        raise SchemaViolation(f"{within} can't be looked back on: it is some time, and ten years at most")
    return within


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError) as error:
        raise SchemaViolation(f"{name!r} is no time zone: such as Europe/Berlin is one") from error


def _record(event: TrackedEvent) -> Record:
    return Record(
        kind=RecordKind.TRACKED_EVENT,
        key=event.event_id,
        group=event.session_id,
        created_at=event.at,
        data=event.model_dump(mode="json"),
    )


def _event(record: Record) -> TrackedEvent:
    try:
        return TrackedEvent.model_validate(record.data)
    except ValidationError as error:
        raise StoreDamaged(f"the tracked event {record.key} can't be read: {error}") from error
