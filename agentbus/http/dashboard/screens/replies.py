"""Replies: those of which nobody knows whether they were sent, for somebody to decide; and those still to be sent."""

from typing import Final

from starlette.responses import Response

from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.replies import MAX_REASON_LENGTH, ReplyResolution
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.replies import list_unknown, list_waiting, resolve_reply

SAME: Final = Same("GET /v1/replies", "agentbus replies list")

_WORDS: Final = {
    ReplyResolution.SENT: "counts as sent",
    ReplyResolution.RESEND: "is sent again",
    ReplyResolution.FAILED: "counts as failed",
}
_LIMIT: Final = 50


async def listing(visit: Visit) -> Response:
    """List them."""
    app, topology = visit.app, visit.app.bus.topology
    page = await list_unknown(app.store, topology, app.clock, limit=_LIMIT, cursor=visit.asked("after") or None)
    return visit.page(
        "replies.html",
        title="Replies unknown",
        same=SAME,
        unknown=page.items,
        waiting=await list_waiting(app.store, topology, app.clock, limit=_LIMIT),
        next_page=visit.next_page(page),
    )


async def resolve(visit: Visit) -> Response:
    """Carry out what somebody decided."""
    reply, reason = visit.form.get("reply"), visit.form.get("reason")[:MAX_REASON_LENGTH]
    try:
        resolution = ReplyResolution(visit.form.get("resolution"))
    except ValueError:
        raise SchemaViolation(f"one of {', '.join(ReplyResolution)}") from None
    await resolve_reply(visit.app, reply, resolution, reason=reason)
    return visit.to("/replies", f"Reply {reply} {_WORDS[resolution]}.")


PAGES: Final = (
    Page("GET", "/replies", listing, place=Place("/replies", "Replies unknown", "Decide")),
    action("/replies/resolve", resolve),
)
