"""Sync: the sessions of one person on several channels, linked, and kept alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentbus.contracts.ids import SessionId
from agentbus.contracts.sync import Conflict, ConflictStrategy, Identity, Resolution, SyncPolicy
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.results import Page
from agentbus.sessions.model.types import Platform
from agentbus.sessions.model.validation import checked_for, checking
from agentbus.workers.domain.access import Right
from agentbus.workers.sync.demand import SyncReport
from agentbus.workers.sync.people.claims import ClaimCode
from agentbus.workers.sync.people.suggestions import Suggestion
from agentbus.workers.sync.people.trail import SyncNote, sync_history
from agentbus.workers.sync.policies import DEFAULT

if TYPE_CHECKING:
    from agentbus.workers.sync.services import SyncServices


class Sync:
    """Identities, claim codes, policies, conflicts."""

    def __init__(self, engine: Engine, services: "SyncServices") -> None:
        self._engine = engine
        self._services = services

    async def sync(self, session_id: str, user_id: str | None) -> SyncReport:
        return await self._services.on_demand.sync(checked_for(session_id, user_id), actor=user_id)

    async def link(
        self, identity_key: str, session_ids: Sequence[str], display_name: str | None, user_id: str | None
    ) -> Identity:
        with checking("there can't be such an identity"):
            Identity(identity_key=identity_key, display_name=display_name)
        named = [checked_for(session, user_id) for session in session_ids]
        return await self._services.identities.link(identity_key, named, display_name, actor=user_id)

    async def unlink(self, session_id: str, user_id: str | None) -> str | None:
        return await self._services.identities.unlink(checked_for(session_id, user_id), actor=user_id)

    async def identity(self, identity_key: str, user_id: str | None) -> Identity | None:
        found = await self._services.identities.get(identity_key, actor=user_id)
        return found if found.session_ids or found.display_name else None

    async def identity_of(self, session_id: str, user_id: str | None) -> Identity | None:
        return await self._services.identities.of_session(checked_for(session_id, user_id), actor=user_id)

    async def claim_code(self, session_id: str, valid_for: float, user_id: str | None) -> ClaimCode:
        state = await self._engine.existing(session_id, user_id, Right.OWN)
        with checking("a claim code can't be good for that long"):
            return await self._services.claims.issue(state.session_id, valid_for=valid_for)

    async def suggestions(self, user_id: str | None) -> list[Suggestion]:
        return await self._services.suggestions.listed(actor=user_id)

    async def confirm(self, suggestion_id: str, user_id: str | None) -> Identity:
        return await self._services.suggestions.confirm(suggestion_id, actor=user_id)

    async def dismiss(self, suggestion_id: str, user_id: str | None) -> None:
        await self._services.suggestions.dismiss(suggestion_id, actor=user_id)

    async def conflicts(
        self, identity_key: str | None, user_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[tuple[SessionId, tuple[Conflict, ...]]]:
        page = await self._services.conflicts.sessions(identity_key, owner=user_id, limit=limit, cursor=cursor)
        return Page([(session.session_id, session.conflicts) for session in page.items], page.cursor)

    async def resolve(
        self,
        session_ids: Sequence[str],
        strategy: ConflictStrategy | str | None,
        *,
        take_offered: bool | None,
        fields: Sequence[str],
        priority: Sequence[Platform | str],
        user_id: str | None,
    ) -> list[Conflict]:
        with checking("conflicts can't be resolved like that"):
            resolution = Resolution.model_validate(
                {"strategy": strategy, "take_offered": take_offered, "priority": tuple(priority)}
            )
            named = [checked_for(session, user_id) for session in session_ids]
            return await self._services.conflicts.resolve(named, resolution, fields, actor=user_id)

    async def history(
        self, session_id: str | None, identity_key: str | None, user_id: str | None, *, limit: int, cursor: str | None
    ) -> Page[SyncNote]:
        if (session_id is None) == (identity_key is None):
            raise ValueError("give a session, or an identity")
        identities = self._services.identities
        if session_id is not None:
            named = await self._engine.existing(session_id, user_id, Right.OWN)
            conversations = [(await identities.latest(named.session_id, user_id, Right.OWN)).conversation_id]
        else:
            conversations = await identities.conversations(identity_key or "", actor=user_id)
        page = await sync_history(self._engine.store, conversations, limit=limit, cursor=cursor)
        return Page(list(page.items), page.cursor)

    async def policy(self, identity_key: str | None, user_id: str | None) -> SyncPolicy:
        await self._services.identities.check(identity_key or DEFAULT, user_id, Right.READ)
        return await self._services.policies.of(identity_key or DEFAULT)

    async def set_policy(self, policy: SyncPolicy | None, identity_key: str | None, user_id: str | None) -> None:
        key = identity_key or DEFAULT
        await self._services.identities.check(key, user_id, Right.OWN)
        if policy is None:
            await self._services.policies.forget(key)
        else:
            await self._services.policies.keep(key, policy)
