"""Templates: what new sessions begin with."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path
from pydantic import Field, JsonValue
from starlette.responses import Response

from agentbus.contracts.base import Id, JsonObject, Many, Name, Text, Timestamp
from agentbus.http.calls import By, Calls, Fence, Given, IdempotencyKey, With, answered
from agentbus.http.routes.sessions import SessionPath, etag_of
from agentbus.http.shown import SessionShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.sessions.sections.templates import Template, TemplateNotFound

calls = Calls("templates")

TemplatePath = Annotated[Id, Path(description="The template's name.")]


class TemplateShown(Shown):
    """A named beginning of sessions."""

    name: str
    system_prompt: str | None = Field(description="Goes to a session's metadata.")
    context: dict[str, JsonValue] = Field(description="Goes to its data.")
    capabilities: Many[str] = Field(description="Go to its metadata.")
    created_at: Timestamp | None

    @classmethod
    def of(cls, template: Template) -> "TemplateShown":
        """Return a template as it is shown."""
        shown: Mapping[str, Any] = {name: getattr(template, name) for name in cls.model_fields}
        return cls(**shown)


class Templates(Shown):
    """All templates, the latest first."""

    items: Many[TemplateShown]


class TemplateGiven(Given):
    """What sessions begin with; the address says its name."""

    system_prompt: Text | None = None
    context: JsonObject = Field(default_factory=dict)
    capabilities: Annotated[Many[Name], Field(max_length=1000)] = ()


class Applied(Given):
    """Which template is applied."""

    template: Id


@calls.call("GET", "/templates", Role.READ, answers=Templates)
async def list_templates(parts: With) -> Response:
    """List all templates, the latest first."""
    return answered(Templates(items=tuple(map(TemplateShown.of, await parts.sessions.list_templates()))))


@calls.call("GET", "/templates/{name}", Role.READ, answers=TemplateShown)
async def get_template(name: TemplatePath, parts: With) -> Response:
    """Return a template."""
    if template := await parts.sessions.get_template(name):
        return answered(TemplateShown.of(template))
    raise TemplateNotFound(f"there is no template {name!r}")


@calls.call("PUT", "/templates/{name}", Role.OPERATE, answers=TemplateShown)
async def put_template(name: TemplatePath, body: TemplateGiven, parts: With) -> Response:
    """Save a template, in place of the one of the same name if there is one."""
    return answered(TemplateShown.of(await parts.sessions.save_template(name, **dict(body))))


@calls.call("DELETE", "/templates/{name}", Role.OPERATE, answers=None, status=204)
async def delete_template(name: TemplatePath, parts: With) -> Response:
    """Delete a template; sessions that were made from it stay as they are."""
    if not await parts.sessions.delete_template(name):
        raise TemplateNotFound(f"there is no template {name!r}")
    return Response(status_code=HTTPStatus.NO_CONTENT)


@calls.call("POST", "/sessions/{session_id}/template", Role.OPERATE, answers=SessionShown, for_users=True)
async def apply_template(
    session_id: SessionPath,
    body: Applied,
    *,
    parts: With,
    by: By,
    fence: Fence = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Set a session's data and metadata to what a template says; keys that it does not name stay."""
    await parts.sessions.apply_template(
        session_id, body.template, user_id=by.user, fence=fence, request_id=idempotency_key
    )
    state = await parts.engine.existing(session_id)
    return answered(SessionShown.of(state), ETag=etag_of(state))
