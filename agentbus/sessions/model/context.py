"""A session as users of the session API hold it: a copy to read and to change, saved by whoever gave it."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

from agentbus.contracts.commands import UpdateSession
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.ids import SessionId
from agentbus.contracts.profile import ProfileChanges, no_profile
from agentbus.contracts.session import SessionState
from agentbus.sessions.model.changing import (
    carried,
    differing,
    field_changes,
    is_number,
    refresh,
    repeated_tags,
    same,
    tag_changes,
    touched,
)
from agentbus.sessions.model.messages import Message, to_utc
from agentbus.sessions.model.types import Platform, SessionStatus, SessionType, Visibility

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
_SETTABLE: Final = ("agent_id", "session_type", "ai_model", "expires_at", "parent_id", "status")
_FIXED: Final = (
    "session_id",
    "chat_id",
    "user_id",
    "platform",
    "template",
    "visibility",
    "created_at",
    "last_activity",
    "message_count",
    "version",
)
_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Raised(NamedTuple):
    """A number that was added to."""

    by: int | float
    now: Any
    """What it came to here; until something was added, what was read."""


@dataclass(kw_only=True)
class SessionContext:
    """A session: what it is, its data, and its latest messages, oldest first.

    It is a copy. Change `data`, `metadata`, `tags`, `status`, `session_type`, `ai_model`, `expires_at` or `agent_id`,
    clear `parent_id`, add messages, then save it with `update_session`, or let `session_context` do that. Only what was
    changed is saved, and nothing that somebody else has changed meanwhile is written over: tags that several add or
    take out add up, for the rest it is a conflict. What is done to the list `conversation_history` itself changes this
    copy alone. Lists of sessions give contexts without messages; `get_session` reads them.

    Tasks may share one: they save it one after the other, and what one sets while another saves is saved next time.
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

    @property
    def state(self) -> str:
        """The state that it is in: one of the installation's own, or its status."""
        read = self._read
        return read.state if read and read.state and read.status is self.status else self.status.value

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
        if not (is_number(held) and is_number(by)):
            raise SchemaViolation(f"the session's data has no number to add to: {key}")
        was_read = self._read.data if self._read else {}
        raised = self._raised.pop(key, _Raised(0, was_read.get(key, 0)))
        self.data[key] = comes_to = held + by
        if same(held, raised.now):  # What was set here before is no addition to what others have.
            self._raised[key] = _Raised(raised.by + by, comes_to)
        return comes_to

    def is_expired(self, now: datetime | None = None) -> bool:
        """Whether the session's time is over, at the moment `now`: one without a time zone is taken as local time."""
        if self.status in {SessionStatus.EXPIRED, SessionStatus.ARCHIVED}:
            return True
        return self.expires_at is not None and to_utc(self.expires_at) <= (to_utc(now) if now else datetime.now(UTC))

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
            data=field_changes("data", read["data"], self.data, overwrite=overwrite, added=self._additions()),
            metadata=field_changes("metadata", read["metadata"], self.metadata, overwrite=overwrite),
            profile=self._profile_changes(read, overwrite=overwrite),
            status=self.status if self.status != read["status"] else None,
            seen_status=read["status"] if self.status != read["status"] and not overwrite else None,
            messages=tuple(message.outbound(at) for message in self._added),
        )
        return None if command == nothing else command

    def take_over(self, other: "SessionContext") -> None:
        """Become what another copy is."""
        for name in other.__dataclass_fields__:
            setattr(self, name, getattr(other, name))

    def as_it_is(self) -> "SessionContext":
        """Return a copy, by which `saved_as` tells later what was changed after it."""
        return replace(
            self,
            data=deepcopy(self.data),
            metadata=deepcopy(self.metadata),
            tags=list(self.tags),
            conversation_history=list(self.conversation_history),
            _added=list(self._added),
            _raised=dict(self._raised),
        )

    def saved_as(self, saved: "SessionContext", sent: "SessionContext") -> None:
        """Become what was saved when this was as `sent`; what was changed here since then is still to be saved."""
        was = saved._read  # noqa: SLF001 -- another of this class
        if was is None:
            raise ValueError("what was saved was not read")
        raised = self._raised_since(sent, was.data)
        read: dict[str, Any] = {}
        for area in ("data", "metadata"):
            now, before = getattr(self, area), getattr(sent, area)
            keys = [key for key in touched(before, now) if area != "data" or key not in raised]
            read[area] = carried(getattr(was, area), before, keys)
            refresh(now, carried(getattr(saved, area), now, keys))
        self.data |= {key: one.now for key, one in raised.items()}
        own = [name for name in _SETTABLE if getattr(self, name) != getattr(sent, name)]
        seen = {name: getattr(sent, name) for name in own}
        status = seen.pop("status", was.status)
        tags = repeated_tags(sent.tags, self.tags, saved.tags)
        if "tags" in tag_changes(sent.tags, self.tags):
            seen["tags"] = tuple(sent.tags)
        later = [one for one in self._added if one not in sent._added]  # noqa: SLF001 -- another of this class
        for name in saved.__dataclass_fields__:
            if name not in (*own, "data", "metadata", "tags", "conversation_history"):
                setattr(self, name, getattr(saved, name))
        self.tags[:] = tags
        self.conversation_history[:] = saved.conversation_history
        self._read = was.model_copy(update={**read, "status": status, "profile": was.profile.model_copy(update=seen)})
        self._added, self._raised = [], raised
        for message in later:
            self.add_message(message)

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
            latest_area |= {key: now[key] for key in differing(before, now) if area != "data" or key not in added}
        for name in _SETTABLE:
            if getattr(self, name) != read[name]:
                setattr(latest, name, getattr(self, name))
        latest.tags = repeated_tags(read["tags"], self.tags, latest.tags)
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
        return {key: one.by for key, one in self._raised.items() if one.by and same(self.data.get(key), one.now)}

    def _raised_since(self, sent: "SessionContext", saved: dict[str, Any]) -> dict[str, _Raised]:
        """Return what was added to numbers after this was as `sent`, and what that comes to on what was saved."""
        before = sent._additions()  # noqa: SLF001 -- another of this class
        since = {key: by - before.get(key, 0) for key, by in self._additions().items()}
        return {
            key: _Raised(by, saved.get(key, 0) + by) for key, by in since.items() if by and is_number(saved.get(key, 0))
        }

    def _check_fixed(self, read: dict[str, Any]) -> None:
        """Raise ValueError if something was set that saving does not change, rather than lose it."""
        fixed: list[str] = [name for name in _FIXED if name in read and getattr(self, name) != read[name]]
        if self.parent_id not in (None, read["parent_id"]):
            fixed.append("parent_id")
        if fixed:
            raise ValueError(f"{', '.join(fixed)} can't be changed by saving the session")

    def _profile_changes(self, read: dict[str, Any], *, overwrite: bool) -> ProfileChanges:
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("agent_id", "session_type", "ai_model")
            if getattr(self, name) != read[name]
        }
        if self.expires_at != read["expires_at"]:
            changes["expires_at"] = to_utc(self.expires_at) if self.expires_at else None
        cleared = tuple(name for name in _UNSETTABLE if getattr(self, name) is None and read[name] is not None)
        set_here = {name: value for name, value in changes.items() if value is not None}
        if self.tags != read["tags"]:
            set_here |= tag_changes(read["tags"], self.tags)
        if (set_here.keys() - {"add_tags", "remove_tags"} or cleared) and not overwrite:
            set_here["seen"] = (self._read.profile if self._read else no_profile()).model_copy(update={"shares": {}})
        return ProfileChanges(**set_here, clear=cleared)


def _fields_of(state: SessionState) -> dict[str, Any]:
    address, profile = state.address, state.profile
    started = state.created_at or _UNKNOWN
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
