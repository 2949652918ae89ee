"""A visit to a page: who comes, what they ask for, and how they are answered."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from agentbus.composition.app import App
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.history import Page
from agentbus.http.dashboard import shown
from agentbus.http.dashboard.glances import Glances
from agentbus.http.dashboard.pulse import Pulse
from agentbus.operations.api_keys import ApiKey, Role
from agentbus.operations.jobs import Jobs
from agentbus.workers.adapters.pace import Pace

HERE: Final = Path(__file__).parent

SAID: Final = "agentbus_said"
"""The cookie of what was done: shown once on the page that follows."""

THEME: Final = "agentbus_theme"
"""The cookie of how it is to look; without it as the system does."""

MOST_BYTES: Final = 2 * 1024 * 1024
"""Bytes of a form. What is mended in one is laid out, and each of its bytes becomes three at most."""

_MOST_FIELDS: Final = 1100
_SAID_SECONDS: Final = 60
_LONGEST_SAID: Final = 1000


class Same(NamedTuple):
    """What gives the same as a page, for a program and in a terminal."""

    call: str
    """Method and path; empty where there is none."""
    command: str


class Place(NamedTuple):
    """An entry of the menu."""

    path: str
    name: str
    group: str


class Form:
    """What a form brought."""

    def __init__(self, body: bytes = b"") -> None:
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
            )
        except ValueError:
            raise SchemaViolation("the form can't be read") from None
        self._fields: dict[str, list[str]] = {}
        for name, value in pairs:
            self._fields.setdefault(name, []).append(value)

    def get(self, name: str) -> str:
        """Return a field's value; empty for one that is not there."""
        return self._fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return self._fields.get(name, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody at a page."""

    request: Request
    app: App
    pulse: Pulse
    ending: asyncio.Event
    """Set once the server is about to end."""
    strangers: Pace
    """Of the keys that are tried out."""
    glances: Glances
    jobs: Jobs
    menu: Sequence[tuple[str, Sequence[Place]]] = ()
    """By group. Empty for who may not look."""
    key: ApiKey | None = None
    """Whose it is; None: somebody who has not signed in."""
    csrf: str = ""
    form: Form = field(default_factory=Form)

    def may(self, role: Role) -> bool:
        """Whether they have a role."""
        return self.key is not None and role in self.key.roles

    def named(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def asked(self, name: str) -> str:
        """Return what the query says; empty for nothing."""
        return self.request.query_params.get(name, "").strip()

    def page(
        self, template: str, *, title: str, same: Same | None = None, status: int = 200, **context: Any
    ) -> Response:
        """Return a page."""
        said = _read_said(self.request.cookies.get(SAID))
        content = (
            environment()
            .get_template(template)
            .render(
                visit=self,
                title=title,
                same=same,
                said=said,
                now=self.app.clock.now(),
                theme=self.request.cookies.get(THEME, ""),
                here=self.request.url.path,
                **context,
            )
        )
        answer = HTMLResponse(content, status)
        if said:
            answer.delete_cookie(SAID, httponly=True, samesite="strict")
        return answer

    def to(self, where: str, said: str = "", *, failed: bool = False) -> Response:
        """Return the answer that leads to a page of ours, which says what was done."""
        answer = RedirectResponse(where, 303)
        if said:
            packed = json.dumps({"said": said[:_LONGEST_SAID], "failed": failed}).encode()
            value = base64.urlsafe_b64encode(packed).decode().rstrip("=")
            answer.set_cookie(SAID, value, max_age=_SAID_SECONDS, httponly=True, samesite="strict")
        return answer

    def next_page(self, page: Page[Any]) -> str | None:
        """Return the way to the page after one, with all that was asked for."""
        if page.cursor is None:
            return None
        asked = dict(self.request.query_params.multi_items()) | {"after": page.cursor}
        return shown.link(self.request.url.path, asked)


@cache
def environment() -> Environment:
    """Return what renders pages: all that is put into one is escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown.finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "short": shown.short,
        "exact": shown.exact,
        "ticked": shown.ticked,
        "moment": shown.moment,
        "lasting": shown.lasting,
        "size": shown.size,
        "figures": shown.figures,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str),
    }
    made.globals |= {"ago": shown.ago, "path": shown.path, "link": shown.link, "Role": Role}
    return made


def _read_said(cookie: str | None) -> Mapping[str, Any] | None:
    if not cookie or len(cookie) > 8 * _LONGEST_SAID:
        return None
    try:
        found = json_in(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
        return {"said": str(found["said"]), "failed": bool(found["failed"])}
    except (ValueError, TypeError, KeyError):
        return None
