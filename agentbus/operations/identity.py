"""Which sessions are one person's: linked by hand, by a code that the person sends, or as was suggested."""

from collections.abc import Sequence

from pydantic import ValidationError

from agentbus.composition.app import App
from agentbus.composition.workers import make_sync
from agentbus.contracts.errors import SchemaViolation, SessionNotFound
from agentbus.contracts.sync import Identity
from agentbus.sessions.model.validation import checked_id
from agentbus.workers.sync.people.claims import VALID_FOR, ClaimCode
from agentbus.workers.sync.people.suggestions import Suggestion

__all__ = [
    "ClaimCode", "Suggestion", "confirm_suggestion", "dismiss_suggestion", "get_identity", "identity_of", "issue_code",
    "link_sessions", "list_suggestions", "unlink_session",
]  # fmt: skip


async def link_sessions(
    app: App, identity_key: str, session_ids: Sequence[str], display_name: str | None = None
) -> Identity:
    """Say that sessions, and those linked to the same key already, are one person's. Idempotent.

    Raises SchemaViolation for a key or name that can't be, IdentityConflict if one of them is linked to another
    identity, SessionNotFound, ReplyTimeout, BusError, StoreError.
    """
    try:
        Identity(identity_key=identity_key, display_name=display_name)
    except ValidationError as error:
        raise SchemaViolation("; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())) from None
    named = [checked_id(one) for one in session_ids]
    return await make_sync(app).identities.link(identity_key, named, display_name)


async def unlink_session(app: App, session_id: str) -> str | None:
    """Undo a session's link; return the identity's key, or None if it had none. What was shared stays.

    Raises SessionNotFound, ReplyTimeout, BusError, StoreError.
    """
    return await make_sync(app).identities.unlink(checked_id(session_id))


async def get_identity(app: App, identity_key: str) -> Identity:
    """Return an identity and its sessions. Raises SessionNotFound if none is linked to it, StoreError."""
    found = await make_sync(app).identities.get(identity_key)
    if not (found.session_ids or found.display_name):
        raise SessionNotFound(f"no session is linked to {identity_key}")
    return found


async def identity_of(app: App, session_id: str) -> Identity:
    """Return the identity that a session is linked to. Raises SessionNotFound if there is none, StoreError."""
    found = await make_sync(app).identities.of_session(checked_id(session_id))
    if found is None or not (found.session_ids or found.display_name):
        raise SessionNotFound(f"session {session_id} is linked to nobody")
    return found


async def issue_code(app: App, session_id: str, *, valid_for: float = VALID_FOR) -> ClaimCode:
    """Give out a claim code: whoever sends it from another channel within `valid_for` seconds links that one.

    Raises SessionNotFound for a session that is not live, ValueError for a time that can't be, StoreError.
    """
    return await make_sync(app).claims.issue(checked_id(session_id), valid_for=valid_for)


async def list_suggestions(app: App) -> Sequence[Suggestion]:
    """Return pairs of sessions that may be one person's. Raises StoreError."""
    return await make_sync(app).suggestions.listed()


async def confirm_suggestion(app: App, suggestion_id: str) -> Identity:
    """Link two sessions that were suggested. Raises SuggestionNotFound, and as `link_sessions` does."""
    return await make_sync(app).suggestions.confirm(suggestion_id)


async def dismiss_suggestion(app: App, suggestion_id: str) -> None:
    """Say that two sessions are not one person's, and suggest them no more. Raises SuggestionNotFound, StoreError."""
    await make_sync(app).suggestions.dismiss(suggestion_id)
