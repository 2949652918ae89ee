"""Templates: what new sessions begin with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import UpdateSession
from agentbus.contracts.errors import Refused
from agentbus.contracts.profile import ProfileChanges
from agentbus.contracts.records import Record, RecordKind
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.validation import checking, is_id
from agentbus.sessions.sections.shared import Caller, Commands
from agentbus.storage.reading import iter_records
from agentbus.workers.domain.access import Right

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


class Templates:
    """What is saved of them, and what it makes of a session."""

    def __init__(self, engine: Engine, commands: Commands, clock: Clock) -> None:
        self._engine = engine
        self._commands = commands
        self._clock = clock

    async def save(
        self, name: str, system_prompt: str | None, context: Mapping[str, JsonValue] | None, capabilities: Iterable[str]
    ) -> Template:
        data: dict[str, Any] = {
            "system_prompt": system_prompt,
            "context": dict(context or {}),
            "capabilities": list(capabilities),
        }
        with checking("the template can't be kept"):
            record = Record(kind=RecordKind.TEMPLATE, key=name, group=_GROUP, created_at=self._clock.now(), data=data)
        await self._engine.store.records.put(record)
        return _template(record)

    async def get(self, name: str) -> Template | None:
        record = await self._engine.store.records.get(RecordKind.TEMPLATE, name) if is_id(name) else None
        return None if record is None else _template(record)

    async def all(self) -> list[Template]:
        return [_template(record) async for record in iter_records(self._engine.store, RecordKind.TEMPLATE, _GROUP)]

    async def delete(self, name: str) -> bool:
        return is_id(name) and await self._engine.store.records.delete(RecordKind.TEMPLATE, name)

    async def apply(self, session_id: str, name: str, caller: Caller) -> None:
        await self._engine.existing(session_id, caller.user_id, Right.WRITE)
        template = await self.named(name)
        await self._commands.carry_out(
            session_id,
            UpdateSession,
            caller,
            data=FieldChanges(values=dict(template.context)),
            metadata=FieldChanges(values=template.metadata),
            profile=ProfileChanges(template=name),
        )

    async def named(self, name: str | None) -> Template:
        """Return the template of that name, an empty one for None. Raises TemplateNotFound."""
        if name is None:
            return Template(name="")
        if template := await self.get(name):
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
