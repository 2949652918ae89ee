"""What a session library holds, as plain objects: what somebody would write who had one process, and no store."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self

from agentbus.contracts.session import SessionStatus

LIVE = (SessionStatus.ACTIVE, SessionStatus.IDLE, SessionStatus.SUSPENDED)


@dataclass(frozen=True)
class Said:
    """A message as people read it."""

    id: str
    content: str
    role: str
    taken_back: bool = False

    def changed(self, text: str | None) -> "Said":
        """Return it saying something else, or nothing for None; what was taken back stays so."""
        if self.taken_back:
            return self
        return replace(self, content=text or "", taken_back=text is None)


Stamp = tuple[datetime, int, str]
"""When, and by which session, something was written: of two in one millisecond the second is the later one."""


@dataclass(frozen=True)
class Shelf:
    """What the archive has of a session."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    messages: list[Said]
    stamps: dict[str, Stamp]


@dataclass
class Session:
    """One session."""

    session_id: str
    owner: str | None
    created_at: datetime
    last_activity: datetime
    chat: str | None = None
    platform: str | None = None
    status: SessionStatus = SessionStatus.ACTIVE
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    messages: list[Said] = field(default_factory=list)
    count: int = 0
    """How many messages it ever had."""
    said: dict[str, str | None] = field(default_factory=dict)
    """By their ids: for whom they were added."""
    hidden: int = 0
    """How many messages, the first ones, are no longer shown."""
    identity: str | None = None
    """The person whose sessions share their data."""
    unlinked: bool = False
    """Whether it was linked to somebody, and is no more."""
    stamps: dict[str, Stamp] = field(default_factory=dict)
    """By key of data, also of removed ones that others may have to hear of: when it was written."""
    clock: Stamp | None = None
    """The latest stamp that it has seen."""
    shelf: Shelf | None = None
    turns: int = 0
    """How many checkpoints came by themselves, those that were skipped included."""
    was_archived: bool = False
    """Whether the archive has, or had, it."""
    agent_id: str | None = None
    parent_id: str | None = None
    ai_model: str | None = None
    template: str | None = None
    tags: list[str] = field(default_factory=list)
    visibility: str = "private"
    shares: dict[str, str] = field(default_factory=dict)
    """By user: read, or write."""
    expires_at: datetime | None = None
    lifetime: float | None = None
    idle_timeout: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether messages go into it."""
        return self.status in LIVE

    @property
    def is_there(self) -> bool:
        """Whether it was not deleted."""
        return self.status is not SessionStatus.DELETED

    def over(self, now: datetime) -> bool:
        """Whether its time is over, whoever has noticed."""
        return self.is_live and self.expires_at is not None and self.expires_at <= now

    def goes_on(self, now: datetime) -> bool:
        """Whether it takes part in a conversation."""
        return self.is_live and not self.over(now)

    def silent(self, now: datetime) -> bool:
        """Whether it is active, and was silent for so long that it is idle."""
        if self.status is not SessionStatus.ACTIVE or self.idle_timeout is None:
            return False
        return self.last_activity + timedelta(seconds=self.idle_timeout) <= now

    def right(self, user: str | None) -> int:
        """Return what a user may do: 0 nothing, 1 read, 2 change, 3 all. None is the application: all."""
        if user is None or user == self.owner:
            return 3
        shared = {"read": 1, "write": 2}.get(self.shares.get(user, ""), 0)
        return shared or (1 if self.visibility == "public" else 0)

    def begins_anew(self, now: datetime) -> None:
        """Begin the lifetime anew, if there is one."""
        if self.lifetime is not None:
            self.expires_at = now + timedelta(seconds=self.lifetime)

    def say(self, *messages: Said, by: str | None = None) -> None:
        """Add messages for somebody; one that it ever had is not added again."""
        new = [one for one in messages if one.id not in self.said]
        self.messages += new
        self.count += len(new)
        self.said |= {one.id: by for one in new}

    def shown(self, most: int) -> list[Said]:
        """Return the latest messages, as many as come with a session."""
        return self.messages[self.hidden :][-most:]

    def wake(self, now: datetime) -> None:
        """Note activity."""
        self.last_activity = now
        if self.status is SessionStatus.IDLE:
            self.status = SessionStatus.ACTIVE

    def terms(self) -> dict[str, Any]:
        """Return what the next session has of this one when a chat begins anew: all but what it holds, and its end."""
        kept = ("owner", "chat", "platform", "agent_id", "parent_id", "ai_model", "template", "tags", "visibility")
        mine = self.copy()
        return {name: getattr(mine, name) for name in (*kept, "shares", "lifetime", "idle_timeout")}

    def change_said(self, target: str, text: str | None) -> None:
        """Change a message, or take it back, wherever it is."""

        def changed(messages: list[Said]) -> list[Said]:
            return [one.changed(text) if one.id == target else one for one in messages]

        self.messages = changed(self.messages)
        if self.shelf:
            self.shelf = replace(self.shelf, messages=changed(self.shelf.messages))

    def write(self, now: datetime, values: Mapping[str, Any], removed: Iterable[str] = ()) -> None:
        """Set keys of data and take some out. Who was never linked has nobody to tell what is gone, and forgets it."""
        gone = [key for key in removed if key in self.data]
        if not (values or gone):
            return
        self.clock = self._next_stamp(now)
        self.data = {key: value for key, value in {**self.data, **values}.items() if key not in gone}
        self.stamps |= dict.fromkeys((*values, *gone), self.clock)
        if self.identity is None and not self.unlinked:
            for key in gone:
                del self.stamps[key]

    def _next_stamp(self, now: datetime) -> Stamp:
        if self.clock and self.clock[0] >= now:
            return (self.clock[0], self.clock[1] + 1, self.session_id)
        return (now, 0, self.session_id)

    def take(self, source: "Session") -> bool:
        """Take what another one wrote later, what it removed too; return whether data are other ones by that."""
        before = {**self.data}
        for key, stamp in source.stamps.items():
            if key not in self.stamps or self.stamps[key] < stamp:
                self.stamps[key] = stamp
                self.data.pop(key, None)
                if key in source.data:
                    self.data[key] = source.data[key]
        stamps = [*source.stamps.values(), *([self.clock] if self.clock else [])]
        self.clock = max(stamps, default=None)
        return before != self.data

    def empty(self) -> None:
        """Forget what it holds."""
        self.data, self.metadata, self.messages, self.stamps, self.shelf = {}, {}, [], {}, None

    def put_away(self) -> None:
        """Leave all that it holds to the archive."""
        held = Shelf(self.data, self.metadata, self.messages, self.stamps)
        self.empty()
        self.status, self.shelf, self.was_archived = SessionStatus.ARCHIVED, held, True

    def bring_back(self, held: Shelf) -> None:
        """Hold what the archive has."""
        self.data, self.metadata = {**held.data}, {**held.metadata}
        self.messages, self.stamps, self.shelf = [*held.messages], {**held.stamps}, None

    def forget(self) -> None:
        """Keep nothing but that there was one."""
        self.empty()
        self.status, self.owner, self.visibility, self.shares = SessionStatus.DELETED, None, "private", {}
        self.identity = None

    def copy(self) -> Self:
        """Return a copy; the values in it are never changed in place."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        copied: dict[str, Any] = {
            name: value.copy() if isinstance(value, dict | list) else value for name, value in values.items()
        }
        return replace(self, **copied)


@dataclass
class Conversation:
    """The sessions of one chat, one after the other; or a single one that has no chat."""

    sessions: list[Session] = field(default_factory=list)
    fence: int = 0
    """The highest lock number that a change carried."""
    locks: int = 0
    """How often its lock was taken: the number of the last holder."""
    locked: bool = False
    erased: bool = False
    """Whether its user was erased, and nothing has begun since."""
    heard: set[str] = field(default_factory=set)
    """The ids of what chats said, for ever."""

    @property
    def current(self) -> Session:
        """The latest session: the one that changes."""
        return self.sessions[-1]


@dataclass(frozen=True)
class Checkpoint:
    """Data as it was."""

    checkpoint_id: str
    session_id: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Template:
    """What sessions begin with."""

    system_prompt: str | None
    context: dict[str, Any]
    capabilities: tuple[str, ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """What it sets in metadata."""
        prompt: dict[str, Any] = {"system_prompt": self.system_prompt} if self.system_prompt else {}
        return prompt | ({"capabilities": list(self.capabilities)} if self.capabilities else {})


@dataclass(frozen=True)
class Rule:
    """What ends sessions that were silent for so many seconds: it expires, archives or deletes them."""

    rule_id: str
    idle_for: float
    action: str
    priority: int = 0
    enabled: bool = True

    def holds(self, session: Session, now: datetime) -> bool:
        """Whether a session was silent for that long."""
        return self.enabled and session.last_activity + timedelta(seconds=self.idle_for) <= now


@dataclass
class Held:
    """All that a library holds."""

    conversations: dict[str, Conversation] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The latest last."""
    templates: dict[str, Template] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)

    @property
    def sessions(self) -> Iterator[Session]:
        """All sessions that there ever were."""
        return (one for conversation in self.conversations.values() for one in conversation.sessions)

    def copy(self) -> "Held":
        """Return a copy to try something on."""
        conversations = {
            key: replace(one, sessions=[session.copy() for session in one.sessions], heard=set(one.heard))
            for key, one in self.conversations.items()
        }
        return Held(conversations, [*self.checkpoints], {**self.templates}, {**self.rules})
