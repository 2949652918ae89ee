"""Syncs that wait for their time: once a session was quiet for a while, or at the end of an interval."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from agentbus.contracts.events import AnyEvent
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import SyncMode, SyncPolicy
from agentbus.contracts.topology import Topology
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.contexts import messages_after, shared_context
from agentbus.workers.sync.exchange import Parcel
from agentbus.workers.sync.meeting import Meeting
from agentbus.workers.sync.members import is_linked
from agentbus.workers.sync.policies import Policies
from agentbus.workers.sync.sending import Sender

_EMPTIED: Final = (SessionStatus.ARCHIVED, SessionStatus.DELETED)
"""Of these nothing is left to pass on; who was linked meanwhile may have had it from their heads."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def due_at(policy: SyncPolicy, at: datetime) -> datetime:
    """Return when a change of the moment `at` is synced: after a quiet while, or when its interval ends."""
    if policy.mode is SyncMode.BATCH:
        interval = timedelta(milliseconds=max(1, round(policy.interval * 1000)))
        return at + interval - (at - _EPOCH) % interval
    return at + timedelta(milliseconds=round(policy.delay * 1000))


class SyncTasks:
    """Keeps one task for each session that has something to pass on, and carries it out when it is due.

    A task's revision is the event that it was last made for. A later event moves a delayed one, and none that is at the
    end of an interval; a repeated event moves neither; and what
    comes while it is carried out leaves a task of a higher revision, which is not taken away with it.
    """

    def __init__(
        self,
        store: Store,
        commands: Inputs,
        policies: Policies,
        topology: Topology,
        *,
        secret_keys: Collection[str] = SECRET_KEYS,
    ) -> None:
        self._store = store
        self._sender = Sender(store, commands)
        self._meeting = Meeting(store, commands, secret_keys=secret_keys)
        self._policies = policies
        self._topology = topology
        self._secret_keys = secret_keys

    async def put(self, event: AnyEvent, policy: SyncPolicy) -> None:
        """Have the event's session synced when its time comes. Idempotent."""
        kept = await self._store.records.get(RecordKind.SYNC_TASK, event.session_id)
        due = due_at(policy, event.at)
        if policy.mode is SyncMode.BATCH and kept and kept.due_at:
            due = min(due, kept.due_at)  # An interval ends when it ends, however much goes on changing.
        task = self._task(event.session_id, event.at, event.sequence, _upto(kept) if policy.history else 0)
        await self._store.records.put_many([task.model_copy(update={"due_at": due})])

    async def carry_out(self, task: Record) -> None:
        """Pass on what a task's session has, and take the task away. The same again does no more."""
        session = await self._store.heads.get(SessionId(task.key))
        identity = session.identity if session else None
        if session is None or identity is None or not await is_linked(self._store, session.conversation_id, identity):
            await self._store.records.drop([task])
            return
        policy = await self._policies.of(identity)
        if policy.mode is not SyncMode.MANUAL:
            cause = f"{session.session_id}@{session.version}"
            parcels = await self.parcels(session, policy, identity, cause, own=True)
            told = await self._sender.send(parcels, policy)
            if not told or session.status in _EMPTIED:
                await self._meeting.agree(cause, identity, policy)
        await self.settle(session, policy, task)

    async def parcels(
        self, session: SessionState, policy: SyncPolicy, identity: str, cause: str, *, own: bool = False
    ) -> list[Parcel]:
        """Return all that a session can pass on now: messages that were not copied yet, then its context."""
        source = session.session_id
        upto = await self.copied_upto(source) if policy.history else session.version
        events = await messages_after(self._store, session, upto, identity)
        parcels = [
            Parcel(cause=event.event_id, identity=identity, source=source, messages=(event.message,))
            for event in events
        ]
        entries = await shared_context(self._store, session, policy, own=own, secret_keys=self._secret_keys)
        return [*parcels, Parcel(cause=cause, identity=identity, source=source, entries=entries)]

    async def settle(self, session: SessionState, policy: SyncPolicy, task: Record | None = None) -> None:
        """Note that all of `session` was passed on: nothing waits, unless something came meanwhile."""
        kept = task or await self._store.records.get(RecordKind.SYNC_TASK, session.session_id)
        if task is None and kept and kept.due_at:
            return  # It will be carried out: what was copied by then is known by its id.
        if policy.history and session.is_live and session.last_activity:
            revision = kept.revision if kept else 0
            note = self._task(session.session_id, session.last_activity, revision, session.version)
            await self._store.records.put_many([note])
        elif kept:
            await self._store.records.drop([kept])

    async def copied_upto(self, session_id: SessionId) -> int:
        """Return the last commit of whose messages it is noted that they were copied; 0 if nothing is."""
        return _upto(await self._store.records.get(RecordKind.SYNC_TASK, session_id))

    def _task(self, session_id: SessionId, at: datetime, revision: int, upto: int) -> Record:
        data: dict[str, JsonValue] = {"upto": upto}
        return Record(
            kind=RecordKind.SYNC_TASK,
            key=session_id,
            group=str(self._topology.partition_of(conversation_of(session_id))),
            created_at=at,
            data=data,
            revision=revision,
        )


def _upto(kept: Record | None) -> int:
    upto = kept.data.get("upto") if kept else 0
    return upto if isinstance(upto, int) else 0
