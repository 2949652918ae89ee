"""All sessions: found by what they are, listed page by page."""

import re
from shlex import quote
from typing import Any, Final

from pydantic import ValidationError
from starlette.responses import Response

from agentbus.contracts.address import Platform
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.history import SessionFilter, SessionSummary
from agentbus.contracts.session import SessionStatus
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.shown import link, path
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.sessions import list_sessions

_FIELDS: Final = ("platform", "status", "user", "owner", "chat", "agent", "tag", "identity")
_WORDS: Final = {"agent": "agent_id"}
_SESSION: Final = re.compile(r"[a-z2-7]{26}\.[1-9][0-9]{0,8}")
_CONVERSATION: Final = re.compile(r"[a-z2-7]{26}")
_LOOKED_IN: Final = ("user", "owner", "chat", "identity", "agent", "tag")
"""Where a word that is looked for may stand."""

_LIMIT: Final = 50
_FEW: Final = 20


async def listing(visit: Visit) -> Response:
    """List sessions, the latest activity first."""
    if looked_for := visit.asked("q"):
        return await _found(visit, looked_for)
    asked = {name: visit.asked(name) for name in _FIELDS if visit.asked(name)}
    conflicts = visit.asked("conflicts")
    where = _filter(asked | ({"conflicts": conflicts == "yes"} if conflicts else {}))
    page = await list_sessions(visit.app.store, where, limit=_LIMIT, cursor=visit.asked("after") or None)
    shown = asked | ({"conflicts": conflicts} if conflicts else {})
    return visit.page(
        "sessions.html",
        title="Sessions",
        same=_same(asked),
        sessions=page.items,
        asked=dict.fromkeys((*_FIELDS, "conflicts"), "") | shown,
        chips=[(name, value, link("/sessions", {**shown, name: ""})) for name, value in shown.items()],
        next_page=visit.next_page(page),
        first=not visit.asked("after"),
        platforms=[one.value for one in Platform],
        statuses=list(SessionStatus),
        looked_for="",
    )


async def _found(visit: Visit, looked_for: str) -> Response:
    """List those that have a word somewhere; lead to the one that has it as its id."""
    if _SESSION.fullmatch(looked_for):
        return visit.to(path("sessions", looked_for))
    found: dict[str, tuple[SessionSummary, str]] = {}
    fields = ("conversation_id",) if _CONVERSATION.fullmatch(looked_for) else _LOOKED_IN
    for name in fields:
        where = _filter({name: looked_for})
        page = await list_sessions(visit.app.store, where, limit=_FEW)
        for one in page.items:
            found.setdefault(one.session_id, (one, name.replace("_id", "")))
    return visit.page(
        "found.html", title=f"Sessions with {looked_for[:60]}", same=_same({"user": looked_for}), found=found.values(),
        looked_for=looked_for, few=_FEW,
    )  # fmt: skip


def _filter(asked: dict[str, Any]) -> SessionFilter:
    """Return what was asked for. Raises SchemaViolation."""
    fields = {_WORDS.get(name, name): value for name, value in asked.items()}
    if tag := fields.pop("tag", None):
        fields["tags"] = (tag,)
    try:
        return SessionFilter.model_validate(fields)
    except ValidationError as error:
        raise SchemaViolation("; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors())) from None


def _same(asked: dict[str, str]) -> Same:
    given = "".join(f" --{name} {quote(value)}" for name, value in asked.items() if name != "identity")
    return Same(f"GET {link('/v1/sessions', asked)}", f"agentbus sessions list{given}")


PAGES: Final = (Page("GET", "/sessions", listing, place=Place("/sessions", "Sessions", "")),)
