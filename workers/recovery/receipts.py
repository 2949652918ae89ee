"""What was erased stays erased: whose data of a backup is from before their erasure is not brought back.

A conversation of theirs alone stays away. In one that others write in too, what was theirs reads as the erasure would
have left it.
"""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.workers.archive.receipts import Receipts
from agentbus.workers.domain.redaction import Subject, Written, people_of, scrub_head, tombstone
from agentbus.workers.erasure.records import texts_in
from agentbus.workers.erasure.shared import Scrubbing
from agentbus.workers.erasure.traces import Person, Traces
from agentbus.workers.recovery.held import Held

_OF_ANYBODY = frozenset({RecordKind.CHECKPOINT, RecordKind.COMPONENTS, RecordKind.TRACKED_EVENT})
"""Records that may hold anybody's words, in any form."""
_OF_NOBODY = frozenset({RecordKind.TEMPLATE, RecordKind.EXPIRY_RULE, RecordKind.INSTALLATION, RecordKind.ERASURE})


@dataclass(frozen=True, slots=True)
class _Erased:
    """Somebody whose data is in a conversation, and who was erased."""

    person: Person
    written: Written
    digested: bool


class Erasures:
    """Goes by the receipts of all erasures that are known here."""

    def __init__(self, receipts: Receipts) -> None:
        self._receipts = receipts
        self._away: set[ConversationId] = set()
        """Conversations that are not brought back."""
        self._scrubbed: set[str] = set()
        self._people: set[str] = set()
        """The ids of erased people that were found, and the identities that they were linked by."""
        self.told: list[Record] = []
        """What the backup itself says of erasures, where it goes to a store that is in use."""
        self.in_use = False
        """Whether it does: somebody may be in there who was erased by what backups say."""

    @property
    def away(self) -> frozenset[ConversationId]:
        """The conversations that were not brought back, of those that were looked at."""
        return frozenset(self._away)

    @property
    def people(self) -> frozenset[str]:
        """The people who were erased, and identities of theirs, of those that were found."""
        return frozenset(self._people)

    async def filtered(self, held: Held) -> "Filtered | None":
        """Return what may be brought back of a conversation; None if nothing of it may."""
        if not self._receipts:
            return Filtered(held, ())
        people = await self._people_in(held)
        erased = [await self._erased(held, one, at) for one, at in sorted(people.items())]
        self._people |= people.keys()
        if any(is_own for _, is_own in erased):
            self._away.add(held.conversation_id)
            self._people |= {head.identity for head in held.heads if head.identity}
            return None
        if erased:
            self._scrubbed.add(held.conversation_id)
        return Filtered(held, [one for one, _ in erased])

    def keeps_out(self, record: Record) -> bool:
        """Whether a record is of somebody who was erased, or of a conversation that is not brought back."""
        if record.kind in _OF_NOBODY or not self._receipts:
            return False
        texts = {record.key, record.group, *texts_in(record.model_dump_json(include={"data"}).encode())}
        conversations = {text.partition(".")[0].partition("/")[0] for text in texts}
        if not (conversations.isdisjoint(self._away) and texts.isdisjoint(self._people)):
            return True
        if record.kind in _OF_ANYBODY and not conversations.isdisjoint(self._scrubbed):
            return True
        return any(self._is_erased(text, record.created_at) for text in texts)

    def keeps_out_parked(self, parked: ParkedInput) -> bool:
        """Whether a parked input names somebody who was erased, or is of a conversation that is not brought back."""
        if not self._receipts:
            return False
        if parked.conversation_id in self._away:
            return True
        if texts := texts_in(parked.body):
            return any(self._is_erased(one, parked.parked_at) for one in texts)
        # In a body that can't be read nothing says where a value ends.
        text = parked.body.decode("utf-8", "replace")
        return any(one in text for one in self._people)

    def _is_erased(self, person: str, at: datetime | None) -> bool:
        erased_at = self._receipts.erased_at(person)
        return erased_at is not None and (at is None or at <= erased_at)

    async def _people_in(self, held: Held) -> dict[str, datetime]:
        """Return who was erased after something that names them, each with when."""
        found: dict[str, datetime] = {}

        def see(people: Iterable[str], at: datetime | None) -> None:
            for one in people:
                erased_at = self._receipts.erased_at(one)
                if erased_at and (at is None or at <= erased_at):
                    found[one] = erased_at

        for head in held.heads:
            if head != tombstone(head):
                see(people_of(head), head.created_at)
        async for commit in held.commits():
            see(people_of(commit), commit.at)
        return found

    async def _erased(self, held: Held, person: str, at: datetime) -> tuple[_Erased, bool]:
        """Return what is to be known to take somebody out, and whether the conversation is theirs alone."""
        subject = Subject(pseudonyms={person: self._receipts.pseudonym_of(person)})
        one, traces = Person(subject=subject, before=at), Traces()
        for head in held.heads:
            traces.read_head(head, one)
        async for commit in held.commits():
            traces.read_commit(commit, one)
        subject = replace(subject, keys=frozenset(traces.keys), owns=traces.owns)
        one, written = replace(one, subject=subject), Written(subject)
        async for commit in held.commits():
            if one.covers(commit.at):
                written.add(commit)
        return _Erased(one, written, traces.digested), traces.is_own


@dataclass(frozen=True, slots=True)
class Filtered:
    """A conversation of a backup without those who were erased since."""

    held: Held
    _erased: Sequence[_Erased]

    @property
    def conversation_id(self) -> ConversationId:
        """Which conversation it is."""
        return self.held.conversation_id

    @property
    def is_whole(self) -> bool:
        """Whether nothing was taken out."""
        return not self._erased

    @property
    def heads(self) -> list[SessionState]:
        """Its sessions, the latest last."""
        return [self._head(head) for head in self.held.heads]

    async def commits(self) -> AsyncGenerator[Commit, None]:
        """Yield its commits, oldest first; as often as one likes, once at a time."""
        scrubbing = [Scrubbing(one.person) for one in self._erased]
        async with aclosing(self.held.commits()) as commits:
            async for commit in commits:
                for one in scrubbing:
                    commit = one.scrubbed(commit)  # noqa: PLW2901 - one after the other
                yield commit

    def _head(self, head: SessionState) -> SessionState:
        for one in self._erased:
            if one.person.covers(head.created_at):
                head = scrub_head(head, one.person.subject, digested=one.digested, written=one.written)
        return head
