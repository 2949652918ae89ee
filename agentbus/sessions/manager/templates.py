"""Templates: what new sessions begin with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from agentbus.sessions.manager.base import ManagerBase
from agentbus.sessions.manager.engine import is_id
from agentbus.sessions.model.checking import checking
from contracts.changes import FieldChanges
from contracts.commands import UpdateSession
from contracts.errors import Refused
from contracts.profile import ProfileChanges
from contracts.records import Record, RecordKind
from storage.reading import iter_records
from workers.domain.access import Right

_GROUP = "templates"


class TemplateNotFound(Refused):
    """There is no such template."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A named beginning: the system prompt and capabilities go to a session's metadata, the context to its data."""

    name: str
    system_prompt: str | None = None
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    created_at: datetime | None = None

    @property
    def metadata(self) -> dict[str, JsonValue]:
        """What the template sets in a session's metadata."""
        prompt: dict[str, JsonValue] = {"system_prompt": self.system_prompt} if self.system_prompt else {}
        return prompt | ({"capabilities": list(self.capabilities)} if self.capabilities else {})


class Templates(ManagerBase):
    """The section of templates."""

    async def save_template(
        self,
        name: str,
        *,
        system_prompt: str | None = None,
        context: Mapping[str, JsonValue] | None = None,
        capabilities: tuple[str, ...] | list[str] = (),
    ) -> Template:
        """Save a template under `name`, in place of the one there was. Raises SchemaViolation."""
        data: dict[str, Any] = {
            "system_prompt": system_prompt,
            "context": dict(context or {}),
            "capabilities": list(capabilities),
        }
        with checking("the template can't be kept"):
            record = Record(kind=RecordKind.TEMPLATE, key=name, group=_GROUP, created_at=self._clock.now(), data=data)
        await self._store.records.put(record)
        return _template(record)

    async def get_template(self, name: str) -> Template | None:
        """Return a template, or None."""
        record = await self._store.records.get(RecordKind.TEMPLATE, name) if is_id(name) else None
        return None if record is None else _template(record)

    async def list_templates(self) -> list[Template]:
        """Return all templates, the latest first."""
        return [_template(record) async for record in iter_records(self._store, RecordKind.TEMPLATE, _GROUP)]

    async def delete_template(self, name: str) -> bool:
        """Delete a template; return whether there was one. Sessions made from it stay as they are."""
        return is_id(name) and await self._store.records.delete(RecordKind.TEMPLATE, name)

    async def apply_template(
        self,
        session_id: str,
        name: str,
        *,
        user_id: str | None = None,
        fence: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Set a session's data and metadata to what a template says; keys that it does not name stay.

        Raises TemplateNotFound, SessionNotFound, AccessDenied.
        """
        await self._engine.existing(session_id, user_id, Right.WRITE)
        template = await self._template_named(name)
        await self._command(
            session_id,
            UpdateSession,
            request_id,
            actor=user_id,
            fence=fence,
            data=FieldChanges(values=dict(template.context)),
            metadata=FieldChanges(values=template.metadata),
            profile=ProfileChanges(template=name),
        )

    async def _template_named(self, name: str | None) -> Template:
        """Return the template of that name, an empty one for None. Raises TemplateNotFound."""
        if name is None:
            return Template(name="")
        if template := await self.get_template(name):
            return template
        raise TemplateNotFound(f"there is no template {name!r}: save_template() makes one")


def _template(record: Record) -> Template:
    data: dict[str, Any] = record.data
    return Template(
        name=record.key,
        system_prompt=data.get("system_prompt"),
        context=data.get("context", {}),
        capabilities=tuple(data.get("capabilities", ())),
        created_at=record.created_at,
    )
