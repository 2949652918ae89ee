"""Bringing whole contexts together: when somebody is new to an identity or back, and when somebody has left it."""

from collections.abc import Collection, Sequence

from agentbus.contracts.events import AnyEvent
from agentbus.contracts.ids import ConversationId, conversation_of
from agentbus.contracts.secrets import SECRET_KEYS
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import ConflictStrategy, SyncMode, SyncOperation, SyncPolicy
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.contexts import shared_context
from agentbus.workers.sync.exchange import Parcel, merges
from agentbus.workers.sync.members import live_members
from agentbus.workers.sync.sending import Sender


class Meeting:
    """Has linked sessions agree on all that their policy shares, where no single change would do it."""

    def __init__(self, store: Store, commands: Inputs, *, secret_keys: Collection[str] = SECRET_KEYS) -> None:
        self._store = store
        self._commands = commands
        self._sender = Sender(store, commands)
        self._secret_keys = secret_keys

    async def introduce(self, event: AnyEvent, identity: str, policy: SyncPolicy) -> None:
        """Bring together the contexts of an event's session, which is new to an identity or back, and of the others.

        If it has ended or left by now, a newcomer after it may have its context already, and the others do not; or one
        of them has it, from a worker that was killed in the middle of this.
        """
        if not _meets(policy):
            return
        newcomer, others = await self._newcomer(event, identity)
        if newcomer is not None and others:
            await self._sender.arrived(event.event_id, newcomer, [newcomer, *others])
            newcomer, others = await self._newcomer(event, identity)
        if newcomer is None:
            await self.agree(event.event_id, identity, policy)
            return
        await self._copy(event.event_id, newcomer, others, policy)
        for other in others:
            await self._copy(event.event_id, other, [newcomer], policy)
        if not await self._are_there(newcomer, others, identity):
            await self.agree(event.event_id, identity, policy)

    async def agree(self, cause: str, identity: str, policy: SyncPolicy) -> None:
        """Have those that are linked still tell each other all they have. The same again does no more.

        What somebody wrote who has left, or is gone, is not passed on any more: some of them got it, and some did not.
        """
        if not _meets(policy) or policy.strategy is ConflictStrategy.MANUAL:
            return
        members = await live_members(self._store, identity)
        if len(members) < 2:
            return
        await self._sender.arrived(cause, members[0], members)
        members = await live_members(self._store, identity)
        for one in members:
            await self._copy(cause, one, [other for other in members if other is not one], policy)

    async def _newcomer(self, event: AnyEvent, identity: str) -> tuple[SessionState | None, list[SessionState]]:
        """Return an event's session, if it is live and linked, and those of the other conversations."""
        members = await live_members(self._store, identity)
        here = conversation_of(event.session_id)
        newcomer = next((one for one in members if one.session_id == event.session_id), None)
        return newcomer, [one for one in members if one.conversation_id != here]

    async def _are_there(self, newcomer: SessionState, others: Sequence[SessionState], identity: str) -> bool:
        """Whether a newcomer, and the others' conversations, are an identity's still.

        A session that follows the newcomer was introduced before the others had its context, perhaps.
        """
        members = await live_members(self._store, identity)
        conversations: set[ConversationId] = {one.conversation_id for one in members}
        here = any(one.session_id == newcomer.session_id for one in members)
        return here and all(one.conversation_id in conversations for one in others)

    async def _copy(
        self, cause: str, source: SessionState, targets: Sequence[SessionState], policy: SyncPolicy
    ) -> None:
        entries = await shared_context(self._store, source, policy, secret_keys=self._secret_keys)
        parcel = Parcel(
            cause=cause, identity=source.identity or "", source=source.session_id, entries=entries, whole=True
        )
        await self._commands.give(merges(parcel, policy, targets))


def _meets(policy: SyncPolicy) -> bool:
    return policy.mode is not SyncMode.MANUAL and SyncOperation.MERGE in policy.operations
