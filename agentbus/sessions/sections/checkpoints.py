"""Checkpoints: data saved at a moment of a session, by a call or every so many messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import UpdateSession
from agentbus.contracts.errors import AccessDenied, Refused, SchemaViolation, SessionNotFound
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import Record, RecordKind, checkpoint_groups
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.validation import checking, is_id
from agentbus.sessions.sections.shared import Caller, Commands
from agentbus.storage.log_lines import Logger
from agentbus.workers.domain.access import DENIED, Right, may

_log = Logger(__name__)

_TICK: Final = timedelta(milliseconds=1)
"""What every store tells moments apart by."""


class CheckpointNotFound(Refused):
    """There is no such checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: read it by attribute (`checkpoint.data`) or by key (`checkpoint["data"]`)."""

    checkpoint_id: str
    session_id: str
    created_at: datetime
    """When it was saved; always after those of the session that were saved before, whatever clocks say."""
    data: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)


class Checkpoints:
    """Checkpoints of sessions; every `every` messages one is saved by itself, None: never."""

    def __init__(self, engine: Engine, commands: Commands, clock: Clock, *, every: int | None = None) -> None:
        self._engine = engine
        self._commands = commands
        self._clock = clock
        self._every = every

    async def save(
        self, session_id: str, data: Mapping[str, Any] | None, user_id: str | None, checkpoint_id: str | None
    ) -> str:
        state = await self._engine.existing(session_id, user_id, Right.WRITE)
        chosen = uuid4().hex if checkpoint_id is None else checkpoint_id
        try:
            await self._save(state, chosen, state.data if data is None else data)
        except SessionNotFound:
            if user_id is None:
                raise
            raise AccessDenied(DENIED) from None  # Deleted after it was looked at: as if it had not been there.
        return chosen

    async def get(self, checkpoint_id: str, session_id: str | None, user_id: str | None) -> Checkpoint | None:
        record = await self._record(checkpoint_id, session_id)
        if user_id is not None:
            state = await self._engine.state(record.group) if record else None
            if state is None or not may(state, user_id, Right.READ):
                raise AccessDenied(DENIED)
        return None if record is None else _checkpoint(record)

    async def latest(self, session_id: str, user_id: str | None) -> Checkpoint | None:
        page = await self.page(session_id, user_id, limit=1, cursor=None)
        return page.items[0] if page.items else None

    async def page(self, session_id: str, user_id: str | None, *, limit: int, cursor: str | None) -> Page[Checkpoint]:
        await self._engine.existing(session_id, user_id)
        store = self._engine.store
        page = await store.records.page(RecordKind.CHECKPOINT, session_id, limit=limit, cursor=cursor)
        return Page(items=[_checkpoint(record) for record in page.items], cursor=page.cursor)

    async def delete(self, checkpoint_id: str, session_id: str | None, user_id: str | None) -> bool:
        found = await self.get(checkpoint_id, session_id, user_id)
        if found is not None and user_id is not None:
            await self._engine.existing(found.session_id, user_id, Right.WRITE)
        deleted = found and await self._engine.store.records.delete(RecordKind.CHECKPOINT, checkpoint_id)
        if not deleted and user_id is not None:
            raise AccessDenied(DENIED)  # Somebody else deleted it after it was looked at: as if it had not been there.
        return bool(deleted)

    async def clear(self, session_id: str, user_id: str | None) -> int:
        await self._engine.existing(session_id, user_id, Right.WRITE)
        return await self._engine.store.records.delete_group(RecordKind.CHECKPOINT, session_id)

    async def restore(self, session_id: str, checkpoint_id: str, caller: Caller) -> Checkpoint:
        await self._engine.existing(session_id, caller.user_id, Right.WRITE)
        record = await self._record(checkpoint_id, session_id)
        if record is None:
            raise CheckpointNotFound(f"session {session_id} has no checkpoint {checkpoint_id}")
        changes = FieldChanges(values=record.data, replace=True)
        await self._commands.carry_out(session_id, UpdateSession, caller, data=changes)
        return _checkpoint(record)

    async def save_due(self, session_id: str) -> None:
        """Save the checkpoint that is due by the number of messages, once for ever, whoever gets there first.

        Data too large for one is none to fail the call for that comes by: it is logged.
        """
        every = self._every
        state = await self._engine.state(session_id) if every else None
        if every is None or state is None or not (turns := state.message_count // every):
            return
        key, (_, mark) = f"{session_id}/auto/{turns}", checkpoint_groups(state.session_id)
        last = await self._engine.store.records.get(RecordKind.CHECKPOINT, mark)
        if last and last.revision >= turns:
            return
        try:
            await self._save(state, key, state.data)
            done = Record(
                kind=RecordKind.CHECKPOINT, key=mark, group=mark, created_at=self._clock.now(), data={}, revision=turns
            )
            await self._engine.store.records.put_many([done])
            if await self._engine.state(session_id) is None:
                await self._engine.store.records.delete(RecordKind.CHECKPOINT, mark)
        except SessionNotFound:
            return  # It was deleted just now.
        except SchemaViolation as error:
            _log.warning(Action.CHECKPOINT_SKIPPED, session_id=session_id, error=str(error))

    async def _record(self, checkpoint_id: str, session_id: str | None = None) -> Record | None:
        if not is_id(checkpoint_id):
            return None
        found = await self._engine.store.records.get(RecordKind.CHECKPOINT, checkpoint_id)
        if found is None or session_id not in (None, found.group):
            return None
        # Of a deleted session nothing is shown, also while its checkpoints are about to go.
        return found if await self._engine.state(found.group) else None

    async def _save(self, state: SessionState, key: str, data: Mapping[str, Any]) -> None:
        with checking("the checkpoint can't be kept"):
            record = Record(
                kind=RecordKind.CHECKPOINT,
                key=key,
                group=state.session_id,
                created_at=await self._next_moment(state.session_id),
                data=dict(data),
            )
        if not await self._engine.store.records.put(record, replace=False):
            there = await self._engine.store.records.get(RecordKind.CHECKPOINT, key)
            if there and there.group != state.session_id:
                raise SchemaViolation(f"checkpoint id {key} is taken: choose another one")
        elif await self._engine.state(state.session_id) is None:
            # Deleted meanwhile: its checkpoints may have gone before this one came.
            await self._engine.store.records.delete(RecordKind.CHECKPOINT, key)
            raise SessionNotFound(f"session {state.session_id} was deleted meanwhile")

    async def _next_moment(self, session_id: SessionId) -> datetime:
        """Return now, or just after the session's latest checkpoint if our clock is not past that one's moment.

        Checkpoints are listed by their moments: of two saved one after the other, by any processes, the second is
        the later one, even within a millisecond.
        """
        latest = (await self._engine.store.records.page(RecordKind.CHECKPOINT, session_id, limit=1)).items
        now = self._clock.now()
        return max(now, latest[0].created_at + _TICK) if latest else now


def _checkpoint(record: Record) -> Checkpoint:
    return Checkpoint(record.key, record.group, record.created_at, record.data)
