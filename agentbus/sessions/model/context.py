"""A session as users of the session API hold it: a copy to read and to change, saved by whoever gave it."""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeGuard

from pydantic import JsonValue

from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.message import Message, to_utc
from agentbus.sessions.model.types import Platform, SessionStatus, SessionType, Visibility
from contracts.changes import FieldChanges
from contracts.commands import UpdateSession
from contracts.errors import SchemaViolation
from contracts.ids import SessionId
from contracts.profile import ProfileChanges
from contracts.session import SessionState

_NOTHING_READ: Final[dict[str, Any]] = {
    "data": {},
    "metadata": {},
    "status": SessionStatus.ACTIVE,
    "session_type": SessionType.PRIVATE,
    "ai_model": None,
    "agent_id": None,
    "parent_id": None,
    "expires_at": None,
    "tags": [],
}
_UNSETTABLE: Final = ("agent_id", "parent_id", "ai_model", "expires_at")
_SETTABLE: Final = ("agent_id", "session_type", "ai_model", "expires_at", "tags", "status")
_FIXED: Final = ("chat_id", "user_id", "platform", "template", "visibility")


class _Raised(NamedTuple):
    """A number that was added to."""

    by: int | float
    now: Any
    """What it came to here; until something was added, what was read."""


@dataclass(kw_only=True)
class SessionContext:
    """A session: what it is, its data, and its latest messages, oldest first.

    It is a copy. Change `data`, `metadata`, `tags`, `status`, `ai_model`, `expires_at` or `agent_id`, add messages,
    then save it with `update_session`, or let `session_context` do that. Only what was changed is saved. Lists of
    sessions give contexts without messages; `get_session` reads them.
    """

    session_id: SessionId
    chat_id: str | None = None
    user_id: str | None = None
    platform: Platform | None = None
    session_type: SessionType = SessionType.PRIVATE
    status: SessionStatus = SessionStatus.ACTIVE
    created_at: datetime
    last_activity: datetime
    expires_at: datetime | None = None
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    conversation_history: list[Message] = field(default_factory=list)
    parent_id: SessionId | None = None
    ai_model: str | None = None
    agent_id: str | None = None
    template: str | None = None
    tags: list[str] = field(default_factory=list)
    visibility: Visibility = Visibility.PRIVATE
    message_count: int = 0
    version: int = 0
    _read: SessionState | None = field(default=None, repr=False, compare=False)
    _added: list[Message] = field(default_factory=list, repr=False, compare=False)
    _raised: dict[str, _Raised] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, state: SessionState, history: list[Message] | None = None) -> "SessionContext":
        """Return the context of a session as the store has it."""
        fields = _fields_of(state)
        fields["data"], fields["metadata"] = deepcopy(state.data), deepcopy(state.metadata)
        return cls(**fields, conversation_history=history or [], _read=state)

    def add_message(self, message: Message) -> None:
        """Add a message; it is saved with the session. One that is in the history already is not added again."""
        if all(message.id != known.id for known in self.conversation_history):
            self.conversation_history.append(message)
            self._added.append(message)

    def set_data(self, key: str, value: JsonValue) -> None:
        """Set a key of the session's data; it is saved with the session."""
        self.data[key] = value

    def get_data(self, key: str, default: Any = None) -> Any:
        """Return a key of the session's data, or `default`."""
        return self.data.get(key, default)

    def increment(self, key: str, by: float = 1) -> int | float:
        """Add to a number of the session's data, 0 if it is not there, and return what it comes to in this copy.

        It is saved as an addition: of many at once every one counts, and none is a conflict. Raises SchemaViolation
        for what is no number.
        """
        held = self.data.get(key, 0)
        if not (_is_number(held) and _is_number(by)):
            raise SchemaViolation(f"the session's data has no number to add to: {key}")
        was_read = self._read.data if self._read else {}
        raised = self._raised.pop(key, _Raised(0, was_read.get(key, 0)))
        self.data[key] = comes_to = held + by
        if _same(held, raised.now):  # What was set here before is no addition to what others have.
            self._raised[key] = _Raised(raised.by + by, comes_to)
        return comes_to

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether the session's time is over."""
        if self.status in {SessionStatus.EXPIRED, SessionStatus.ARCHIVED}:
            return True
        return self.expires_at is not None and to_utc(self.expires_at) <= (now or datetime.now(UTC))

    def is_active(self) -> bool:
        """Whether the session takes messages: active or idle, and not expired."""
        return self.status in {SessionStatus.ACTIVE, SessionStatus.IDLE} and not self.is_expired()

    def changes(
        self, *, overwrite: bool = False, actor: str | None = None, fence: int | None = None
    ) -> UpdateSession | None:
        """Return the command that saves what was changed since the session was read; None if nothing was.

        Unless `overwrite` is set, it is refused if somebody else has changed one of the same fields meanwhile.
        Raises SchemaViolation or ValueError for what can't be saved.
        """
        read = _fields_of(self._read) if self._read else dict(_NOTHING_READ)
        self._check_fixed(read)
        at = self._read.address if self._read else None
        nothing = UpdateSession(session_id=self.session_id, actor=actor, fence=fence)
        command = UpdateSession(
            session_id=self.session_id,
            actor=actor,
            fence=fence,
            data=_field_changes("data", read["data"], self.data, overwrite=overwrite, added=self._additions()),
            metadata=_field_changes("metadata", read["metadata"], self.metadata, overwrite=overwrite),
            profile=self._profile_changes(read),
            status=self.status if self.status is not read["status"] else None,
            messages=tuple(message.outbound(at) for message in self._added),
        )
        return None if command == nothing else command

    def take_over(self, saved: "SessionContext") -> None:
        """Become what was saved."""
        for name in saved.__dataclass_fields__:
            setattr(self, name, getattr(saved, name))

    def repeat_on(self, latest: "SessionContext") -> None:
        """Make the changes that were made to this copy once more, on what the session has become; then be that."""
        read = _fields_of(self._read) if self._read else _NOTHING_READ
        added = self._additions()
        for key, by in added.items():
            latest.increment(key, by)
        for area in ("data", "metadata"):
            now, before = getattr(self, area), read[area]
            latest_area = getattr(latest, area)
            for key in before.keys() - now.keys():
                latest_area.pop(key, None)
            latest_area |= {key: now[key] for key in _differing(before, now) if area != "data" or key not in added}
        for name in _SETTABLE:
            if getattr(self, name) != read[name]:
                setattr(latest, name, getattr(self, name))
        for message in self._added:
            latest.add_message(message)
        self.take_over(latest)

    def only_messages_on(self, latest: "SessionContext") -> "SessionContext":
        """Return the session as it has become, with the messages that were added to this copy and nothing else."""
        for message in self._added:
            latest.add_message(message)
        return latest

    def _additions(self) -> dict[str, int | float]:
        """Return what was added to numbers since they were read, and to nothing that was set besides."""
        return {key: one.by for key, one in self._raised.items() if one.by and _same(self.data.get(key), one.now)}

    def _check_fixed(self, read: dict[str, Any]) -> None:
        """Raise ValueError if something was set that saving does not change, rather than lose it."""
        fixed: list[str] = [name for name in _FIXED if name in read and getattr(self, name) != read[name]]
        if self.parent_id not in (None, read["parent_id"]):
            fixed.append("parent_id")
        if fixed:
            raise ValueError(f"{', '.join(fixed)} can't be changed by saving the session")

    def _profile_changes(self, read: dict[str, Any]) -> ProfileChanges:
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("agent_id", "session_type", "ai_model")
            if getattr(self, name) != read[name]
        }
        if self.expires_at != read["expires_at"]:
            changes["expires_at"] = to_utc(self.expires_at) if self.expires_at else None
        if self.tags != read["tags"]:
            changes["tags"] = tuple(self.tags)
        cleared = tuple(name for name in _UNSETTABLE if getattr(self, name) is None and read[name] is not None)
        return ProfileChanges(**{name: value for name, value in changes.items() if value is not None}, clear=cleared)


def _fields_of(state: SessionState) -> dict[str, Any]:
    address, profile = state.address, state.profile
    started = state.created_at or datetime.now(UTC)
    return {
        "session_id": state.session_id,
        "chat_id": address.chat if address else None,
        "user_id": profile.owner,
        "platform": address.platform if address else None,
        "session_type": profile.session_type,
        "status": state.status,
        "created_at": started,
        "last_activity": state.last_activity or started,
        "expires_at": profile.expires_at,
        "data": state.data,
        "metadata": state.metadata,
        "parent_id": profile.parent_id,
        "ai_model": profile.ai_model,
        "agent_id": profile.agent_id,
        "template": profile.template,
        "tags": list(profile.tags),
        "visibility": profile.visibility,
        "message_count": state.message_count,
        "version": state.version,
    }


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: object, other: object) -> bool:
    # Python takes 1, 1.0 and True for the same, JSON does not: they differ in how they are written.
    return one == other and repr(one) == repr(other)


def _differing(read: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [key for key, value in now.items() if key not in read or not _same(read[key], value)]


def _field_changes(
    what: str,
    read: dict[str, Any],
    now: dict[str, Any],
    *,
    overwrite: bool,
    added: dict[str, int | float] | None = None,
) -> FieldChanges:
    added = added or {}
    values = {key: now[key] for key in _differing(read, now) if key not in added}
    removed = tuple(sorted(read.keys() - now.keys()))
    if not (values or removed or added):
        return FieldChanges()
    touched = [*values, *removed]
    with checking(f"the session's {what} can't be saved"):
        return FieldChanges(
            values=values,
            remove=removed,
            expected={} if overwrite else {key: read[key] for key in touched if key in read},
            absent=() if overwrite else tuple(key for key in touched if key not in read),
            increments=added or None,
        )
