"""What an expiry worker does about sessions: commands to their owners, and the move to the archive."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import ArchiveNotFound, ConfigurationError, Refused
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import InputId, SessionId, digest_of
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import SyncPolicy
from agentbus.contracts.telemetry import Action
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.archive.index import get_index
from agentbus.workers.archive.moving import archive_sessions
from agentbus.workers.archive.storing import delete_archived
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.sync.fields import entries_of
from agentbus.workers.expiry.watch.phases import was_moved
from agentbus.workers.sync.exchange import Parcel, merges, shared
from agentbus.workers.sync.members import live_members
from agentbus.workers.sync.policies import Policies

DEADLINE: Final = "deadline"
"""The label of what is no rule's action: a session's own deadline."""

_log = Logger(__name__)


class Overtaken(Refused):
    """Somebody was faster: the session, or the one that it was to merge with, is not as it was when this was decided.

    No failure: what is to be done is decided anew by how it is now.
    """


@dataclass(frozen=True, slots=True)
class Order:
    """A command that a session's time has come for."""

    head: SessionState
    command: ExpireSession | ApplyDeadlines
    tries: int = 0
    """How often it was given before."""


class ExpiryCommands:
    """Gives commands in bulk. Their ids come from what was decided: given again they are carried out once."""

    def __init__(
        self,
        store: Store,
        commands: Inputs,
        archive: ArchiveStore | None,
        *,
        metrics: WorkerMetrics,
        clock: Clock,
        secret_keys: Collection[str] = SECRET_KEYS,
    ) -> None:
        self._store = store
        self._commands = commands
        self._archive = archive
        self._metrics = metrics
        self._policies = Policies(store, clock)
        self._secret_keys = secret_keys

    async def give(self, orders: list[Order]) -> None:
        """Give the commands, confirmed, and wait out the broker; what the owner makes of them is seen in the head.

        One that merges is given by `merge`.
        """
        await self._commands.give([_given(order) for order in orders])
        for order in orders:
            self._count(order.command)

    async def merge(self, head: SessionState, command: ExpireSession) -> None:
        """Bring a session's context into the other one of its identity that was last active, and end it after that.

        Without such another one it has nowhere to go, and simply expires. Raises Overtaken if the other one has ended
        or was unlinked meanwhile, Refused if it did not take all of it: then nothing is ended; ReplyTimeout, BusError,
        StoreError.
        """
        if target := await self._target(head):
            try:
                for given in await self._brought_over(head, target):
                    await self._commands.ask(given)
            except Refused:
                await self._check_takes(target, head)
                raise
            await self._check_takes(target, head)
        else:
            _log.info(Action.MERGE_ALONE, session_id=head.session_id, identity=head.identity)
            command = command.model_copy(update={"action": CleanupAction.EXPIRE})
        await self._commands.give([_given(Order(head, command))])
        self._count(command)

    def can_move(self, head: SessionState) -> bool:
        """Whether a session that is to be archived has to be moved: without an archive, one that a call made archived
        stays in the store."""
        return self._archive is not None or head.status is not SessionStatus.ARCHIVED or was_moved(head)

    async def archive(self, heads: Sequence[SessionState]) -> dict[SessionId, Exception]:
        """Move ended sessions to the archive, or finish that; return why some could not be moved: Overtaken among them,
        and what `archive_session` raises.

        Raises ConfigurationError if there is no archive for any of them.
        """
        movable = [head for head in heads if self.can_move(head)]
        if not movable:
            return {}
        outcomes = await archive_sessions(self._store, self._place(), self._commands, movable)
        failed = {session: one for session, one in outcomes.items() if isinstance(one, Exception)}
        for head in movable:
            if isinstance(error := failed.get(head.session_id), Refused):
                failed[head.session_id] = await self._seen_now(head, error)
        return failed

    async def discard(self, head: SessionState) -> None:
        """Delete what the archive has of a deleted session. Raises ConfigurationError if there is no archive."""
        if await get_index(self._store, head.session_id):
            with suppress(ArchiveNotFound):  # somebody was faster
                try:
                    await delete_archived(self._store, self._place(), head.session_id)
                except Refused as error:
                    raise await self._seen_now(head, error) from error

    async def _seen_now(self, head: SessionState, error: Refused) -> Refused:
        """Return Overtaken in the place of what was refused because something has happened to the session since."""
        now = await self._store.heads.get(head.session_id)
        if now is None or now.version != head.version:
            return Overtaken(f"session {head.session_id} was changed meanwhile: {error}")
        return error

    async def _check_takes(self, target: SessionState, head: SessionState) -> None:
        now = await self._store.heads.get(target.session_id)
        if now is None or not now.is_live or now.identity != head.identity:
            raise Overtaken(f"session {target.session_id} has ended, or is no longer linked: nothing is merged")

    def _place(self) -> ArchiveStore:
        if self._archive is None:
            raise ConfigurationError("sessions are archived here, and no archive is set: set AGENTBUS_ARCHIVE_URL")
        return self._archive

    def _count(self, command: ExpireSession | ApplyDeadlines) -> None:
        self._metrics.expiry_commands.labels(command.action if isinstance(command, ExpireSession) else DEADLINE).inc()

    async def _target(self, head: SessionState) -> SessionState | None:
        """Return the session of another conversation of the same identity that was last active, if there is one."""
        members = await live_members(self._store, head.identity) if head.identity else []
        others = [member for member in members if member.conversation_id != head.conversation_id]
        return max(
            others,
            key=lambda one: (one.last_activity or one.created_at or head.created_at, one.session_id),
            default=None,
        )

    async def _brought_over(self, head: SessionState, target: SessionState) -> list[Input]:
        """Return the commands that bring a session's context into another one."""
        identity = head.identity or ""
        policy = await self._policies.of(identity)
        parcel = Parcel(
            cause=f"expiry/{head.sequence}",
            identity=identity,
            source=head.session_id,
            entries=shared(policy, entries_of(head), self._secret_keys),
            strategy=policy.strategy,
            whole=True,
        )
        return merges(parcel, SyncPolicy(priority=policy.priority), [target])


def _given(order: Order) -> Input:
    head, command = order.head, order.command
    if isinstance(command, ApplyDeadlines):
        # By the owner's clock its time may not have come yet: it is asked anew, not told to repeat.
        return Input(InputId(digest_of((DEADLINE, head.session_id, str(head.version), str(order.tries)))), command)
    parts = ("expire", head.session_id, command.rule_id, str(command.step), command.action, str(command.seen))
    return Input(InputId(digest_of(parts)), command)
