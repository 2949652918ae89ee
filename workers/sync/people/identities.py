"""Identities: which sessions are one person's, linked and unlinked by commands to their owners."""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import LinkIdentity, UnlinkIdentity
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied, IdentityConflict, Refused, SessionNotFound
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, SessionId, digest_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import Identity
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records, iter_sessions
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.sync.members import latest_session

_KNOWN: Final = "identities"
"""The group of the records of identities. Those of a conversation that was ever linked are in the identity's."""


class Identities:
    """Links sessions to identities. The sessions' own logs say who is linked; beside them a name is kept."""

    def __init__(self, store: Store, commands: Inputs, clock: Clock) -> None:
        self._store = store
        self._commands = commands
        self._clock = clock

    async def link(
        self,
        identity_key: str,
        session_ids: Sequence[SessionId],
        display_name: str | None = None,
        *,
        actor: str | None = None,
    ) -> Identity:
        """Say that these sessions, and those that are linked already, are one person's. Idempotent.

        An `actor` must own them all, those that are linked already too: what is linked shares its data. Whoever does
        not proves that both are theirs by a claim code.

        Raises IdentityConflict if one of them is linked to another identity, SessionNotFound or AccessDenied (all
        before anything is written, unless others change the sessions meanwhile), ReplyTimeout, BusError.
        """
        latest = [await self._to_be_linked(session, actor) for session in session_ids]
        await self._check_linked(identity_key, actor)
        for session in latest:
            if session.identity not in {None, identity_key}:
                linked = f"session {session.session_id} is linked to {session.identity!r}"
                raise IdentityConflict(f"{linked}: unlink it first")
        await self.describe(identity_key, display_name)
        for session in latest:
            await self.link_conversation(identity_key, session.conversation_id, uuid4().hex, actor=actor)
        try:
            await self._check_linked(identity_key, actor)
        except AccessDenied:
            # Somebody else's session was linked in the same moment: neither is to have what is the other's.
            for session in latest:
                if session.identity is None:
                    await self.unlink(session.session_id, actor=actor)
            raise
        return await self.get(identity_key)

    async def link_conversation(
        self, identity_key: str, conversation: ConversationId, command_id: str, *, actor: str | None = None
    ) -> None:
        """Link a conversation, whichever its latest session is; the same `command_id` again does nothing more.

        Raises Refused, ReplyTimeout, BusError.
        """
        await self.remember(identity_key, conversation)
        session = (await latest_session(self._store, conversation)).session_id
        command = LinkIdentity(session_id=session, identity=identity_key, actor=actor)
        await self._commands.ask(Input(InputId(command_id), command))

    async def unlink(self, session_id: SessionId, *, actor: str | None = None) -> str | None:
        """Say that a session is not, or no longer, its identity's; return that identity, None if it had none.

        What was shared until now stays where it is. Raises SessionNotFound, AccessDenied, ReplyTimeout, BusError.
        """
        latest = await self.latest(session_id, actor, Right.OWN)
        if latest.identity is not None:
            command = UnlinkIdentity(session_id=latest.session_id, identity=latest.identity, actor=actor)
            await self._commands.ask(Input(InputId(uuid4().hex), command))
        return latest.identity

    async def get(self, identity_key: str, *, actor: str | None = None) -> Identity:
        """Return an identity with the latest session of each conversation that is linked; none: nobody knows it.

        Raises AccessDenied unless `actor`, if there is one, may read all of them and there is one.
        """
        await self.check(identity_key, actor, Right.READ)
        record = await self._store.records.get(RecordKind.IDENTITY, identity_key)
        sessions = await self._linked(identity_key)
        name = record.data.get("display_name") if record else None
        return Identity(
            identity_key=identity_key,
            display_name=name if isinstance(name, str) else None,
            session_ids=tuple(session.session_id for session in sessions),
        )

    async def of_session(self, session_id: SessionId, *, actor: str | None = None) -> Identity | None:
        """Return the identity that a session's conversation is linked to, or None.

        Raises SessionNotFound, or AccessDenied as `get` does.
        """
        identity = (await self.latest(session_id, actor, Right.READ)).identity
        return await self.get(identity, actor=actor) if identity else None

    async def check(self, identity_key: str, actor: str | None, right: Right) -> None:
        """Raise AccessDenied unless `actor`, if there is one, has a right on all that is linked, and something is."""
        if actor is not None and not await self._check_linked(identity_key, actor, right):
            raise AccessDenied(DENIED)

    async def latest(self, session_id: SessionId, actor: str | None, right: Right) -> SessionState:
        """Return the latest session of a session's conversation.

        Raises SessionNotFound if there is no such session; AccessDenied instead, and unless they have the right, if
        there is an `actor`.
        """
        head = await self._store.heads.get(session_id)
        if head is not None and head.status is not SessionStatus.DELETED:
            latest = await latest_session(self._store, head.conversation_id)
            if may(latest, actor, right):
                return latest
        raise _missing(session_id, actor)

    async def conversations(self, identity_key: str, *, actor: str | None = None) -> list[ConversationId]:
        """Return the conversations that are linked to an identity, or ever were; with an `actor`, theirs alone.

        Raises AccessDenied unless `actor`, if there is one, owns all that are linked now.
        """
        await self.check(identity_key, actor, Right.OWN)
        known = await self.ever_linked(identity_key)
        linked = {session.conversation_id for session in await self._linked(identity_key)}
        found = sorted(known | linked)
        return [one for one in found if may(await latest_session(self._store, one), actor, Right.OWN)]

    async def describe(self, identity_key: str, display_name: str | None) -> None:
        """Keep an identity's name; without one, what is kept stays."""
        record = Record(
            kind=RecordKind.IDENTITY,
            key=identity_key,
            group=_KNOWN,
            created_at=self._clock.now(),
            data={"display_name": display_name},
        )
        await self._store.records.put(record, replace=display_name is not None)

    async def remember(self, identity_key: str, conversation: ConversationId) -> None:
        """Note that a conversation was linked: its log is part of the identity's history from then on. Idempotent."""
        for key, group in (
            (digest_of(("linked", identity_key, conversation)), _group(identity_key)),
            (reverse_key(conversation, identity_key), reverse_group(conversation)),
        ):
            record = Record(
                kind=RecordKind.IDENTITY,
                key=key,
                group=group,
                created_at=self._clock.now(),
                data={"conversation": conversation, "identity": identity_key},
            )
            await self._store.records.put(record, replace=False)

    async def ever_of(self, conversation: ConversationId) -> set[str]:
        """Return the identities that a conversation is linked to, or ever was."""
        records = iter_records(self._store, RecordKind.IDENTITY, reverse_group(conversation))
        return {str(record.data["identity"]) async for record in records}

    async def ever_linked(self, identity_key: str) -> set[ConversationId]:
        """Return the conversations that are linked to an identity, or ever were, by what was noted of them."""
        records = iter_records(self._store, RecordKind.IDENTITY, _group(identity_key))
        return {ConversationId(str(record.data["conversation"])) async for record in records}

    async def _to_be_linked(self, session_id: SessionId, actor: str | None) -> SessionState:
        """Return the latest session of a session's conversation, if it was not deleted: else its owner would refuse.

        Raises SessionNotFound, AccessDenied.
        """
        latest = await self.latest(session_id, actor, Right.OWN)
        if latest.status is SessionStatus.DELETED:
            raise _missing(latest.session_id, actor)
        return latest

    async def _check_linked(self, identity_key: str, actor: str | None, right: Right = Right.OWN) -> bool:
        """Raise AccessDenied if `actor` lacks a right on a session that is linked; return whether any is."""
        linked = await self._linked(identity_key)
        if not all(may(session, actor, right) for session in linked):
            raise AccessDenied(DENIED)
        return bool(linked)

    async def _linked(self, identity_key: str) -> list[SessionState]:
        """Return the latest session of each linked conversation, whatever its status.

        The head of an earlier session says what it was linked to when it ended: the latest one's is asked.
        """
        found = [one async for one in iter_sessions(self._store, SessionFilter(identity=identity_key))]
        live = {session.conversation_id: session for session in found if session.is_live}
        ended = {session.conversation_id for session in found} - live.keys()
        latest = [*live.values(), *[await latest_session(self._store, one) for one in ended]]
        return sorted(
            (one for one in latest if one.identity == identity_key and one.status is not SessionStatus.DELETED),
            key=lambda one: one.session_id,
        )


def _missing(session_id: SessionId, actor: str | None) -> Refused:
    """Return what is raised for a session that is not there: to an `actor` it is as if it were somebody else's."""
    return SessionNotFound(f"there is no session {session_id}") if actor is None else AccessDenied(DENIED)


def reverse_key(conversation: ConversationId, identity_key: str) -> str:
    """Return the key of the note that a conversation was linked to an identity, among those of the conversation."""
    return digest_of(("linked to", conversation, identity_key))


def reverse_group(conversation: ConversationId) -> str:
    """Return the group of the notes of what a conversation was linked to."""
    return digest_of(("identities of", conversation))


def _group(identity_key: str) -> str:
    return digest_of(("identity", identity_key))
