"""Syncs that somebody asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from agentbus.contracts.commands import MergeContext
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied, Refused, ReplyTimeout, SessionNotFound
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.sync.exchange import merges
from agentbus.workers.sync.members import is_linked, live_members
from agentbus.workers.sync.policies import Policies
from agentbus.workers.sync.tasks import SyncTasks


@dataclass(frozen=True, slots=True)
class SyncedSession:
    """What a sync did to one of the linked sessions."""

    session_id: SessionId
    changed: bool
    conflicts: int
    """Open conflicts that it has now."""
    error: str | None = None
    """Why it was not synced, if it was not."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What was passed on, and to whom."""

    source: SessionId
    identity: str | None
    """None: the session is not linked to any other, and nothing happened."""
    fields: int = 0
    messages: int = 0
    sessions: tuple[SyncedSession, ...] = ()


class SyncOnDemand:
    """Passes on all that a session has, now, and says what that did."""

    def __init__(self, store: Store, commands: Inputs, policies: Policies, tasks: SyncTasks) -> None:
        self._store = store
        self._commands = commands
        self._policies = policies
        self._tasks = tasks

    async def sync(self, source: SessionId, *, actor: str | None = None) -> SyncReport:
        """Sync the sessions that `source` is linked to with it, as their policy says, whatever its mode.

        Raises SessionNotFound, or AccessDenied unless `actor`, if there is one, owns it; StoreError, BusError.
        """
        session = await self._store.heads.get(source)
        gone = session is None or session.status is SessionStatus.DELETED
        if actor is not None and (session is None or gone or not may(session, actor, Right.OWN)):
            raise AccessDenied(DENIED)
        if session is None or session.status is SessionStatus.DELETED:
            raise SessionNotFound(f"there is no session {source}")
        identity = session.identity
        if identity is None or not await is_linked(self._store, session.conversation_id, identity):
            return SyncReport(source, None)
        policy = await self._policies.of(identity)
        parcels = await self._tasks.parcels(session, policy, identity, uuid4().hex)
        members = await live_members(self._store, identity)
        targets = [one for one in members if one.conversation_id != conversation_of(source)]
        work = ([one for parcel in parcels for one in merges(parcel, policy, [target])] for target in targets)
        errors = await side_by_side(self._carry_out(commands) for commands in work)
        if not any(errors):
            await self._tasks.settle(session, policy)
        return SyncReport(
            source,
            identity,
            fields=sum(len(parcel.entries) for parcel in parcels),
            messages=sum(len(parcel.messages) for parcel in parcels),
            sessions=await self._outcomes(targets, errors),
        )

    async def _carry_out(self, commands: Sequence[Input]) -> str | None:
        """Give one session its commands, in order; return why one failed, if it did: those after it are not given.

        Those that may be refused are waited for, and the last one. Messages alone are never refused.
        """
        try:
            waiting: list[Input] = []
            for number, given in enumerate(commands, 1):
                if number < len(commands) and not (isinstance(given.data, MergeContext) and given.data.entries):
                    waiting.append(given)
                    continue
                await self._commands.give(waiting)
                await self._commands.ask(given)
                waiting = []
        except Refused as error:
            return f"{error.code}: {error}"
        except ReplyTimeout:
            return "its owner does not answer now, and will do it later"
        return None

    async def _outcomes(
        self, targets: Sequence[SessionState], errors: Sequence[str | None]
    ) -> tuple[SyncedSession, ...]:
        after = await self._store.heads.get_many([target.session_id for target in targets])
        return tuple(
            _outcome(before, after.get(before.session_id, before), error)
            for before, error in zip(targets, errors, strict=True)
        )


def _outcome(before: SessionState, after: SessionState, error: str | None) -> SyncedSession:
    changed = (before.data, before.metadata, before.message_count) != (after.data, after.metadata, after.message_count)
    return SyncedSession(before.session_id, changed=changed, conflicts=len(after.conflicts), error=error)
