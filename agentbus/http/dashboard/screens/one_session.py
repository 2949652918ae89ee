"""One session: its conversation, its events, what it holds, who may see it, its replies; as of any version."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.responses import Response

from agentbus.contracts.base import DEFERRED
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.messages import Role, as_line
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.session import SessionState
from agentbus.http.dashboard.door import Page, action
from agentbus.http.dashboard.shown import link, path, short
from agentbus.http.dashboard.visit import Same, Visit
from agentbus.operations.as_of import Told, events_before, messages_at, session_at
from agentbus.operations.sessions import get_session, session_history, unblock_session

VIEWS: Final = ("conversation", "events", "data", "access", "replies")

_ID: Final[TypeAdapter[SessionId]] = TypeAdapter(SessionIdField, config=DEFERRED)
_LIMIT: Final = 50
_OF_ALL_EVENTS: Final = frozenset(SessionEvent.model_fields) | {"kind"}
_LONGEST: Final = 2_000
_WHEN_WRITTEN: Final = frozenset({"stamp", "base", "bases"})


async def show(visit: Visit) -> Response:
    """Show one view of it."""
    latest = await get_session(visit.app.store, _named(visit))
    view = visit.asked("show") if visit.asked("show") in VIEWS else VIEWS[0]
    version = _version(visit.asked("version"), latest)
    session = latest if version == latest.version else await session_at(visit.app.store, latest.session_id, version)
    more = await _VIEWS[view](visit, session, past=version != latest.version)
    return visit.page(
        "session.html",
        title=f"Session {latest.session_id}",
        same=_same(view, latest.session_id),
        session=session,
        latest=latest,
        version=version,
        past=version != latest.version,
        view=view,
        views=VIEWS,
        where=path("sessions", latest.session_id),
        **(_NOTHING | more),
    )


async def unblock(visit: Visit) -> Response:
    """Let it go on without the parked input that it waits for."""
    session = _named(visit)
    await unblock_session(visit.app.bus, session, scope=visit.app.settings.session.scope, by=visit.app.by)
    return visit.to(path("sessions", session), f"Session {session} goes on without what it waited for.")


_NOTHING: Final[dict[str, Any]] = {"messages": (), "events": (), "next_page": None, "before": None, "parked": ()}


async def _conversation(visit: Visit, session: SessionState, *, past: bool) -> dict[str, Any]:
    if past:
        return {"messages": await messages_at(visit.app.store, session, limit=_LIMIT)}
    cursor = visit.asked("after") or None
    page = await session_history(visit.app.store, session.session_id, limit=_LIMIT, cursor=cursor)
    parked: Sequence[ParkedInput] = ()
    if cursor is None:
        found = await visit.app.store.parked.page(conversation=session.conversation_id, limit=10)
        parked = [one for one in found.items if one.status == "parked"]
    return {"messages": page.items, "next_page": visit.next_page(page), "parked": parked}


async def _events(visit: Visit, session: SessionState, *, past: bool) -> dict[str, Any]:
    del past
    before = visit.asked("before")
    at = min(int(before) - 1, session.version) if before.isdecimal() and len(before) < 15 else session.version
    told = await events_before(visit.app.store, session, at, limit=_LIMIT)
    lowest = told[-1].version if told else 0
    asked = dict(visit.request.query_params.multi_items()) | {"before": lowest}
    return {
        "events": [_told(one) for one in told],
        "before": link(visit.request.url.path, asked) if lowest > session.first_version else None,
    }


async def _nothing_more(visit: Visit, session: SessionState, *, past: bool) -> dict[str, Any]:
    del visit, session, past
    return {}


_VIEWS: Final = {
    "conversation": _conversation,
    "events": _events,
    "data": _nothing_more,
    "access": _nothing_more,
    "replies": _nothing_more,
}


def _told(told: Told) -> dict[str, Any]:
    event = told.event
    return {
        "version": told.version,
        "sequence": event.sequence,
        "kind": event.kind.replace("_", " "),
        "at": event.at,
        "actor": event.actor or (str(event.by) if event.by else None),
        "topic": event.routing_key,
        "changes": _changes(event),
    }


def _changes(event: AnyEvent) -> list[tuple[str, str]]:
    """Return what an event tells besides what all of them tell, field by field."""
    if isinstance(event, MessageAppended):
        message = event.message
        typed = message.address.user if message.address and message.role is Role.USER else ""
        who = message.author or typed
        said = as_line(message.content) or ", ".join(one.kind for one in getattr(message.content, "attachments", ()))
        return [(f"{message.role}{f' {who}' if who else ''}", short(said, 300))]
    fields = event.model_dump(mode="json", exclude=set(_OF_ALL_EVENTS), exclude_defaults=True)
    found: list[tuple[str, str]] = []
    for name, value in fields.items():
        if name in _WHEN_WRITTEN or (name == "profile" and "act" in fields):
            continue  # when each field was written is our own affair; what was done says more than all there is
        if name == "values" and isinstance(value, dict):
            found += [(key, _line(one)) for key, one in value.items()]
        else:
            found.append((name.replace("_", " "), _line(value)))
    return found


def _line(value: Any) -> str:
    if isinstance(value, dict):
        told = [(name, one) for name, one in value.items() if name not in _WHEN_WRITTEN and one is not None]
        return short(", ".join(f"{name}: {_line(one)}" for name, one in told[:20]), _LONGEST)
    if isinstance(value, list):
        return short(", ".join(_line(one) for one in value[:50]), _LONGEST)
    return short(value, _LONGEST)


def _named(visit: Visit) -> SessionId:
    named = visit.named("session")
    try:
        return _ID.validate_python(named)
    except ValidationError:
        raise SessionNotFound("This is no session's id.") from None


def _version(asked: str, latest: SessionState) -> int:
    """Return the version that is asked for; the last one for what is none."""
    if not asked.isdecimal() or len(asked) > 15:
        return latest.version
    return max(latest.first_version, min(int(asked), latest.version))


def _same(view: str, session: SessionId) -> Same:
    if view == "conversation":
        return Same(f"GET /v1/sessions/{session}/messages", f"agentbus sessions history {session}")
    if view == "events":
        return Same(f"GET /v1/sessions/{session}/events", f"agentbus sessions show {session} --json")
    return Same(f"GET /v1/sessions/{session}", f"agentbus sessions show {session} --json")


PAGES: Final = (
    Page("GET", "/sessions/{session}", show),
    action("/sessions/{session}/unblock", unblock),
)
