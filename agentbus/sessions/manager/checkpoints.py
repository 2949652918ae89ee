"""Checkpoints: data saved at a moment of a session, by a call or every so many messages."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from agentbus.sessions.manager.base import ManagerBase
from agentbus.sessions.manager.engine import is_id
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.page import Page
from contracts.commands import FieldChanges, UpdateSession
from contracts.errors import AccessDenied, Refused, SchemaViolation
from contracts.records import Record, RecordKind
from contracts.secrets import without_secrets
from contracts.session import SessionState
from workers.domain.access import DENIED, Right, may


class CheckpointNotFound(Refused):
    """There is no such checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint: read it by attribute (`checkpoint.data`) or by key (`checkpoint["data"]`)."""

    checkpoint_id: str
    session_id: str
    created_at: datetime
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

        Keys that hold secrets (`api_key`, `password`, ...) are left out. With a `checkpoint_id` the call may be
        repeated: there is one checkpoint of that id. Raises SessionNotFound, AccessDenied; SchemaViolation for data
        that can't be kept.
        """
        state = await self._engine.existing(session_id, user_id, Right.WRITE)
        chosen = uuid4().hex if checkpoint_id is None else checkpoint_id
        await self._save(state, chosen, state.data if data is None else data)
        return chosen

    async def get_checkpoint(self, checkpoint_id: str, *, user_id: str | None = None) -> Checkpoint | None:
        """Return a checkpoint, or None. With `user_id` it raises AccessDenied instead of telling."""
        record = await self._checkpoint_record(checkpoint_id)
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
        page = await self._store.list_records(RecordKind.CHECKPOINT, session_id, limit=limit, cursor=cursor)
        return Page(items=[_checkpoint(record) for record in page.items], cursor=page.cursor)

    async def delete_checkpoint(self, checkpoint_id: str, *, user_id: str | None = None) -> bool:
        """Delete a checkpoint; return whether there was one. Raises AccessDenied as `get_checkpoint` does."""
        found = await self.get_checkpoint(checkpoint_id, user_id=user_id)
        if found is not None and user_id is not None:
            await self._engine.existing(found.session_id, user_id, Right.WRITE)
        return found is not None and await self._store.delete_record(RecordKind.CHECKPOINT, checkpoint_id)

    async def clear_checkpoints(self, session_id: str, *, user_id: str | None = None) -> int:
        """Delete all checkpoints of a session; return how many. Raises SessionNotFound, AccessDenied."""
        await self._engine.existing(session_id, user_id, Right.WRITE)
        return await self._store.delete_records(RecordKind.CHECKPOINT, session_id)

    async def restore_checkpoint(
        self, session_id: str, checkpoint_id: str, *, user_id: str | None = None, request_id: str | None = None
    ) -> Checkpoint:
        """Make a session's data what the checkpoint says: other keys are taken out. Its messages stay.

        Raises CheckpointNotFound (also for one of another session), SessionNotFound, AccessDenied.
        """
        await self._engine.existing(session_id, user_id, Right.WRITE)
        record = await self._checkpoint_record(checkpoint_id)
        if record is None or record.group != session_id:
            raise CheckpointNotFound(f"session {session_id} has no checkpoint {checkpoint_id}")
        changes = FieldChanges(values=record.data, replace=True)
        await self._command(session_id, UpdateSession, request_id, actor=user_id, data=changes)
        return _checkpoint(record)

    async def _checkpoint_by_itself(self, session_id: str) -> None:
        """Save the checkpoint that is due by the number of messages, once, whoever gets there first."""
        every = self._options.checkpoint_every
        state = await self._engine.state(session_id) if every else None
        if every and state and (turns := state.message_count // every):
            key = f"{session_id}/auto/{turns}"
            if await self._store.record(RecordKind.CHECKPOINT, key) is None:
                await self._save(state, key, state.data)

    async def _checkpoint_record(self, checkpoint_id: str) -> Record | None:
        return await self._store.record(RecordKind.CHECKPOINT, checkpoint_id) if is_id(checkpoint_id) else None

    async def _save(self, state: SessionState, key: str, data: Mapping[str, Any]) -> None:
        with checking("the checkpoint can't be kept"):
            record = Record(
                kind=RecordKind.CHECKPOINT,
                key=key,
                group=state.session_id,
                created_at=self._clock.now(),
                data=without_secrets(data, self._options.secret_keys),
            )
        if not await self._store.put_record(record, replace=False):
            there = await self._store.record(RecordKind.CHECKPOINT, key)
            if there and there.group != state.session_id:
                raise SchemaViolation(f"checkpoint id {key} is taken: choose another one")


def _checkpoint(record: Record) -> Checkpoint:
    return Checkpoint(record.key, record.group, record.created_at, record.data)
