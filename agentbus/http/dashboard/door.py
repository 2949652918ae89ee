"""What a page is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from agentbus.http.dashboard.visit import Place, Visit
from agentbus.operations.api_keys import Role


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or something that is done by a form: who may come, and what answers."""

    method: str
    path: str
    answer: Callable[[Visit], Awaitable[Response]]
    role: Role | None = Role.READ
    """What the key of whoever comes has to be for; None: everybody may come."""
    place: Place | None = None
    """Where it stands in the menu."""


def action(path: str, answer: Callable[[Visit], Awaitable[Response]], role: Role = Role.OPERATE) -> Page:
    """Return something that is done by a form."""
    return Page("POST", path, answer, role)
