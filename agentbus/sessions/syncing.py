"""The part of a session system that links the sessions of one person, and syncs them."""

from collections.abc import Sequence

from agentbus.sessions.manager import SessionManager
from agentbus.sessions.manager.engine import checked_for
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.page import Page
from agentbus.sessions.model.types import Platform
from contracts.errors import FeatureNotEnabled
from contracts.ids import SessionId
from contracts.sync import Conflict, ConflictStrategy, Identity, Resolution, SyncPolicy
from workers.domain.access import Right
from workers.sync.demand import SyncReport
from workers.sync.people.claims import VALID_FOR, ClaimCode
from workers.sync.people.suggestions import Suggestion
from workers.sync.people.trail import SyncNote, sync_history
from workers.sync.policies import DEFAULT
from workers.sync.services import SyncServices


class Syncing(SessionManager):
    """Identities, claim codes, policies, conflicts. `user_id`, where given, is who does it: their access is checked.

    All calls raise FeatureNotEnabled unless the system was started with `enable_sync`.
    """

    _sync_services: SyncServices | None = None

    async def sync_sessions(self, source_session_id: str, *, user_id: str | None = None) -> SyncReport:
        """Bring what a session has to those it is linked to, now, as their policy says; return what that did.

        Raises SessionNotFound, or AccessDenied unless `user_id` owns it; StoreError, BusError.
        """
        return await self._synced.on_demand.sync(checked_for(source_session_id, user_id), actor=user_id)

    async def link_identities(
        self,
        identity_key: str,
        session_ids: Sequence[str],
        display_name: str | None = None,
        *,
        user_id: str | None = None,
    ) -> Identity:
        """Say that these sessions, and those linked to the identity already, are one person's. Idempotent.

        Raises IdentityConflict if one of them is linked to another identity, SessionNotFound; AccessDenied unless
        `user_id` owns them all, those linked already too (across users a claim code links); SchemaViolation for a key
        or name that can't be.
        """
        with checking("there can't be such an identity"):
            Identity(identity_key=identity_key, display_name=display_name)
        named = [checked_for(session, user_id) for session in session_ids]
        return await self._synced.identities.link(identity_key, named, display_name, actor=user_id)

    async def unlink_identity(self, session_id: str, *, user_id: str | None = None) -> str | None:
        """Say that a session is not, or no longer, its identity's; return that identity's key, None if it had none.

        Nothing is shared with it from now on; what was shared until now stays, and so does the history of it. Raises
        SessionNotFound, AccessDenied.
        """
        return await self._synced.identities.unlink(checked_for(session_id, user_id), actor=user_id)

    async def get_identity(self, identity_key: str, *, user_id: str | None = None) -> Identity | None:
        """Return an identity with the latest session of each conversation that is linked to it, or None.

        With `user_id` it raises AccessDenied unless there is one, and they may read all its sessions.
        """
        found = await self._synced.identities.get(identity_key, actor=user_id)
        return found if found.session_ids or found.display_name else None

    async def get_session_identity(self, session_id: str, *, user_id: str | None = None) -> Identity | None:
        """Return the identity that a session is linked to, or None.

        Raises SessionNotFound, or AccessDenied unless `user_id` may read all that is linked.
        """
        return await self._synced.identities.of_session(checked_for(session_id, user_id), actor=user_id)

    async def create_claim_code(
        self, session_id: str, *, valid_for: float = VALID_FOR, user_id: str | None = None
    ) -> ClaimCode:
        """Give out a code, to be shown to a session's user alone: sent from another channel, it links that one.

        It is good once, for `valid_for` seconds. The user sends it as it is, or as `/link CODE`, and is answered there.
        Raises SessionNotFound, AccessDenied; SchemaViolation for a time that can't be.
        """
        state = await self._engine.existing(session_id, user_id, Right.OWN)
        with checking("a claim code can't be good for that long"):
            return await self._synced.claims.issue(state.session_id, valid_for=valid_for)

    async def suggest_links(self, *, user_id: str | None = None) -> list[Suggestion]:
        """Return pairs of sessions that may be one person's, by what their metadata says of how to reach their users.

        The keys are verified_email, verified_phone and handle. Nothing is linked until `confirm_link`. With `user_id`
        those pairs alone that they own.
        """
        return await self._synced.suggestions.listed(actor=user_id)

    async def confirm_link(self, suggestion_id: str, *, user_id: str | None = None) -> Identity:
        """Link two sessions that were suggested.

        Raises SuggestionNotFound, or AccessDenied unless `user_id` owns both; and as `link_identities` does.
        """
        return await self._synced.suggestions.confirm(suggestion_id, actor=user_id)

    async def dismiss_link(self, suggestion_id: str, *, user_id: str | None = None) -> None:
        """Say that two sessions are not one person's: they are not suggested again.

        Raises SuggestionNotFound, or AccessDenied unless `user_id` owns both.
        """
        await self._synced.suggestions.dismiss(suggestion_id, actor=user_id)

    async def list_conflicts(
        self,
        identity_key: str | None = None,
        *,
        limit: int = 50,
        cursor: str | None = None,
        user_id: str | None = None,
    ) -> Page[tuple[SessionId, tuple[Conflict, ...]]]:
        """Return the sessions that have open conflicts, all or an identity's, each with its conflicts.

        With `user_id` those alone that they own. Raises ValueError for a limit outside 1..1000 or a cursor that was not
        given out here.
        """
        page = await self._synced.conflicts.sessions(identity_key, owner=user_id, limit=limit, cursor=cursor)
        return Page([(session.session_id, session.conflicts) for session in page.items], page.cursor)

    async def resolve_session_conflicts(
        self,
        session_ids: Sequence[str],
        strategy: ConflictStrategy | str | None = None,
        *,
        take_offered: bool | None = None,
        fields: Sequence[str] = (),
        priority: Sequence[Platform | str] = (),
        user_id: str | None = None,
    ) -> list[Conflict]:
        """Resolve the open conflicts of sessions: by a strategy, or by taking the offered or the held values.

        `fields` are JSON pointers such as `/data/city`; without them all conflicts are meant. What is chosen goes to
        the linked sessions. Returns the conflicts that are over. Raises SessionNotFound, SessionNotCurrent,
        AccessDenied; SchemaViolation for what is no way to resolve.
        """
        with checking("conflicts can't be resolved like that"):
            resolution = Resolution.model_validate(
                {"strategy": strategy, "take_offered": take_offered, "priority": tuple(priority)}
            )
            named = [checked_for(session, user_id) for session in session_ids]
            return await self._synced.conflicts.resolve(named, resolution, fields, actor=user_id)

    async def get_sync_history(
        self,
        session_id: str | None = None,
        *,
        identity_key: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        user_id: str | None = None,
    ) -> Page[SyncNote]:
        """Return who linked, unlinked and changed what, and from where, the latest first.

        Of one session's conversation, or of all that are, or ever were, linked to an identity. A page may be short and
        still have a cursor. Raises SessionNotFound, or AccessDenied unless `user_id` owns the session, or all that are
        linked, and then of those alone; ValueError for both or neither, a wrong limit or cursor.
        """
        if (session_id is None) == (identity_key is None):
            raise ValueError("give a session, or an identity")
        identities = self._synced.identities
        if session_id is not None:
            named = await self._engine.existing(session_id, user_id, Right.OWN)
            conversations = [(await identities.latest(named.session_id, user_id, Right.OWN)).conversation_id]
        else:
            conversations = await identities.conversations(identity_key or "", actor=user_id)
        page = await sync_history(self._store, conversations, limit=limit, cursor=cursor)
        return Page(list(page.items), page.cursor)

    async def get_sync_policy(self, identity_key: str | None = None, *, user_id: str | None = None) -> SyncPolicy:
        """Return the policy that an identity's sessions are synced by; without one, that of all others.

        Raises AccessDenied unless `user_id` may read all that is linked to the identity.
        """
        await self._synced.identities.check(identity_key or DEFAULT, user_id, Right.READ)
        return await self._synced.policies.of(identity_key or DEFAULT)

    async def set_sync_policy(
        self, policy: SyncPolicy | None, identity_key: str | None = None, *, user_id: str | None = None
    ) -> None:
        """Set the policy of an identity, or without one of all that have none; None takes it away again.

        Raises AccessDenied unless `user_id` owns all that is linked to the identity.
        """
        key = identity_key or DEFAULT
        await self._synced.identities.check(key, user_id, Right.OWN)
        if policy is None:
            await self._synced.policies.forget(key)
        else:
            await self._synced.policies.keep(key, policy)

    @property
    def _synced(self) -> SyncServices:
        if self._sync_services is None:
            raise FeatureNotEnabled("sync is not running: start the system with enable_sync=True")
        return self._sync_services
