"""What an erasure is going to do, written down before it begins: a crash at any point is made up for from here.

While it is under way the plan holds the user's ids; it goes when all is done.
"""

from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId, SessionId
from agentbus.contracts.parked import ParkedId
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.chunks import chunks
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records

_ITEMS: Final = 1_000
"""Items that one record holds: of ids of the longest kind they fit into one."""
_LISTS: Final = ("people", "identities", "own", "shared", "owned", "sessions", "archived", "parked_ids")
_COUNTS: Final = ("messages", "archives", "records", "parked")


@dataclass(slots=True)
class Plan:
    """Whom and what an erasure is about, and how much there was of it when it began."""

    people: set[str] = field(default_factory=set)
    identities: set[str] = field(default_factory=set)
    own: set[ConversationId] = field(default_factory=set)
    """Conversations that are erased whole."""
    shared: set[ConversationId] = field(default_factory=set)
    """Conversations that others write in too."""
    owned: set[ConversationId] = field(default_factory=set)
    """Those of them that are the user's: their data and metadata go too."""
    sessions: set[SessionId] = field(default_factory=set)
    archived: set[SessionId] = field(default_factory=set)
    """Those whose files in the archive are deleted, or written anew."""
    parked_ids: set[ParkedId] = field(default_factory=set)
    """Parked inputs that are deleted."""
    messages: int = 0
    archives: int = 0
    records: int = 0
    parked: int = 0

    @property
    def has_found(self) -> bool:
        """Whether there was anything to erase."""
        return bool(self.own or self.shared or any(getattr(self, name) for name in _COUNTS))

    def merge(self, other: "Plan") -> None:
        """Take up what is to be done besides. Where both count, the larger number is what there was at first."""
        for name in _LISTS:
            getattr(self, name).update(getattr(other, name))
        for name in _COUNTS:
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


async def load_plan(store: Store, subject: str) -> Plan:
    """Return the plan of an erasure that was begun; an empty one if none was."""
    plan = Plan()
    async for record in iter_records(store, RecordKind.ERASURE, _group(subject)):
        if (name := record.data.get("list")) in _LISTS and isinstance(items := record.data["items"], list):
            getattr(plan, str(name)).update(items)
        for name in _COUNTS:
            setattr(plan, name, max(getattr(plan, name), int(str(record.data.get(name, 0)))))
    return plan


async def save_plan(store: Store, subject: str, plan: Plan, clock: Clock) -> None:
    """Write a plan down, in place of the one before, of which it is a continuation."""
    now = clock.now()

    def record(name: str, data: dict[str, JsonValue]) -> Record:
        key = f"plan-{subject}-{name}"
        return Record(kind=RecordKind.ERASURE, key=key, group=_group(subject), created_at=now, data=data)

    await store.records.put_many([record("counts", {name: getattr(plan, name) for name in _COUNTS})])
    for name in _LISTS:
        for number, items in enumerate(chunks(sorted(getattr(plan, name)), _ITEMS)):
            await store.records.put_many([record(f"{name}-{number}", {"list": name, "items": list(items)})])


async def drop_plan(store: Store, subject: str) -> None:
    """Forget a plan that was carried out. Idempotent."""
    await store.records.delete_group(RecordKind.ERASURE, _group(subject))


def _group(subject: str) -> str:
    return f"plan-{subject}"
