"""The settings of the process that serves this page: what each is, and where that comes from. Secrets are not shown."""

import os
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from agentbus.contracts.urls import masked, masked_in
from agentbus.http.dashboard.door import Page
from agentbus.http.dashboard.visit import Place, Same, Visit
from agentbus.operations.api_keys import Role
from agentbus.variables import ENV_FILE, FILE_SUFFIX, variable_of

SAME: Final = Same("", "agentbus doctor")

_ADDRESSES: Final = ("_url", "_key_store")
"""How the names of those end that are secret in part: of these the place is shown."""


async def show(visit: Visit) -> Response:
    """Show them, concern by concern."""
    settings = visit.app.settings
    concerns = [
        (type(concern).__doc__ or "", list(_rows(concern)))
        for name in type(settings).model_fields
        if isinstance(concern := getattr(settings, name), BaseModel)
    ]
    return visit.page("settings.html", title="Settings", same=SAME, concerns=concerns)


def _rows(concern: BaseModel) -> Iterator[dict[str, Any]]:
    for name, field in type(concern).model_fields.items():
        value = getattr(concern, name)
        secret = not field.repr and not name.endswith(_ADDRESSES)
        yield {
            "variable": variable_of(name),
            "value": ("set" if value else "not set") if secret else _as_text(name, value),
            "secret": secret,
            "origin": _origin(name) if name in concern.model_fields_set else "",
            "does": field.description or "",
        }


def _as_text(name: str, value: Any) -> str:
    """Return a value as a variable has it; of an address neither credentials nor options, which may be secret."""
    if value is None:
        return ""
    if name.endswith(_ADDRESSES):
        return masked(str(value))
    text = ",".join(map(str, value)) if isinstance(value, tuple | list | set | frozenset) else str(value)
    return masked_in(text)


def _origin(name: str) -> str:
    variable = variable_of(name)
    if variable in os.environ:
        return "environment"
    if variable + FILE_SUFFIX in os.environ:
        return "file"
    return f"command line, or {ENV_FILE}"


PAGES: Final = (Page("GET", "/settings", show, Role.ADMIN, Place("/settings", "Settings", "Run")),)
