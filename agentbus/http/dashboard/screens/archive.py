"""The archive: sessions that left the store, and bringing them back."""

from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import SessionNotFound
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.shown import path
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.api_keys import Role
from agentbus.operations.archive import list_archived, restore_archived
from agentbus.sessions.model.validation import checked_id

SAME: Final = Same("GET /v1/archive", "agentbus archive list")

_LIMIT: Final = 50


async def listing(visit: Visit) -> Response:
    """List what is in it."""
    page = await list_archived(visit.app.store, limit=_LIMIT, cursor=visit.asked("after") or None)
    return visit.page(
        "archive.html",
        title="Archive",
        same=SAME,
        archived=page.items,
        next_page=visit.next_page(page),
        place=bool(visit.app.settings.archive.archive_url),
    )


async def restore(visit: Visit) -> Response:
    """Bring a session back."""
    session = checked_id(visit.form.get("session"))
    head = await restore_archived(visit.app, session)
    if head.session_id != session:
        raise SessionNotFound(f"session {session} did not come back")
    return visit.to(path("sessions", session), f"Session {session} is back, with its history; it is {head.status}.")


PAGES: Final = (
    Page("GET", "/archive", listing, place=Place("/archive", "Archive", "Keep")),
    action("/archive/restore", restore, Role.ADMIN),
)
