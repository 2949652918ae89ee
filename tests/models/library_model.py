"""The model of the session library: what each changing call promises, under the call's own name.

It has no store, no bus and no two processes: a call is made, and either all of it happens or, refused, nothing. It
takes what the manager's call takes (`user_id`: who does it, whose access is checked), returns what that returns, and
raises the same errors.
"""

# ruff: noqa: ARG002 -- the calls take what the real ones take, whether or not it makes a difference here

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import (
    AccessDenied,
    EditConflict,
    IdentityConflict,
    LimitExceeded,
    LockLost,
    LockTimeout,
    Refused,
    SchemaViolation,
    SessionNotCurrent,
    SessionNotFound,
    TransitionForbidden,
)
from agentbus.contracts.ids import ConversationId, conversation_of, digest_of, session_id_for
from agentbus.contracts.session import SessionStatus
from agentbus.sessions import CheckpointNotFound, TemplateNotFound
from agentbus.workers.sync.people.claims import ANSWERS, ClaimOutcome
from agentbus.workers.sync.people.suggestions import SuggestionNotFound
from tests.models.library_state import (
    LIVE,
    Checkpoint,
    Code,
    Conversation,
    Held,
    Open,
    Policy,
    Rule,
    Said,
    Session,
    Suggestion,
    Template,
    json_of,
)

Where = tuple[str, str, str]
"""A chat: whose, its name, its platform."""

READ, WRITE, OWN = 1, 2, 3

ENDS = (SessionStatus.EXPIRED, SessionStatus.CLOSED, SessionStatus.ARCHIVED)

FOLLOWS = {
    SessionStatus.ACTIVE: {SessionStatus.IDLE, SessionStatus.SUSPENDED, *ENDS},
    SessionStatus.IDLE: {SessionStatus.ACTIVE, SessionStatus.SUSPENDED, *ENDS},
    SessionStatus.SUSPENDED: {SessionStatus.ACTIVE, SessionStatus.IDLE, *ENDS},
    SessionStatus.EXPIRED: {SessionStatus.ARCHIVED, SessionStatus.CLOSED},
    SessionStatus.CLOSED: {SessionStatus.ARCHIVED},
}
"""Which status may follow which: no way leads back to life."""


@dataclass(frozen=True)
class Options:
    """What the managers of a world go by."""

    max_history: int = 50
    idle_timeout: float | None = 600.0
    time_to_live: float | None = None
    max_sessions_per_user: int | None = None
    close_oldest: bool = False
    checkpoint_every: int | None = None


@dataclass(frozen=True)
class Edit:
    """What somebody does to a copy of a session before it is saved."""

    data: Mapping[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    add: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Said, ...] = ()
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """`ai_model`, `agent_id`, `expires_at`: what they are set to, None to have none."""
    status: SessionStatus | None = None


@dataclass(frozen=True)
class Cleanup:
    """What a look for expired sessions did, or would do."""

    expired: set[str]
    idle: set[str]
    steps: set[tuple[str, str, str]]
    """By rules: session, rule, action."""


@dataclass(frozen=True)
class Change:
    """What an edit comes to: the part of it that is not so already in what was read."""

    data: Mapping[str, Any]
    removed: Sequence[str]
    added: Mapping[str, int]
    metadata: Mapping[str, Any]
    messages: Sequence[Said]
    add_tags: Sequence[str]
    remove_tags: Sequence[str]
    attributes: Mapping[str, Any]
    status: SessionStatus | None

    @classmethod
    def of(cls, read: Session, edit: Edit, most: int) -> "Change":
        """Return what of an edit changes what was read; `most`: how many messages came with it."""
        known = {one.id for one in read.shown(most)}
        return cls(
            data={key: value for key, value in edit.data.items() if not _same(key, read.data, edit.data)},
            removed=[key for key in edit.remove if key in read.data],
            added=edit.add,
            metadata={key: one for key, one in edit.metadata.items() if not _same(key, read.metadata, edit.metadata)},
            messages=[one for one in edit.messages if one.id not in known],
            add_tags=[tag for tag in edit.add_tags if tag not in read.tags],
            remove_tags=[tag for tag in edit.remove_tags if tag in read.tags],
            attributes={name: value for name, value in edit.attributes.items() if value != getattr(read, name)},
            status=None if edit.status is read.status else edit.status,
        )

    def __bool__(self) -> bool:
        """Whether anything is to be changed."""
        return any(getattr(self, one.name) for one in fields(self))

    def ends(self, session: Session | None) -> bool:
        """Whether it ends a session, or brings its end nearer."""
        wanted = self.attributes.get("expires_at")
        held = session.expires_at if session else None
        return (self.status is not None and self.status not in LIVE) or (
            wanted is not None and (held is None or wanted < held)
        )

    def check(self, read: Session, now: Session) -> None:
        """Raise EditConflict if somebody else has changed the same; time alone makes a session idle, and back."""
        _check_same(read.data, now.data, [*self.data, *self.removed])
        _check_same(read.metadata, now.metadata, self.metadata)
        awake = [SessionStatus.ACTIVE if one is SessionStatus.IDLE else one for one in (read.status, now.status)]
        if any(getattr(read, name) != getattr(now, name) for name in self.attributes) or (
            self.status and awake[0] is not awake[1]
        ):
            raise EditConflict

    def make(self, session: Session, now: datetime, by: str | None) -> bool:
        """Carry it out for somebody, but for the status; return whether that is activity."""
        sums = {key: session.data.get(key, 0) + by for key, by in self.added.items()}
        session.write(now, {**sums, **self.data}, self.removed)
        session.metadata |= self.metadata
        count = session.count
        session.say(*self.messages, by=by)
        tags = [tag for tag in session.tags if tag not in self.remove_tags]
        after = {**self.attributes, "tags": [*tags, *(tag for tag in self.add_tags if tag not in tags)]}
        differs = any(getattr(session, name) != value for name, value in after.items())
        for name, value in after.items():
            setattr(session, name, value)
        return differs or bool(self.data or self.removed or self.added or self.metadata or session.count > count)


class Library:
    """The calls of the manager."""

    def __init__(self, clock: Clock, options: Options) -> None:
        self._clock = clock
        self.options = options
        self.held = Held()

    @classmethod
    def of(cls, other: "Library") -> "Library":
        """Return a copy, to try something on."""
        copied = cls(other._clock, other.options)
        copied.held = other.held.copy()
        return copied

    @property
    def now(self) -> datetime:
        return self._clock.now()

    # What is there

    def find(self, session_id: str) -> Session | None:
        """Return a session, also a deleted one."""
        conversation = self.held.conversations.get(session_id.partition(".")[0])
        found = conversation.sessions if conversation else ()
        return next((one for one in found if one.session_id == session_id), None)

    def _current_of(self, session_id: str) -> Session | None:
        conversation = self.held.conversations.get(session_id.partition(".")[0])
        return conversation.current if conversation else None

    def existing(self, session_id: str, user_id: str | None = None, right: int = READ) -> Session:
        """Return a session that is there; a user who may not do that to it is not told whether it is."""
        found = self.find(session_id)
        there = found is not None and found.is_there
        if user_id is not None and (found is None or not there or found.right(user_id) < right):
            raise AccessDenied
        if found is None or not there:
            raise SessionNotFound
        return found

    def sessions(self, **where: Any) -> list[Session]:
        """Return the sessions that are there and match, the latest activity first."""
        found = [
            one
            for one in self.held.sessions
            if one.is_there and all(value is None or getattr(one, name) == value for name, value in where.items())
        ]
        found.sort(key=lambda one: one.session_id)
        return sorted(found, key=lambda one: one.last_activity, reverse=True)

    @contextmanager
    def changing(
        self,
        session_id: str,
        user_id: str | None,
        right: int,
        *,
        fence: int | None = None,
        ended: bool = False,
        active: bool = False,
    ) -> Iterator[Session]:
        """Give out the session for a change: all of the body is carried out, or nothing.

        Only a conversation's latest session changes, and only while it is live, unless `ended` sessions take the
        change too. One whose time is over has ended, even if nobody has noticed: the change does. `active`: the change
        is activity, and wakes an idle session. `fence` is the number of the lock that whoever changes it holds: refused
        if a later one was seen.
        """
        conversation = self.held.conversations.get(session_id.partition(".")[0])
        if conversation is None:
            raise AccessDenied if user_id is not None else SessionNotFound
        before = conversation.current.copy()
        current = conversation.current
        if current.over(self.now):
            current.status = SessionStatus.EXPIRED
        try:
            if user_id is not None and (not current.is_there or current.right(user_id) < right):
                raise AccessDenied
            if session_id != current.session_id:
                raise SessionNotCurrent if self.find(session_id) else SessionNotFound
            if not current.is_there or not (current.is_live or ended):
                raise SessionNotFound
            if fence is not None and fence < conversation.fence:
                raise LockLost
            if active and current.status is SessionStatus.IDLE:
                current.status, current.last_activity = SessionStatus.ACTIVE, self.now
            yield current
        except Refused:
            conversation.sessions[-1] = before
            raise
        conversation.fence = max(conversation.fence, fence or 0)

    # Creating

    def create_session(
        self,
        chat_id: str | None = None,
        user_id: str | None = None,
        platform: str = "api",
        *,
        request_id: str,
        agent_id: str | None = None,
        parent_id: str | None = None,
        ai_model: str | None = None,
        tags: Sequence[str] = (),
        template: str | None = None,
        expires_in: float | None = None,
        custom_data: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        keep_live: bool = False,
    ) -> Session:
        """Create the live session of a chat: one that is there is superseded, or returned as it is with `keep_live`.

        Without a chat each call makes a session in a conversation of its own.
        """
        if parent_id is not None:
            self.existing(parent_id, user_id, WRITE)
        if template is not None and template not in self.held.templates:
            raise TemplateNotFound
        key = conversation_key(chat_id, user_id, platform, request_id)
        conversation = self.held.conversations.get(key)
        live = conversation.current if conversation and conversation.current.goes_on(self.now) else None
        if live and keep_live:
            return live
        self._make_room(user_id, key)
        if conversation and conversation.current.is_live:
            conversation.current.status = SessionStatus.CLOSED if live else SessionStatus.EXPIRED
        begin = self.held.templates[template] if template else Template(None, {}, ())
        lifetime = self.options.time_to_live if expires_in is None else expires_in
        created = self._begin(
            key,
            owner=user_id,
            chat=chat_id,
            platform=platform if chat_id else None,
            metadata={**begin.metadata, **(metadata or {})},
            agent_id=agent_id,
            parent_id=parent_id,
            ai_model=ai_model,
            template=template,
            tags=list(tags),
            lifetime=lifetime,
            idle_timeout=self.options.idle_timeout,
        )
        created.begins_anew(self.now)
        created.write(self.now, {**begin.context, **(custom_data or {})})
        return created

    def _begin(self, key: str, **given: Any) -> Session:
        conversation = self.held.conversations.setdefault(key, Conversation())
        session_id = session_id_for(ConversationId(key), len(conversation.sessions) + 1)
        if conversation.sessions:  # a person's conversation goes on as theirs
            given |= {"identity": conversation.current.identity, "clock": conversation.current.clock}
        created = Session(session_id=session_id, created_at=self.now, last_activity=self.now, **given)
        conversation.sessions.append(created)
        conversation.erased = False
        return created

    def _make_room(self, owner: str | None, key: str) -> None:
        """Refuse one session too many, or close those used least lately; what is superseded does not count."""
        limit = self.options.max_sessions_per_user
        if limit is None or owner is None:
            return
        live = [one for one in self.sessions(owner=owner) if one.goes_on(self.now) and conversation_of_(one) != key]
        live.sort(key=lambda one: one.last_activity)
        too_many = live[: max(0, len(live) - limit + 1)]
        if too_many and not self.options.close_oldest:
            raise LimitExceeded
        for one in too_many:
            one.status = SessionStatus.CLOSED

    def restore_or_create_session(self, user_id: str, agent_id: str | None = None, *, request_id: str) -> Session:
        """Return the live session that was used last, or a new one."""
        live = [one for one in self.sessions(owner=user_id, agent_id=agent_id) if one.goes_on(self.now)]
        return live[0] if live else self.create_session(user_id=user_id, agent_id=agent_id, request_id=request_id)

    def session_context(self, where: Where, edit: Edit, *, request: str, fails: bool = False) -> None:
        """Find or create the session of a chat, and save what the body changed; nothing if the body fails."""
        user, chat, platform = where
        found = self.create_session(chat, user, platform, request_id=request, keep_live=True)
        if not fails:
            self.update_session(found.copy(), edit)

    # Changing

    def update_session(
        self,
        read: Session,
        edit: Edit,
        *,
        user_id: str | None = None,
        on_conflict: str = "raise",
        fence: int | None = None,
        request_id: str | None = None,
    ) -> bool:
        """Save what was changed in a copy since it was `read`: all or nothing.

        What others changed meanwhile stays; what both did is a conflict. But additions add up, and so do tags that are
        added and taken out. To end it, or bring its end nearer, is its owner's alone.
        """
        change = Change.of(read, edit, self.options.max_history)
        if not change:
            self.existing(read.session_id, user_id, WRITE)
            return False
        right = OWN if change.ends(self._current_of(read.session_id)) else WRITE
        active = change.status is None
        with self.changing(read.session_id, user_id, right, fence=fence, active=active) as session:
            if on_conflict == "raise":
                change.check(read, session)
            self._check_change(session, change.status)
            if change.make(session, self.now, user_id):
                session.last_activity = self.now
            self._set_status(session, change.status)
        if change.messages:
            self._checkpoint_by_itself(read.session_id)
        return True

    def update_session_metadata(
        self,
        session_id: str,
        metadata: Mapping[str, Any],
        *,
        user_id: str | None = None,
        request_id: str,
        fence: int | None = None,
    ) -> Session:
        """Set keys; the others stay."""
        with self.changing(session_id, user_id, WRITE, active=True, fence=fence) as session:
            if metadata:
                session.metadata |= metadata
                session.last_activity = self.now
        return self.existing(session_id)

    def add_message_to_session(
        self, session_id: str, message: Said, *, user_id: str | None = None, fence: int | None = None
    ) -> Said:
        """Add a message at the end; the same one again changes nothing."""
        if user_id is not None:
            self.existing(session_id, user_id, WRITE)
        found = self.find(session_id)
        if found and message.id in found.said:
            # Who adds what somebody else has added is asked whether they may add anything now.
            current = self._current_of(session_id)
            may = current is not None and current.is_there and current.right(user_id) >= WRITE
            if user_id not in (None, found.said[message.id]) and not may:
                raise AccessDenied
            self._checkpoint_by_itself(session_id)
            return message
        with self.changing(session_id, user_id, WRITE, fence=fence, active=True) as session:
            session.say(message, by=user_id)
            session.last_activity = self.now
        self._checkpoint_by_itself(session_id)
        return message

    def add_message(
        self,
        session_id: str,
        user_id: str | None,
        role: str,
        content: str,
        *,
        message_id: str,
        fence: int | None = None,
    ) -> Said:
        """Add what somebody says; the same as a message that is made first."""
        return self.add_message_to_session(session_id, Said(message_id, content, role), user_id=user_id, fence=fence)

    def set_session_state(
        self,
        session_id: str,
        status: SessionStatus,
        *,
        user_id: str | None = None,
        reason: str | None = None,
        request_id: str,
        fence: int | None = None,
    ) -> None:
        """Move it to another status; its owner alone ends it. Nothing ends, or comes back to life, twice."""
        right = WRITE if status in LIVE else OWN
        with self.changing(session_id, user_id, right, ended=True, fence=fence) as session:
            self._check_change(session, status)
            self._set_status(session, status)

    def close_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        reason: str | None = None,
        request_id: str,
        fence: int | None = None,
    ) -> None:
        """End it; it stays readable."""
        with self.changing(session_id, user_id, OWN, fence=fence) as session:
            session.status = SessionStatus.CLOSED

    def extend_session_lifetime(
        self, session_id: str, seconds: float, *, user_id: str | None = None, request_id: str, fence: int | None = None
    ) -> Session:
        """Move its end; where there was none there is one now, so that its owner alone may."""
        current = self._current_of(session_id)
        right = OWN if current is None or current.expires_at is None else WRITE
        with self.changing(session_id, user_id, right, fence=fence) as session:
            session.expires_at = (session.expires_at or self.now) + timedelta(seconds=seconds)
            session.last_activity = self.now
        return self.existing(session_id)

    def refresh_session(
        self, session_id: str, *, user_id: str | None = None, request_id: str, fence: int | None = None
    ) -> Session:
        """Count as activity, and begin its lifetime anew."""
        with self.changing(session_id, user_id, WRITE, active=True, fence=fence) as session:
            session.begins_anew(self.now)
            session.last_activity = self.now
        return self.existing(session_id)

    def reset_session_history(
        self,
        session_id: str,
        keep_recent: int = 0,
        *,
        user_id: str | None = None,
        request_id: str,
        fence: int | None = None,
    ) -> None:
        """Show the latest messages alone, of those that were still shown."""
        self.existing(session_id, user_id, WRITE)
        with self.changing(session_id, user_id, WRITE, fence=fence) as session:
            session.hidden = max(session.hidden, len(session.messages) - keep_recent)

    def _check_change(self, session: Session, status: SessionStatus | None) -> None:
        if status not in (None, session.status) and status not in FOLLOWS.get(session.status, ()):
            raise TransitionForbidden

    def _set_status(self, session: Session, status: SessionStatus | None) -> None:
        if status is not None and status is not session.status:
            session.status = status
            if status is SessionStatus.ACTIVE:
                session.last_activity = self.now

    # Sharing

    def share_session(
        self,
        session_id: str,
        owner_id: str,
        target_user_id: str,
        permission: str = "read",
        *,
        request_id: str,
        fence: int | None = None,
    ) -> None:
        """Let another user read it, or write to it; its owner alone may."""
        with self._shared(session_id, owner_id, fence) as session:
            session.shares[target_user_id] = permission
            self._seen_by(session)

    def revoke_share(
        self, session_id: str, owner_id: str, target_user_id: str, *, request_id: str, fence: int | None = None
    ) -> None:
        """Take that back."""
        with self._shared(session_id, owner_id, fence) as session:
            session.shares.pop(target_user_id, None)
            self._seen_by(session)

    def set_visibility(
        self, session_id: str, owner_id: str, visibility: str, *, request_id: str, fence: int | None = None
    ) -> None:
        """Say whether everybody may read it."""
        with self._shared(session_id, owner_id, fence) as session:
            session.visibility = visibility

    @contextmanager
    def _shared(self, session_id: str, owner_id: str, fence: int | None) -> Iterator[Session]:
        self.existing(session_id, owner_id, OWN)
        with self.changing(session_id, owner_id, OWN, fence=fence) as session:
            yield session
            session.last_activity = self.now

    def _seen_by(self, session: Session) -> None:
        if session.visibility != "public":
            session.visibility = "shared" if session.shares else "private"

    # Ending

    def delete_session(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        children: str = "refuse",
        request_id: str | None = None,
        fence: int | None = None,
    ) -> bool:
        """Nothing of it is read, listed or counted again; its checkpoints go with it.

        A session with children is not deleted, or they have no parent any more, or go first. Its owner alone may.
        Deleted once more, it leaves those behind that still name it: a rule has deleted it, or they were restored.
        """
        found = self.find(session_id)
        if user_id is not None and (found is None or found.right(user_id) < OWN):
            raise AccessDenied
        if found is None or not found.is_there:
            self._leave_behind(session_id)
            return False
        conversation = self.held.conversations[session_id.partition(".")[0]]
        if fence is not None and fence < conversation.fence:
            raise LockLost
        for child in self.sessions(parent_id=session_id):
            match children:
                case "refuse":
                    raise Refused
                case "cascade":
                    self.delete_session(child.session_id, user_id=user_id, children="cascade")
                case "detach":
                    self._detach(child.session_id)
        self._come_by(session_id)
        self._delete(found)
        conversation.fence = max(conversation.fence, fence or 0)
        return True

    def _delete(self, session: Session) -> None:
        session.status = SessionStatus.DELETED
        session.empty()
        self.held.checkpoints = [one for one in self.held.checkpoints if one.session_id != session.session_id]

    def _come_by(self, session_id: str) -> None:
        """Notice that a conversation's session is over, as every change to the conversation does."""
        current = self._current_of(session_id)
        if current and current.over(self.now):
            current.status = SessionStatus.EXPIRED

    def _detach(self, session_id: str) -> None:
        """Make it nobody's child; one that has ended stays what it was a part of."""
        try:
            with self.changing(session_id, None, WRITE, active=True) as session:
                session.parent_id, session.last_activity = None, self.now
        except (SessionNotFound, SessionNotCurrent):
            pass

    def _leave_behind(self, session_id: str) -> None:
        """Make the live children of a deleted session nobody's."""
        for child in self.sessions(parent_id=session_id):
            if child.is_live:
                self._detach(child.session_id)

    def comes_alone(self, session_id: str, parent_id: str) -> None:
        """Have a session that was created as its parent was deleted be there without one: neither saw the other."""
        found = self.find(session_id)
        if found and found.parent_id == parent_id:
            self._detach(session_id)

    def cleanup_all_expired(self) -> int:
        """Expire those whose time is over, and make idle those that were silent; return how many expired."""
        over = [one for one in self.held.sessions if one.over(self.now)]
        for one in self.held.sessions:
            if one in over:
                one.status = SessionStatus.EXPIRED
            elif one.silent(self.now):
                one.status = SessionStatus.IDLE
        return len(over)

    def cleanup_expired_sessions(self, dry_run: bool = False) -> Cleanup:
        """Do what is due: by sessions' own deadlines first, then by rules, of each session the gravest; or only say it.

        What was to be archived by a call is put away too.
        """
        over = {one.session_id for one in self.held.sessions if one.over(self.now)}
        silent = {one.session_id for one in self.held.sessions if one.silent(self.now)} - over
        if not dry_run:
            self.cleanup_all_expired()
        waiting = [one for one in self.sessions() if one.is_live and not (dry_run and one.session_id in over | silent)]
        due = {one.session_id: rule for one in waiting if (rule := self._rule_for(one))}
        if not dry_run:
            for session_id, rule in due.items():
                self._end_by(session_id, rule)
            for one in self.sessions(status=SessionStatus.ARCHIVED):
                self.archive(one.session_id)
        return Cleanup(over, silent, {(one, rule.rule_id, rule.action) for one, rule in due.items()})

    def _rule_for(self, session: Session) -> Rule | None:
        rules = sorted(self.held.rules.values(), key=lambda rule: (-rule.priority, rule.rule_id))
        return next((rule for rule in rules if rule.holds(session, self.now)), None)

    def _end_by(self, session_id: str, rule: Rule) -> None:
        session = self.existing(session_id)
        match rule.action:
            case "delete":
                self._delete(session)
            case "archive":
                session.status = SessionStatus.EXPIRED
                self.archive(session_id)
            case _:
                session.status = SessionStatus.EXPIRED

    def add_expiry_rule(self, rule: Rule) -> None:
        """Keep a rule, in place of the one of the same id."""
        self.held.rules[rule.rule_id] = rule

    def remove_expiry_rule(self, rule_id: str) -> bool:
        """Take it away; what it did stays done."""
        return self.held.rules.pop(rule_id, None) is not None

    def enable_expiry_rule(self, rule_id: str, enabled: bool = True) -> bool:
        """Switch it on or off; return whether there is one."""
        if rule := self.held.rules.get(rule_id):
            self.held.rules[rule_id] = replace(rule, enabled=enabled)
        return rule is not None

    def batch_cleanup(self, older_than_days: float = 30) -> int:
        """Delete those that ended and had no activity for so long; what is archived is kept."""
        before, deleted = self.now - timedelta(days=older_than_days), 0
        for status in (SessionStatus.CLOSED, SessionStatus.EXPIRED):  # to delete one of the first may end one more
            old = [one for one in self.sessions(status=status) if one.last_activity < before]
            deleted += sum(self.delete_session(one.session_id, children="detach") for one in old)
        return deleted

    # What comes from chats, in the place of a call

    def say(self, where: Where, said: Said) -> None:
        """Somebody says something: it is in the live session of their chat, or begins one. Said again, it is not.

        `/new` begins a new session, which has it as its first message, with all that was told of the one before but
        what was kept in it. A suspended session stays: a chat can't undo that.
        """
        user, chat, platform = where
        key = conversation_at(where)
        conversation = self.held.conversations.get(key)
        if conversation and said.id in conversation.heard:
            return
        current = conversation.current if conversation else None
        if current and current.over(self.now):
            current.status = SessionStatus.EXPIRED
        if current is None or not current.is_live:
            current = self._begin(key, owner=user, chat=chat, platform=platform)
        elif said.content == "/new" and current.status is not SessionStatus.SUSPENDED:
            current.status = SessionStatus.CLOSED
            current = self._begin(key, **current.terms())
            current.begins_anew(self.now)
        elif current.status is SessionStatus.IDLE:
            current.status = SessionStatus.ACTIVE
        current.say(said)
        current.last_activity = self.now
        self.held.conversations[key].heard.add(said.id)

    def change_said(self, where: Where, target: str, *, text: str | None, said: str) -> None:
        """Change what somebody said in this session or an earlier one; None takes it back, for good."""
        if conversation := self._concerned(where, said):
            for session in conversation.sessions:
                session.change_said(target, text)

    def react(self, where: Where, target: str, *, said: str) -> None:
        """React to what was said: it is activity."""
        self._concerned(where, said)

    def _concerned(self, where: Where, said: str) -> Conversation | None:
        """Note that something is about what was said before: it begins no session, and belongs to the last one."""
        conversation = self.held.conversations.get(conversation_at(where))
        if conversation is None or conversation.erased or said in conversation.heard:
            return None
        conversation.heard.add(said)
        if conversation.current.over(self.now):
            conversation.current.status = SessionStatus.EXPIRED
        conversation.current.wake(self.now)
        return conversation

    # The archive

    def archive(self, session_id: str) -> None:
        """Put an ended session away: it is still listed, and nothing that was in it is shown."""
        session = self.find(session_id)
        if session is None or session.is_live or not session.is_there:
            raise TransitionForbidden
        if session.shelf is None:
            self._come_by(session_id)
            session.put_away()

    def restore(self, session_id: str) -> None:
        """Bring it back as it was: a conversation's latest session lives again, with a new end if its own has come."""
        session = self.existing(session_id)
        if session.shelf is None:
            if not session.was_archived:
                raise TransitionForbidden
            return
        self._come_by(session_id)
        session.bring_back(session.shelf)
        session.status = SessionStatus.EXPIRED
        if session is self._current_of(session_id):
            session.status, session.last_activity = SessionStatus.ACTIVE, self.now
            if session.over(self.now):
                session.expires_at = None
                session.begins_anew(self.now)

    def erase(self, user: str) -> None:
        """Forget all that a user had: their sessions are as deleted, and what is heard again brings nothing back."""
        for identity in {one.identity for one in self.held.sessions if one.owner == user}:
            self.held.policies.pop(identity or "", None)
        for conversation in self.held.conversations.values():
            if any(one.owner == user for one in conversation.sessions):
                conversation.erased = True
                for session in conversation.sessions:
                    session.forget()
                self._forget_links(conversation.current.session_id.partition(".")[0])
        gone = {one.session_id for one in self.held.sessions if not one.is_there}
        self.held.checkpoints = [one for one in self.held.checkpoints if one.session_id not in gone]

    def _forget_links(self, conversation: str) -> None:
        """Forget what would link it: its codes, those that it used, how its user is reached, what was suggested."""
        for code in self.held.codes:
            code.gone |= conversation in (code.session_id.partition(".")[0], code.claimed_by)
        self.held.contacts = {place: one for place, one in self.held.contacts.items() if place[1] != conversation}
        self.held.suggestions = {
            named: one
            for named, one in self.held.suggestions.items()
            if conversation not in (session.partition(".")[0] for session in one.session_ids)
        }

    # Sync: what linked sessions share are their data, of each key what was written last

    def link_identities(
        self,
        identity_key: str,
        session_ids: Sequence[str],
        display_name: str | None = None,
        *,
        user_id: str | None = None,
    ) -> list[str]:
        """Say that these conversations are one person's; who does it owns all of them, those linked already too."""
        latest = [self._latest(one, user_id, OWN) for one in session_ids]
        if any(not one.is_there for one in latest):
            raise AccessDenied if user_id is not None else SessionNotFound
        if user_id is not None and any(one.right(user_id) < OWN for one in self.linked(identity_key)):
            raise AccessDenied
        if any(one.identity not in (None, identity_key) for one in latest):
            raise IdentityConflict
        for one in latest:
            self._come_by(one.session_id)
            one.identity = identity_key
        return sorted(one.session_id for one in self.linked(identity_key))

    def unlink_identity(self, session_id: str, *, user_id: str | None = None) -> str | None:
        """Say that it is not, or no longer: nothing is shared with it from now on, what was shared stays."""
        latest = self._latest(session_id, user_id, OWN)
        identity = latest.identity
        if identity is not None:
            self._come_by(session_id)
            latest.identity, latest.unlinked = None, True
        return identity

    def sync_sessions(self, source_session_id: str, *, user_id: str | None = None) -> dict[str, tuple[bool, int]]:
        """Bring what a session has to the live ones that it is linked to, as their policy says.

        Return whose data changed, and how many conflicts each has.
        """
        source = self.existing(source_session_id, user_id, OWN)
        current = self._current_of(source_session_id)
        if source.identity is None or current is None or current.identity != source.identity:
            return {}
        policy = self.get_sync_policy(source.identity)
        offers = source.offers(key for key in source.stamps if any(fnmatchcase(key, one) for one in policy.shares))
        others = [one for one in self.linked(source.identity) if one.is_live and one is not current]
        told = dict[str, tuple[bool, int]]()
        for one in others:
            before = {**one.data}
            if offers:
                self._come_by(one.session_id)
            if one.is_live and policy.manual:
                one.weigh(offers)
            elif one.is_live:
                one.take(offers)
            told[one.session_id] = before != one.data, len(one.conflicts)
        return told

    def list_conflicts(self, identity_key: str | None = None, *, user_id: str | None = None) -> list[Any]:
        """Return what somebody has to choose about, in all live sessions, an identity's, a user's."""
        found = [one for one in self.sessions(identity=identity_key, owner=user_id) if one.conflicts and one.is_live]
        return sorted((one.session_id, one.open_conflicts()) for one in found)

    def resolve_session_conflicts(
        self,
        session_ids: Sequence[str],
        strategy: str | None = None,
        *,
        take_offered: bool | None = None,
        fields: Sequence[str] = (),
        priority: Sequence[str] = (),
        user_id: str | None = None,
    ) -> list[Open]:
        """Choose what is held, or what was offered; by a strategy the later one. It is a new write."""
        if (strategy is None) == (take_offered is None):
            raise SchemaViolation
        for one in session_ids:
            self.existing(one, user_id, OWN)
        keys = [one.removeprefix("/data/") for one in fields]
        found = list[Open]()
        for one in session_ids:
            with self.changing(one, user_id, OWN) as session:
                found += session.choose(self.now, keys, take_offered)
        return found

    def get_sync_policy(self, identity_key: str | None = None, *, user_id: str | None = None) -> Policy:
        """Return how an identity's sessions are synced; without one, all that have no policy of their own."""
        self._check_linked(identity_key, user_id, READ)
        kept = self.held.policies
        return kept.get(identity_key or "default", kept.get("default", Policy()))

    def set_sync_policy(
        self, policy: Policy | None, identity_key: str | None = None, *, user_id: str | None = None
    ) -> None:
        """Keep it, or None: have none any more. Who does it owns all that is linked, and something is."""
        self._check_linked(identity_key, user_id, OWN)
        self.held.policies.pop(identity_key or "default", None)
        if policy is not None:
            self.held.policies[identity_key or "default"] = policy

    def _check_linked(self, identity_key: str | None, user_id: str | None, right: int) -> None:
        linked = self.linked(identity_key or "default")
        if user_id is not None and not (linked and all(one.right(user_id) >= right for one in linked)):
            raise AccessDenied

    # Who is the same person: codes that are shown in one chat and sent from another, and sessions that say so

    def create_claim_code(self, session_id: str, *, valid_for: float = 600.0, user_id: str | None = None) -> Code:
        """Give out a code for a live session, good once."""
        session = self.existing(session_id, user_id, OWN)
        if not valid_for > 0:
            raise SchemaViolation
        if not session.is_live:
            raise SessionNotFound
        code = Code(session_id, session.owner, self.now + timedelta(seconds=valid_for))
        self.held.codes.append(code)
        return code

    def claim(self, where: Where, number: int, text: str, *, said: str, wrong: bool, asked: bool) -> str | None:
        """Somebody sends a code from a chat, perhaps a wrong one: they are answered there, and linked if it is good.

        What only looks like a code is passed over, unless it was sent as one.
        """
        conversation = self.held.conversations.get(conversation_at(where))
        if conversation and said in conversation.heard:
            return None
        self.say(where, Said(said, text, "user"))
        outcome = self._claimed(self.held.codes[number], text, conversation_at(where), wrong=wrong)
        if outcome == "unknown" and not asked:
            return None
        outcome = "wrong" if outcome == "unknown" else outcome
        here = self.held.conversations[conversation_at(where)].current
        here.say(Said(f"answer to {said}", ANSWERS[ClaimOutcome(outcome)], "assistant"))
        return outcome

    def _claimed(self, code: Code, text: str, claimant: str, *, wrong: bool) -> str:
        issuer = code.session_id.partition(".")[0]
        failed = {
            "unknown": code.gone,
            "wrong": wrong,
            "same_session": issuer == claimant,
            "expired": self.now >= code.expires_at,
        }
        if any(failed.values()):
            return next(name for name, so in failed.items() if so)
        both = [self.held.conversations[one].current for one in (issuer, claimant)]
        if code.claimed_by is None:
            if not all(one.is_there for one in both):
                return "wrong"
            known = {one.identity for one in both if one.identity}
            if len(known) > 1:
                return "other_identity"
            number = text.removeprefix("/link ").replace("-", "")[:8]
            code.claimed_by, code.identity = claimant, known.pop() if known else digest_of(("claim", number))
            for one in both:
                if one.identity is None:
                    self._come_by(one.session_id)
                    one.identity = code.identity
        is_theirs = code.claimed_by == claimant and all(one.identity == code.identity for one in both)
        return "linked" if is_theirs else "used"

    def tell_contact(
        self, session_id: str, key: str, value: str | None, *, user_id: str | None, request_id: str
    ) -> None:
        """Say in a session's metadata how its user is reached: who is reached alike may be the same person."""
        self.update_session_metadata(session_id, {key: value}, user_id=user_id, request_id=request_id)
        here, contact = session_id.partition(".")[0], value.strip().casefold() if value else None
        self.held.contacts[key, here] = session_id, contact
        for (same_key, there), (other, theirs) in list(self.held.contacts.items()):
            if contact is None or (same_key, theirs) != (key, contact) or there == here:
                continue
            identities = [self.held.conversations[one].current.identity for one in (here, there)]
            if identities[0] is None or identities[0] != identities[1]:
                first, second = sorted((session_id, other))
                pair = digest_of(("suggestion", first.partition(".")[0], second.partition(".")[0]))
                self.held.suggestions.setdefault(pair, Suggestion(pair, (first, second), key))

    def suggest_links(self, *, user_id: str | None = None) -> list[Suggestion]:
        """Return what is suggested, and was neither confirmed nor dismissed; with a user, of what they own."""
        found = [one for one in self.held.suggestions.values() if one.open and self._may_settle(one, user_id)]
        return sorted(found, key=lambda one: one.suggestion_id)

    def confirm_link(self, suggestion_id: str, *, user_id: str | None = None) -> list[str]:
        """Link two sessions that were suggested: to whom one of them is linked, else to somebody new."""
        found = self._suggested(suggestion_id, user_id)
        latest = [self.held.conversations[one.partition(".")[0]].current for one in found.session_ids]
        identity = next((one.identity for one in latest if one.identity), digest_of(("suggestion", suggestion_id)))
        linked = self.link_identities(identity, [one.session_id for one in latest], user_id=user_id)
        self.held.suggestions[suggestion_id] = replace(found, open=False)
        return linked

    def dismiss_link(self, suggestion_id: str, *, user_id: str | None = None) -> None:
        """Say that they are not one person's, for ever."""
        found = self._suggested(suggestion_id, user_id)
        self.held.suggestions[suggestion_id] = replace(found, open=False)

    def _suggested(self, suggestion_id: str, user_id: str | None) -> Suggestion:
        found = self.held.suggestions.get(suggestion_id)
        if found is None or not found.open or not self._may_settle(found, user_id):
            raise AccessDenied if user_id is not None else SuggestionNotFound
        return found

    def _may_settle(self, suggestion: Suggestion, user_id: str | None) -> bool:
        latest = [self.held.conversations[one.partition(".")[0]].current for one in suggestion.session_ids]
        return user_id is None or all(one.is_there and one.right(user_id) >= OWN for one in latest)

    def linked(self, identity_key: str) -> list[Session]:
        """Return the latest session of each conversation that is linked, if it is there."""
        latest = [conversation.current for conversation in self.held.conversations.values()]
        return [one for one in latest if one.is_there and one.identity == identity_key]

    def _latest(self, session_id: str, user_id: str | None, right: int) -> Session:
        """Return the latest session of a session's conversation."""
        found = self.find(session_id)
        current = self._current_of(session_id)
        if found is None or current is None or not found.is_there or current.right(user_id) < right:
            raise AccessDenied if user_id is not None else SessionNotFound
        return current

    # Many at once

    def create_sessions(self, requests: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Create each; one that is refused stops no other."""
        return [_outcome(lambda one=one: self.create_session(**one)) for one in requests]

    def delete_sessions(
        self, session_ids: Sequence[str], *, user_id: str | None = None, children: str = "refuse"
    ) -> list[Any]:
        """Delete each; one that is refused stops no other."""
        return [
            _outcome(lambda one=one: self.delete_session(one, user_id=user_id, children=children))
            for one in session_ids
        ]

    def delete_user_sessions(self, user_id: str) -> int:
        """Delete all that a user owns, those that ended too."""
        return sum(self.delete_session(one.session_id, children="detach") for one in self.sessions(owner=user_id))

    def delete_agent_sessions(self, agent_id: str, user_id: str | None = None) -> int:
        """Delete all with an agent (of a user)."""
        found = self.sessions(agent_id=agent_id, owner=user_id)
        return sum(self.delete_session(one.session_id, children="detach") for one in found)

    # Checkpoints

    def save_checkpoint(
        self, session_id: str, data: Mapping[str, Any] | None = None, *, user_id: str | None = None, checkpoint_id: str
    ) -> str:
        """Keep data (the session's own) as it is, of a session that ended too. An id is one checkpoint's for ever."""
        session = self.existing(session_id, user_id, WRITE)
        there = self.checkpoint(checkpoint_id)
        if there and there.session_id != session_id:
            raise SchemaViolation
        if not there:
            self.held.checkpoints.append(
                Checkpoint(checkpoint_id, session_id, dict(session.data if data is None else data))
            )
        return checkpoint_id

    def made_again(self, name: str, args: Sequence[Any]) -> None:
        """Note that a call was made again: all that comes of it is a checkpoint that is due, if it adds messages.

        And children of what was deleted that came to it since, by being restored.
        """
        match name, args:
            case "delete_session", (str(session_id), *_) if (found := self.find(session_id)) and not found.is_there:
                self._leave_behind(session_id)
            case (("add_message" | "add_message_to_session"), (str(session_id), *_)):
                self._checkpoint_by_itself(session_id)
            case "update_session", (Session() as read, Edit() as edit):
                if Change.of(read, edit, self.options.max_history).messages:
                    self._checkpoint_by_itself(read.session_id)

    def _checkpoint_by_itself(self, session_id: str) -> None:
        """Save the checkpoint that is due by the number of messages, once for ever: whoever adds one comes by."""
        session, every = self.find(session_id), self.options.checkpoint_every
        turns = session.count // every if session and every else 0
        if session and session.is_there and turns > session.turns:
            session.turns = turns
            self.held.checkpoints.append(Checkpoint(f"{session_id}/auto/{turns}", session_id, dict(session.data)))

    def checkpoint(self, checkpoint_id: str) -> Checkpoint | None:
        """Return a checkpoint."""
        return next((one for one in self.held.checkpoints if one.checkpoint_id == checkpoint_id), None)

    def checkpoints_of(self, session_id: str) -> list[Checkpoint]:
        """Return a session's checkpoints, the latest first."""
        return [one for one in reversed(self.held.checkpoints) if one.session_id == session_id]

    def restore_checkpoint(
        self,
        session_id: str,
        checkpoint_id: str,
        *,
        user_id: str | None = None,
        request_id: str,
        fence: int | None = None,
    ) -> Checkpoint:
        """Make a session's data what it was; messages stay."""
        self.existing(session_id, user_id, WRITE)
        found = self.checkpoint(checkpoint_id)
        if found is None or found.session_id != session_id:
            raise CheckpointNotFound
        with self.changing(session_id, user_id, WRITE, active=True, fence=fence) as session:
            session.write(self.now, found.data, [key for key in session.data if key not in found.data])
            session.last_activity = self.now
        return found

    def delete_checkpoint(
        self, checkpoint_id: str, *, session_id: str | None = None, user_id: str | None = None
    ) -> bool:
        """Delete one; return whether there was one (of that session). Who may not read it is not told."""
        found = self.checkpoint(checkpoint_id)
        if found and session_id not in (None, found.session_id):
            found = None
        if user_id is not None:
            if found is None:
                raise AccessDenied
            self.existing(found.session_id, user_id, WRITE)
        if found:
            self.held.checkpoints.remove(found)
        return found is not None

    def clear_checkpoints(self, session_id: str, *, user_id: str | None = None) -> int:
        """Delete all of a session; return how many."""
        self.existing(session_id, user_id, WRITE)
        mine = self.checkpoints_of(session_id)
        self.held.checkpoints = [one for one in self.held.checkpoints if one not in mine]
        return len(mine)

    # Templates

    def save_template(
        self,
        name: str,
        *,
        system_prompt: str | None = None,
        context: Mapping[str, Any] | None = None,
        capabilities: Sequence[str] = (),
    ) -> Template:
        """Keep it in place of the one there was."""
        self.held.templates[name] = Template(system_prompt, dict(context or {}), tuple(capabilities))
        return self.held.templates[name]

    def delete_template(self, name: str) -> bool:
        """Delete it; sessions made from it stay as they are."""
        return self.held.templates.pop(name, None) is not None

    def apply_template(
        self, session_id: str, name: str, *, user_id: str | None = None, request_id: str, fence: int | None = None
    ) -> None:
        """Set what it says; other keys stay."""
        self.existing(session_id, user_id, WRITE)
        template = self.held.templates.get(name)
        if template is None:
            raise TemplateNotFound
        with self.changing(session_id, user_id, WRITE, active=True, fence=fence) as session:
            if template.context or template.metadata or session.template != name:
                session.last_activity = self.now
            session.write(self.now, template.context)
            session.metadata |= template.metadata
            session.template = name

    # Locks: a conversation's; what is given out is the number of the holder

    def acquire_lock(self, session_id: str, *, timeout: float, lease: float, user_id: str | None = None) -> int:
        """Let one hold it at a time; each holder's number is higher than those before."""
        self.existing(session_id, user_id, WRITE)
        conversation = self.held.conversations[session_id.partition(".")[0]]
        if conversation.locked:
            raise LockTimeout
        conversation.locked, conversation.locks = True, conversation.locks + 1
        return conversation.locks

    def renew_lock(self, session_id: str, number: int, *, lease: float, user_id: str | None = None) -> bool:
        """Whether it is still held."""
        if user_id is not None:
            self.existing(session_id, user_id, WRITE)
        conversation = self.held.conversations[session_id.partition(".")[0]]
        return conversation.locked and conversation.locks == number

    def release_lock(self, session_id: str, number: int, *, user_id: str | None = None) -> bool:
        """Let go; return whether it was held."""
        held = self.renew_lock(session_id, number, lease=0, user_id=user_id)
        if held:
            self.held.conversations[session_id.partition(".")[0]].locked = False
        return held


def conversation_key(chat_id: str | None, user_id: str | None, platform: str, request_id: str) -> str:
    """Return which conversation a session belongs to: that of a user in a chat, or its own."""
    if chat_id is None:
        return digest_of(("unaddressed", user_id, request_id))
    return digest_of(("per_chat_user", platform, chat_id, None, user_id))


def conversation_at(where: Where) -> str:
    """Return the conversation of a chat."""
    user, chat, platform = where
    return conversation_key(chat, user, platform, "")


def conversation_of_(session: Session) -> str:
    """Return a session's conversation."""
    return conversation_of(session.session_id)  # type: ignore[arg-type]


def _check_same(read: Mapping[str, Any], now: Mapping[str, Any], keys: Any) -> None:
    if not all(_same(key, read, now) for key in keys):
        raise EditConflict


def _same(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a key is in both with the same value, as JSON writes it, or in neither."""
    if key not in one or key not in other:
        return key not in one and key not in other
    return json_of(one[key]) == json_of(other[key])


def _outcome(call: Any) -> Any:
    try:
        return call()
    except Exception as error:
        return error
