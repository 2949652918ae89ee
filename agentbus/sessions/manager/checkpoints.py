"""Checkpoints: data saved at a moment of a session, by a call or every so many messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from agentbus.sessions.manager.base import ManagerBase
from agentbus.sessions.manager.engine import is_id
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.page import Page
from contracts.changes import FieldChanges
from contracts.commands import UpdateSession
from contracts.errors import AccessDenied, Refused, SchemaViolation, SessionNotFound
from contracts.ids import SessionId
from contracts.records import Record, RecordKind, checkpoint_groups
from contracts.session import SessionState
from contracts.telemetry import Action
from storage.loggers import Logger
from workers.domain.access import DENIED, Right, may

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


class Checkpoints(ManagerBase):
    """The section of checkpoints. Those with `user_id` are checked against that user's access to the session."""

    async def save_checkpoint(
        self,
        session_id: str,
        data: Mapping[str, Any] | None = None,
        *,
        user_id: str | None = None,
        checkpoint_id: str | None = None,
    ) -> str:
        """Save `data` (the session's own data by default) as a checkpoint, and return its id.

        All of it is kept, secrets too: they are left out of what is announced and logged alone. With a `checkpoint_id`
        the call may be repeated: there is one checkpoint of that id. Raises SessionNotFound, AccessDenied;
        SchemaViolation for data that can't be kept.
        """
        state = await self._engine.existing(session_id, user_id, Right.WRITE)
        chosen = uuid4().hex if checkpoint_id is None else checkpoint_id
        await self._save(state, chosen, state.data if data is None else data)
        return chosen

    async def get_checkpoint(
        self, checkpoint_id: str, *, session_id: str | None = None, user_id: str | None = None
    ) -> Checkpoint | None:
        """Return a checkpoint, or None; with `session_id` None too if it is another session's.

        With `user_id` it raises AccessDenied instead of telling.
        """
        record = await self._checkpoint_record(checkpoint_id, session_id)
        if user_id is not None:
            state = await self._engine.state(record.group) if record else None
            if state is None or not may(state, user_id, Right.READ):
                raise AccessDenied(DENIED)
        return None if record is None else _checkpoint(record)

    async def get_latest_checkpoint(self, session_id: str, *, user_id: str | None = None) -> Checkpoint | None:
        """Return a session's latest checkpoint; None if it has none. Raises SessionNotFound, AccessDenied."""
        page = await self.list_checkpoints(session_id, user_id=user_id, limit=1)
        return page.items[0] if page.items else None

    async def list_checkpoints(
        self, session_id: str, *, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Checkpoint]:
        """Return a session's checkpoints, the latest first. Raises SessionNotFound, AccessDenied; ValueError."""
        await self._engine.existing(session_id, user_id)
        page = await self._store.records.page(RecordKind.CHECKPOINT, session_id, limit=limit, cursor=cursor)
        return Page(items=[_checkpoint(record) for record in page.items], cursor=page.cursor)

    async def delete_checkpoint(
        self, checkpoint_id: str, *, session_id: str | None = None, user_id: str | None = None
    ) -> bool:
        """Delete a checkpoint (of that session); return whether there was one.

        Raises AccessDenied as `get_checkpoint` does.
        """
        found = await self.get_checkpoint(checkpoint_id, session_id=session_id, user_id=user_id)
        if found is not None and user_id is not None:
            await self._engine.existing(found.session_id, user_id, Right.WRITE)
        return found is not None and await self._store.records.delete(RecordKind.CHECKPOINT, checkpoint_id)

    async def clear_checkpoints(self, session_id: str, *, user_id: str | None = None) -> int:
        """Delete all checkpoints of a session; return how many. Those saved by themselves do not come back.

        Raises SessionNotFound, AccessDenied.
        """
        await self._engine.existing(session_id, user_id, Right.WRITE)
        return await self._store.records.delete_group(RecordKind.CHECKPOINT, session_id)

    async def restore_checkpoint(
        self,
        session_id: str,
        checkpoint_id: str,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> Checkpoint:
        """Make a session's data what the checkpoint says: other keys are taken out. Its messages stay.

        Raises CheckpointNotFound (also for one of another session), SessionNotFound, AccessDenied.
        """
        await self._engine.existing(session_id, user_id, Right.WRITE)
        record = await self._checkpoint_record(checkpoint_id, session_id)
        if record is None:
            raise CheckpointNotFound(f"session {session_id} has no checkpoint {checkpoint_id}")
        changes = FieldChanges(values=record.data, replace=True)
        await self._command(session_id, UpdateSession, request_id, actor=user_id, fence=fence, data=changes)
        return _checkpoint(record)

    async def _checkpoint_by_itself(self, session_id: str) -> None:
        """Save the checkpoint that is due by the number of messages, once for ever, whoever gets there first.

        Data too large for one is none to fail the call for that comes by: it is logged.
        """
        every = self._options.checkpoint_every
        state = await self._engine.state(session_id) if every else None
        if every is None or state is None or not (turns := state.message_count // every):
            return
        key, (_, mark) = f"{session_id}/auto/{turns}", checkpoint_groups(state.session_id)
        last = await self._store.records.get(RecordKind.CHECKPOINT, mark)
        if last and last.revision >= turns:
            return
        try:
            await self._save(state, key, state.data)
            done = Record(
                kind=RecordKind.CHECKPOINT, key=mark, group=mark, created_at=self._clock.now(), data={}, revision=turns
            )
            await self._store.records.put_many([done])
            if await self._engine.state(session_id) is None:
                await self._store.records.delete(RecordKind.CHECKPOINT, mark)
        except SessionNotFound:
            return  # It was deleted just now.
        except SchemaViolation as error:
            _log.warning(Action.CHECKPOINT_SKIPPED, session_id=session_id, error=str(error))

    async def _checkpoint_record(self, checkpoint_id: str, session_id: str | None = None) -> Record | None:
        if not is_id(checkpoint_id):
            return None
        found = await self._store.records.get(RecordKind.CHECKPOINT, checkpoint_id)
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
        if not await self._store.records.put(record, replace=False):
            there = await self._store.records.get(RecordKind.CHECKPOINT, key)
            if there and there.group != state.session_id:
                raise SchemaViolation(f"checkpoint id {key} is taken: choose another one")
        elif await self._engine.state(state.session_id) is None:
            # Deleted meanwhile: its checkpoints may have gone before this one came.
            await self._store.records.delete(RecordKind.CHECKPOINT, key)
            raise SessionNotFound(f"session {state.session_id} was deleted meanwhile")

    async def _next_moment(self, session_id: SessionId) -> datetime:
        """Return now, or just after the session's latest checkpoint if our clock is not past that one's moment.

        Checkpoints are listed by their moments: of two saved one after the other, by any processes, the second is
        the later one, even within a millisecond.
        """
        latest = (await self._store.records.page(RecordKind.CHECKPOINT, session_id, limit=1)).items
        now = self._clock.now()
        return max(now, latest[0].created_at + _TICK) if latest else now


def _checkpoint(record: Record) -> Checkpoint:
    return Checkpoint(record.key, record.group, record.created_at, record.data)
