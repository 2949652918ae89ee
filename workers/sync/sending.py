"""Sending what a session passes on to the linked sessions that there are, until none is left out."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from agentbus.contracts.commands import MergeContext
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import Refused
from agentbus.contracts.ids import ConversationId, InputId, conversation_of, digest_of
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import SyncOperation, SyncPolicy
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync.exchange import Parcel, merges
from agentbus.workers.sync.members import is_linked, live_members


class Sender:
    """Finds the linked sessions, and gives their owners what is for them.

    Nothing is missed by a session that begins meanwhile: whoever sends looks again afterwards, and sends it to those
    that have begun since; who begins later asks the others, after `arrived` has waited for what was sent to them.
    """

    def __init__(self, store: Store, commands: Inputs) -> None:
        self._store = store
        self._commands = commands

    async def send(self, parcels: Sequence[Parcel], policy: SyncPolicy, *, only: ConversationId | None = None) -> bool:
        """Give parcels of one session to all that it is linked to, or to that of the conversation `only`.

        If it has ended, its conversation's next session gets them too, as the others won't tell what they were told.
        Returns whether it was linked until all had them; otherwise some may have them, and others not.
        """
        if not parcels:
            return True
        source, identity = parcels[0].source, parcels[0].identity
        here = conversation_of(source)
        served = {source}
        while True:
            members = await live_members(self._store, identity)
            if all(one.conversation_id != here for one in members) and not await is_linked(self._store, here, identity):
                return False
            others = [one for one in members if one.conversation_id != here]
            heirs = [one for one in members if others and one.conversation_id == here and one.session_id not in served]
            new = [one for one in others if only in {None, one.conversation_id} and one.session_id not in served]
            if not (new or heirs):
                return True
            commands = [given for parcel in parcels for given in merges(parcel, policy, new)]
            if SyncOperation.MERGE in policy.operations:
                commands += [given for parcel in parcels for given in merges(_inherited(parcel), policy, heirs)]
            await self._commands.give(commands)
            served |= {one.session_id for one in (*new, *heirs)}

    async def arrived(self, cause: str, source: SessionState, others: Sequence[SessionState]) -> None:
        """Return once `others` have all that was sent to them until now. Raises ReplyTimeout, BusError."""

        async def ask(other: SessionState) -> None:
            nothing = MergeContext(
                session_id=other.session_id, identity=source.identity or "", source=source.session_id
            )
            with suppress(Refused):
                await self._commands.ask(Input(InputId(digest_of(("sync arrived", cause, other.session_id))), nothing))

        await side_by_side(ask(other) for other in others)


def _inherited(parcel: Parcel) -> Parcel:
    """Return what a conversation's next session gets of it: the context, as when it began."""
    return replace(parcel, messages=(), whole=True)
