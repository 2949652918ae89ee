"""What a session library holds, as plain objects: what somebody would write who had one process, and no store."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
class Offer:
    """A value, or that there is none any more, that a linked session has for a key of data."""

    key: str
    stamp: Stamp
    removed: bool
    value: Any
    source: str = ""
    """The session that told of it."""
    base: Stamp | None = None
    """What the teller had replaced there with its own: it knew of that."""

    @property
    def place(self) -> tuple[str, str]:
        """The key, and the conversation in which it was written: of two alike the later one counts."""
        return self.key, origin(self.stamp)

    def says(self, other: "Offer") -> bool:
        """Whether it is the same value, or both are none."""
        return self.removed == other.removed and (self.removed or json_of(self.value) == json_of(other.value))


@dataclass(frozen=True)
class Open:
    """A conflict as it is listed: a key, what a session holds there, what was offered, and by which session."""

    key: str
    held: Offer | None
    offered: Offer


@dataclass(frozen=True)
class Shelf:
    """What the archive has of a session."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    messages: list[Said]
    stamps: dict[str, Stamp]
    conflicts: dict[tuple[str, str], Offer]
    over: dict[tuple[str, str], Stamp]


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
    replaced: dict[str, Stamp] = field(default_factory=dict)
    """By key of data: the latest write of somebody else that it wrote over."""
    conflicts: dict[tuple[str, str], Offer] = field(default_factory=dict)
    """By key, and the conversation that wrote it: what somebody has to choose about."""
    settled: dict[tuple[str, str], Stamp] = field(default_factory=dict)
    """Likewise: the latest that is over, and does not come up again."""
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
        here = origin(self.clock)
        foreign = {key: self.stamps[key] for key in (*values, *gone) if origin(self.stamps.get(key)) not in ("", here)}
        self.replaced |= foreign
        self.stamps |= dict.fromkeys((*values, *gone), self.clock)
        if self.identity is None and not self.unlinked:
            for key in gone:
                del self.stamps[key]
        self._note()

    def _next_stamp(self, now: datetime) -> Stamp:
        if self.clock and self.clock[0] >= now:
            return (self.clock[0], self.clock[1] + 1, self.session_id)
        return (now, 0, self.session_id)

    def offers(self, keys: Iterable[str]) -> list[Offer]:
        """Return what it can tell a linked session of these keys."""
        return [
            Offer(
                key, self.stamps[key], key not in self.data, self.data.get(key), self.session_id, self.replaced.get(key)
            )
            for key in keys
        ]

    def holds(self, key: str) -> Offer | None:
        """Return what it has there, or that it was removed; None if it never had any."""
        return self.offers([key])[0] if key in self.stamps else None

    def take(self, offers: Iterable[Offer]) -> None:
        """Take what another one wrote later, what it removed too."""
        self._put([one for one in offers if one.key not in self.stamps or self.stamps[one.key] < one.stamp])

    def weigh(self, offers: Iterable[Offer]) -> None:
        """Take what overwrites nothing that its writer did not know of; the rest are conflicts."""
        taken, asked = list[Offer](), list[Offer]()
        for one in offers:
            waiting = self.conflicts.get(one.place)
            match self._judged(one):
                case "take":
                    taken.append(waiting if waiting and waiting.stamp >= one.stamp else one)
                case "ask" if waiting is None or waiting.stamp < one.stamp:
                    asked.append(one)
        self._put(taken)
        self.conflicts |= {one.place: one for one in asked}
        self.clock = max([one.stamp for one in asked] + ([self.clock] if self.clock else []), default=None)

    def _judged(self, one: Offer) -> str:
        there = self.holds(one.key)
        if self.settled.get(one.place, one.stamp) > one.stamp or self.settled.get(one.place) == one.stamp:
            return "pass"
        if there is None:
            return "take"
        if there.says(one) or origin(there.stamp) == origin(one.stamp):
            return "take" if one.stamp > there.stamp else "pass"
        return "take" if one.base == there.stamp else "ask"

    def choose(self, now: datetime, keys: Collection[str], take: bool | None) -> list[Open]:
        """Settle the conflicts about keys, or all: with what was offered, or what is held; None: the later one."""
        about = [one for one in self.conflicts.values() if not keys or one.key in keys]
        if not about:
            return []
        self.clock = stamp = self._next_stamp(now)
        before = self.open_conflicts()
        chosen = list[Offer]()
        for key in {one.key for one in about}:
            best, held = max((one for one in about if one.key == key), key=lambda one: one.stamp), self.holds(key)
            offered = (held is None or best.stamp > held.stamp) if take is None else take
            kept = best if offered or held is None else held
            removed = kept.removed if offered or held is not None else True
            chosen.append(Offer(key, stamp, removed, kept.value, self.session_id))
            self.replaced[key] = best.stamp
        self._put(chosen)
        left = {one.key for one in self.conflicts.values()}
        return [one for one in before if one.key not in left]

    def open_conflicts(self) -> list[Open]:
        """Return what somebody has to choose about."""
        return [Open(one.key, self.holds(one.key), one) for _, one in sorted(self.conflicts.items())]

    def _put(self, taken: Sequence[Offer]) -> None:
        if not taken:
            return
        for one in taken:
            self.stamps[one.key] = one.stamp
            self.data.pop(one.key, None)
            if not one.removed:
                self.data[one.key] = one.value
        self.clock = max([one.stamp for one in taken] + ([self.clock] if self.clock else []))
        self._note({one.key: one.stamp for one in taken})

    def _note(self, written: Mapping[str, Stamp] | None = None) -> None:
        """Note which conflicts are over: written over by what is later, or both say the same by now."""
        for place, one in list(self.conflicts.items()):
            held, later = self.holds(one.key), (written or {}).get(one.key)
            same = held is not None and not held.removed and held.says(one)
            if same or (later is not None and later >= one.stamp):
                del self.conflicts[place]
                self.settled[place] = max(one.stamp, self.settled.get(place, one.stamp))

    def empty(self) -> None:
        """Forget what it holds."""
        self.data, self.metadata, self.messages, self.stamps, self.shelf = {}, {}, [], {}, None
        self.replaced, self.conflicts, self.settled = {}, {}, {}

    def put_away(self) -> None:
        """Leave all that it holds to the archive."""
        held = Shelf(self.data, self.metadata, self.messages, self.stamps, self.conflicts, self.settled)
        self.empty()
        self.status, self.shelf, self.was_archived = SessionStatus.ARCHIVED, held, True

    def bring_back(self, held: Shelf) -> None:
        """Hold what the archive has."""
        self.data, self.metadata = {**held.data}, {**held.metadata}
        self.messages, self.stamps, self.shelf = [*held.messages], {**held.stamps}, None
        self.conflicts, self.settled = {**held.conflicts}, {**held.over}

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


@dataclass(frozen=True)
class Policy:
    """How linked sessions are synced: whether somebody has to choose between values, and which keys are shared."""

    manual: bool = False
    shares: tuple[str, ...] = ("*",)


@dataclass
class Code:
    """A claim code: sent from another chat it says that both are one person's."""

    session_id: str
    owner: str | None
    expires_at: datetime
    claimed_by: str | None = None
    """The conversation from which it was used."""
    identity: str = ""
    gone: bool = False
    """Whether nobody knows of it any more."""


@dataclass(frozen=True)
class Suggestion:
    """Two sessions that may be one person's."""

    suggestion_id: str
    session_ids: tuple[str, str]
    reason: str
    open: bool = True


@dataclass
class Held:
    """All that a library holds."""

    conversations: dict[str, Conversation] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """The latest last."""
    templates: dict[str, Template] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    codes: list[Code] = field(default_factory=list)
    """In the order in which they were given out."""
    contacts: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    """By key of metadata and conversation: which session said last how to reach its user, and how."""
    suggestions: dict[str, Suggestion] = field(default_factory=dict)

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
        return Held(
            conversations,
            [*self.checkpoints],
            {**self.templates},
            {**self.rules},
            {**self.policies},
            [replace(one) for one in self.codes],
            {**self.contacts},
            {**self.suggestions},
        )


def origin(stamp: Stamp | None) -> str:
    """Return the conversation in which something was written; none for no stamp."""
    return stamp[2].partition(".")[0] if stamp else ""


def json_of(value: Any) -> str:
    """Return a value as JSON writes it: 1, 1.0 and true differ."""
    return json.dumps(value, sort_keys=True)
