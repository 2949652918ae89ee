"""What a conversation holds of a user, found by reading it."""

from dataclasses import dataclass, field
from datetime import datetime

from agentbus.contracts.events import AnyEvent, Commit, MessageAppended, ProfileChanged, SessionStarted
from agentbus.contracts.ids import MessageKey, SessionId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.redaction import Subject, authors_of, scrub, scrub_head, tombstone


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who is erased, under all ids that are linked to theirs."""

    subject: Subject
    """Their ids and what stands in their place; nothing of any conversation."""
    identities: frozenset[str] = frozenset()
    before: datetime | None = None
    """Only what is not later than this: for an erasure that is applied again. None: everything."""

    def covers(self, at: datetime | None) -> bool:
        """Whether what is of this moment is meant."""
        return self.before is None or at is None or at <= self.before


@dataclass(slots=True)
class Traces:
    """What was found in a conversation's heads, log and archive files."""

    keys: set[MessageKey] = field(default_factory=set)
    """Their messages."""
    sessions: set[SessionId] = field(default_factory=set)
    """Sessions that hold something of theirs."""
    messages: int = 0
    """Messages of theirs, and answers sent to them, that still say something."""
    all_messages: int = 0
    """Messages of anybody's that still say something."""
    owns: bool = False
    wrote: bool = False
    others: bool = False
    """Whether somebody else wrote."""
    digested: bool = False
    """Whether an input's id holds one of theirs, so that it has to become a digest."""

    @property
    def found(self) -> bool:
        """Whether there is anything of them that has to go."""
        return bool(self.sessions)

    @property
    def is_own(self) -> bool:
        """Whether the conversation is theirs alone: they own it or wrote in it, and nobody else wrote."""
        return (self.owns or self.wrote) and not self.others

    def read_head(self, head: SessionState, person: Person) -> None:
        """Take up a session's head."""
        if head == tombstone(head) or not person.covers(head.created_at):
            return
        theirs = head.profile.owner in person.subject.pseudonyms or head.identity in person.identities
        self.owns |= theirs
        if theirs or scrub_head(head, person.subject) != head:
            self.sessions.add(head.session_id)

    def read_commit(self, commit: Commit, person: Person) -> None:
        """Take up a commit."""
        if not person.covers(commit.at):
            return
        subject = person.subject
        authors = authors_of(commit)
        self.wrote |= not authors.isdisjoint(subject.known)
        self.others |= not authors <= subject.known
        self.owns |= any(_owner_of(event) in subject.pseudonyms for event in commit.events)
        for event in commit.events:
            if isinstance(event, MessageAppended):
                self._read_message(event, subject)
        if scrub(commit, subject) != commit:
            self.sessions |= {event.session_id for event in commit.events}
            self.digested |= any(subject.input(one) != one for one in commit.inputs)

    def _read_message(self, event: MessageAppended, subject: Subject) -> None:
        content = event.message.content
        says = not isinstance(content, TextContent) or bool(content.text or content.attachments)
        self.all_messages += says
        if subject.concerned(event):
            self.keys.add(event.message.key)
            self.messages += says

    def merge(self, other: "Traces") -> None:
        """Take up what was found elsewhere of the same conversation."""
        self.keys |= other.keys
        self.sessions |= other.sessions
        self.messages += other.messages
        self.all_messages += other.all_messages
        self.owns |= other.owns
        self.wrote |= other.wrote
        self.others |= other.others
        self.digested |= other.digested


def _owner_of(event: AnyEvent) -> str | None:
    return event.profile.owner if isinstance(event, SessionStarted | ProfileChanged) else None
