"""Which sessions are one person's: looked up, linked, unlinked; suggested links confirmed or dismissed."""

from shlex import quote
from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import SessionNotFound
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.shown import link, path
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.identity import (
    confirm_suggestion,
    dismiss_suggestion,
    get_identity,
    link_sessions,
    list_suggestions,
    unlink_session,
)

_PATH: Final = "/identities"


async def listing(visit: Visit) -> Response:
    """Show the suggestions, and the person that is asked for."""
    key = visit.asked("key")
    person, nobody = None, ""
    if key:
        try:
            person = await get_identity(visit.app, key)
        except SessionNotFound as error:
            nobody = str(error)
    same = Same("GET /v1/suggestions", "agentbus identity suggestions")
    if key:
        same = Same(f"GET /v1{path('identities', key)}", f"agentbus identity show {quote(key)}")
    return visit.page(
        "identities.html",
        title="People",
        same=same,
        key=key,
        person=person,
        nobody=nobody,
        suggestions=await list_suggestions(visit.app),
    )


async def connect(visit: Visit) -> Response:
    """Say that sessions are one person's."""
    key, sessions = visit.form.get("key").strip(), visit.form.get("sessions").split()
    made = await link_sessions(visit.app, key, sessions, visit.form.get("name").strip() or None)
    return visit.to(link(_PATH, {"key": key}), f"{len(made.session_ids)} sessions belong to {key}.")


async def disconnect(visit: Visit) -> Response:
    """Undo a link."""
    session = visit.form.get("session")
    key = await unlink_session(visit.app, session)
    return visit.to(link(_PATH, {"key": key or ""}), f"{session} is linked to nobody. What was shared stays.")


async def confirm(visit: Visit) -> Response:
    """Link two sessions as it was suggested."""
    made = await confirm_suggestion(visit.app, visit.form.get("suggestion"))
    return visit.to(link(_PATH, {"key": made.identity_key}), f"{len(made.session_ids)} sessions belong to one person.")


async def dismiss(visit: Visit) -> Response:
    """Say that two sessions are not one person's."""
    await dismiss_suggestion(visit.app, visit.form.get("suggestion"))
    return visit.to(_PATH, "They do not belong to one person, and are suggested no more.")


PAGES: Final = (
    Page("GET", _PATH, listing, place=Place(_PATH, "People", "Keep")),
    action("/identities/link", connect),
    action("/identities/unlink", disconnect),
    action("/identities/confirm", confirm),
    action("/identities/dismiss", dismiss),
)
