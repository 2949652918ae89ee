"""Open conflicts of linked sessions: two values of a field, of which somebody chooses one."""

from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.sync import Resolution
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.sync import list_conflicts, resolve_conflicts

SAME: Final = Same("GET /v1/conflicts", "agentbus sync conflicts")

_TAKE: Final = {"held": False, "offered": True}
_LIMIT: Final = 50


async def listing(visit: Visit) -> Response:
    """List sessions with their open conflicts."""
    page = await list_conflicts(visit.app, limit=_LIMIT, cursor=visit.asked("after") or None)
    return visit.page(
        "conflicts.html", title="Conflicts", same=SAME, sessions=page.items, next_page=visit.next_page(page)
    )


async def resolve(visit: Visit) -> Response:
    """Take one of the two values."""
    session, field, take = (visit.form.get(name) for name in ("session", "field", "take"))
    if take not in _TAKE:
        raise SchemaViolation(f"one of {', '.join(_TAKE)}")
    over = await resolve_conflicts(visit.app, [session], Resolution(take_offered=_TAKE[take]), [field])
    value = "what was offered" if _TAKE[take] else "what it has"
    said = f"{field} of {session} is {value}." if over else f"Nobody disagrees about {field} of {session} any more."
    return visit.to("/conflicts", said)


PAGES: Final = (
    Page("GET", "/conflicts", listing, place=Place("/conflicts", "Conflicts", "Decide")),
    action("/conflicts/resolve", resolve),
)
