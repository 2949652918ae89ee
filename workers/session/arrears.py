"""Arrears: what was committed and not announced, marked in the store, and announced later from the log, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.members import WorkerId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.faults import told

GROUP: Final = "unannounced"
"""The group of the marks: they are found by whoever owns their conversations, whatever the number of partitions is."""

_SOON: Final = 0.2
LATER: Final = 5.0
"""Seconds until it is tried again, doubled from the one to the other while nothing gets through."""
SETTLE: Final = 5.0
"""Seconds for which a mark made ahead stays after its conversation's last announcement: one serves many commits."""
_PAGE: Final = 100
"""Commits read from the log and announced together, and marks taken away together."""
_LOOKING: Final = 20
"""How much more time than the last look for marks took passes at least until the next one: there may be many."""
_MOST_REFUSED: Final = 3
"""Conversations refused one after the other, with none getting through, after which the rest is left for later."""

_log = Logger(__name__)

Publish = Callable[[Sequence[Commit]], Awaitable[int]]
"""Announces commits of one conversation in their order; returns how many of them got through whole, from the first."""


@dataclass(slots=True, eq=False)
class _Debt:
    """A conversation whose announcements are behind its log."""

    conversation: ConversationId
    next: int
    """The first version that is not announced."""
    last: int
    """The last version that is known of; there may be later ones in the log."""
    mark: Record


@dataclass(slots=True, eq=False)
class _Ahead:
    """A mark made before its conversation's commits, and how many of these are not announced yet."""

    mark: Record
    open: int = 0
    announced: float = -inf
    """When one was announced last, by `monotonic`."""

    def is_over(self, latest: float) -> bool:
        """Whether it stands for nothing that was announced after `latest`, or has yet to be."""
        return not self.open and self.announced < latest


class Arrears:
    """Knows the conversations that are behind, and announces them once the broker takes it.

    A mark says from which version on a conversation may be unannounced. It is kept before the inputs are acknowledged:
    whoever crashes before that gets them again. Where inputs do not come again, because the bus is this process alone,
    the mark is made `ahead` of the commit. What was announced inside a process is lost with it until it was handled:
    there a mark stays until all that it stands for was `heard`, and a while longer. Such a mark is its process's for as
    long as that one `lives`: taken away by another it would be missed at the next commit.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        publish: Publish,
        *,
        mine: Callable[[ConversationId], bool],
        lives: Callable[[WorkerId], Awaitable[bool]],
        heard_until: Callable[[], float],
        writer: WorkerId | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._publish = publish
        self._mine = mine
        self._lives = lives
        self._heard_until = heard_until
        self._writer = writer or ""  # of several processes that write to one store, each has marks of its own
        self._debts: dict[ConversationId, _Debt] = {}
        self._ahead: dict[ConversationId, _Ahead] = {}
        self._paid: dict[str, _Ahead] = {}  # others' marks, by their key, of what was announced here and not heard yet
        self._given_up: set[ConversationId] = set()
        self._begun = asyncio.Event()
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._debts)

    def start(self, *, at_once: bool) -> None:
        """Begin to work, at once or from `begin` on."""
        if at_once:
            self.begin()
        self._task = asyncio.create_task(self._run(), name="announce what is owed")

    def begin(self) -> None:
        """Say that those who are to hear of it are there."""
        self._begun.set()

    async def close(self) -> None:
        """Stop; what is still owed stays marked. Idempotent."""
        if self._task:
            await ended({self._task})

    async def know(self) -> None:
        """Read the marks of conversations that are ours: an owner before us may have left some. Raises StoreError."""
        living: dict[str, bool] = {self._writer: False, "": False}
        try:
            async for mark in iter_records(self._store, RecordKind.UNANNOUNCED, GROUP):
                writer = _writer_of(mark)
                if writer not in living:
                    living[writer] = await self._lives(WorkerId(writer))
                if not living[writer]:
                    self._take_over(mark)
        except StoreDamaged as error:
            raise_if_cancelled()
            _log.error(Action.ANNOUNCING_GIVEN_UP, error=str(error))

    def _take_over(self, mark: Record) -> None:
        conversation = ConversationId(str(mark.data.get("conversation")))
        known = conversation in self._debts or (conversation in self._ahead and self._is_own(mark))
        known = known or mark.key in self._paid
        if not known and conversation not in self._given_up and self._mine(conversation):
            self._debts[conversation] = _Debt(conversation, mark.revision, mark.revision, mark)
            self._more.set()

    def holds_back(self, conversation: ConversationId, last: int) -> bool:
        """Whether commits up to `last` must not be announced now, as earlier ones are owed: they are, after those."""
        debt = self._debts.get(conversation)
        if debt is None:
            return False
        debt.last = max(debt.last, last)
        return True

    async def put_off(self, firsts: Mapping[ConversationId, int]) -> None:
        """Announce conversations later, from these versions on. On return that survives a crash."""
        debts = [_Debt(one, first, first, self._mark(one, self._marked(one, first))) for one, first in firsts.items()]
        await keep_trying("mark as unannounced", self._store.records.put_many, [debt.mark for debt in debts])
        for debt in debts:
            known = self._debts.setdefault(debt.conversation, debt)
            known.next = min(known.next, debt.next)
        _log.warning(Action.ANNOUNCING_PUT_OFF, conversations=len(debts), owed=len(self))
        self._more.set()

    async def ahead(self, commits: Collection[Commit]) -> None:
        """Mark the conversations of commits that are about to be appended, if that has to be ahead of them."""
        if not self._writer:
            return
        new = {
            one.conversation_id: _Ahead(self._mark(one.conversation_id, one.version))
            for one in commits
            if one.conversation_id not in self._ahead
        }
        self._ahead |= new
        for commit in commits:
            self._ahead[commit.conversation_id].open += 1
        if new:
            marks = [one.mark for one in new.values()]
            await keep_trying("mark what is to be announced", self._store.records.put_many, marks)

    def announced(self, commits: Collection[Commit]) -> None:
        """Say that commits marked `ahead` were announced, put off, or not made."""
        if self._writer:
            for commit in commits:
                one = self._ahead[commit.conversation_id]
                one.open -= 1
                one.announced = monotonic()

    def _marked(self, conversation: ConversationId, first: int) -> int:
        """Return the version to mark if `first` is to be announced: there may be earlier ones that nobody heard."""
        ahead = self._ahead.get(conversation)
        return min(first, ahead.mark.revision) if ahead else first

    def _is_own(self, mark: Record) -> bool:
        return _writer_of(mark) == self._writer

    def _mark(self, conversation: ConversationId, version: int) -> Record:
        return Record(
            kind=RecordKind.UNANNOUNCED,
            key=f"{conversation}/{self._writer}",
            group=GROUP,
            created_at=self._clock.now(),
            data={"conversation": conversation},
            revision=version,
        )

    async def _run(self) -> None:
        while not await self._is_begun(LATER):
            await self._settle_ahead()
        look, pause = -inf, LATER
        while True:
            if (begun := monotonic()) >= look:
                await keep_trying("look for what was not announced", self.know)
                look = monotonic() + max(LATER, _LOOKING * (monotonic() - begun))
            paid = await self._pay_some()
            await self._settle_ahead()
            pause = _SOON if paid else min(2 * pause, LATER)
            if not (paid and self._debts) and await self._woken(pause):
                pause = _SOON

    async def _is_begun(self, within: float) -> bool:
        """Wait `within` seconds for those who are to hear; return whether they are there."""
        try:
            async with asyncio.timeout(within):
                await self._begun.wait()
        except TimeoutError:
            raise_if_cancelled()
        return self._begun.is_set()

    async def _woken(self, within: float) -> bool:
        """Wait `within` seconds, or until there is something more to announce; return if there is."""
        try:
            async with asyncio.timeout(within):
                await self._more.wait()
        except TimeoutError:
            raise_if_cancelled()
            return False
        self._more.clear()
        await asyncio.sleep(_SOON)
        return True

    async def _pay_some(self) -> bool:
        """Announce of each conversation what is next; return whether anything got through."""
        paid, refused = False, 0
        for conversation, debt in list(self._debts.items()):
            if not self._mine(conversation):
                self._debts.pop(conversation, None)  # Its owner finds the mark.
            elif await self._pay_or_give_up(debt):
                paid = True
            else:
                refused += 1
                self._debts[conversation] = self._debts.pop(conversation)  # Behind the others.
            if refused >= _MOST_REFUSED and not paid:
                return False
        return paid

    async def _pay_or_give_up(self, debt: _Debt) -> bool:
        try:
            return await self._pay(debt)
        except Exception as error:  # whatever it is: the other conversations' announcements go on
            raise_if_cancelled()
            self._debts.pop(debt.conversation, None)
            self._given_up.add(debt.conversation)
            _log.error(Action.ANNOUNCING_GIVEN_UP, conversation=debt.conversation, **told(error))
            return True

    async def _pay(self, debt: _Debt) -> bool:
        reading = partial(self._store.log.read, debt.conversation, first=debt.next, limit=_PAGE)
        commits = await keep_trying("read what is owed", reading)
        through = await self._publish(commits)
        if through < len(commits):
            debt.next = commits[through].version
            return through > 0
        debt.next = commits[-1].version + 1 if commits else debt.last + 1
        if len(commits) < _PAGE and debt.next > debt.last:
            # First here: what is committed from now on is announced at once, after all that was owed.
            self._debts.pop(debt.conversation, None)
            await self._paid_off(debt)
            _log.info(Action.ANNOUNCED_LATE, conversation=debt.conversation, owed=len(self))
        return True

    async def _paid_off(self, debt: _Debt) -> None:
        """Take away the mark of what was announced now; inside a process, once it was heard."""
        if not self._writer:
            await keep_trying("settle what was owed", self._store.records.drop, [debt.mark])
        elif self._is_own(debt.mark):
            # It may stand for commits that are under way, too.
            ahead = self._ahead.setdefault(debt.conversation, _Ahead(debt.mark))
            ahead.mark, ahead.announced = debt.mark, monotonic()
        else:
            self._paid[debt.mark.key] = _Ahead(debt.mark, announced=monotonic())

    async def _settle_ahead(self) -> None:
        """Take away the marks of what was announced a while ago, and heard."""
        heard = self._heard_until()
        latest = min(heard, monotonic() - SETTLE)
        over = [conversation for conversation, one in self._ahead.items() if one.is_over(latest)]
        marks = [self._ahead.pop(one).mark for one in over if one not in self._debts]
        marks += [self._paid.pop(key).mark for key, one in list(self._paid.items()) if one.is_over(heard)]
        for first in range(0, len(marks), _PAGE):
            some = marks[first : first + _PAGE]
            await keep_trying("take back marks", self._store.records.drop, some)


def _writer_of(mark: Record) -> str:
    """Return the process whose mark it is; nothing if it is of no single one."""
    return mark.key.partition("/")[2]
