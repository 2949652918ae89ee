"""The chronicler: writes down which commits were announced, of all conversations, in one order.

Every process that has readers has one; one of them at a time gets the events, and another one when it is gone. An event
says whose log has gained something; what that is, the log says. So events that come late, twice or not at all make no
difference to what is written, and who was frozen while another took over writes nothing (`Journal.write`).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Final

from agentbus.contracts.errors import StoreDamaged, StoreUnavailable
from agentbus.contracts.events import Commit, topics
from agentbus.contracts.ids import ConversationId, is_conversation
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, raise_if_cancelled, side_by_side
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.disclosure import is_news
from agentbus.workers.faults import told
from agentbus.workers.following.journal import MOST, Journal, Named

SUBSCRIPTION: Final = "journal"
"""The durable subscription that the chroniclers take turns at."""
TOPICS: Final = tuple(f"session.{topic}.*" for topic in topics())
"""All events."""

_PREFETCH: Final = 500
_COMMITS: Final = 20
"""Commits of one conversation that are read at a time."""
_AT_ONCE: Final = 16
"""Conversations that are read side by side."""
_REMEMBERED: Final = 20_000
"""Conversations of which it is remembered how far they are in the journal; of others that is looked up."""
_TURNS: Final = 100
"""How often another one may have written in between, in a row, before that is taken for a fault of the store."""
_APART: Final = 0.05
"""Seconds between two pages at least: what is announced in between comes on one."""
_TIDYING: Final = 60.0
"""Seconds between two looks for what is too old."""

_log = Logger(__name__)


class Chronicler:
    """Writes the journal while it is its turn. `written` is called whenever there is a new page."""

    def __init__(self, bus: Bus, store: Store, journal: Journal, *, written: Callable[[], None]) -> None:
        self._store = store
        self._journal = journal
        self._written = written
        self._next: int | None = None  # the number of the next page; None if that is not known for sure
        self._marks = OrderedDict[ConversationId, int]()
        self._tidy = monotonic() + _TIDYING
        self._again = monotonic()
        self._pump = Pump(self._hear, _let_go, most=_PREFETCH)
        subscribe = partial(
            bus.subscribe, TOPICS, self._pump.push, durable=SUBSCRIPTION, ordered=True, prefetch=_PREFETCH
        )
        self._consumer = SupervisedConsumer("the journal", subscribe, self._pump.forget)

    @property
    def running(self) -> bool:
        """Whether it writes when it is its turn."""
        return self._consumer.running and self._pump.running

    async def start(self) -> None:
        """Begin, or get in line. Raises as `Bus.subscribe` does."""
        self._next = None
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Stop; another one goes on. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    async def _hear(self, batch: list[Delivery]) -> None:
        # An event's id is `<conversation>.<generation>/<sequence>`: there is no need to read it.
        named = dict.fromkeys(delivery.message_id.partition(".")[0] for delivery in batch)
        conversations = [ConversationId(one) for one in named if is_conversation(one)]
        await asyncio.sleep(self._again - monotonic())
        await keep_trying("write down what happened", self.record, conversations)
        self._again = monotonic() + _APART
        await side_by_side(delivery.ack() for delivery in batch)

    async def record(self, conversations: Iterable[ConversationId]) -> None:
        """Write down what the logs of conversations have that is not in the journal. May be called again at any time.

        Raises StoreError; StoreDamaged for a log that can't be read, once all others are written down.
        """
        left = list(dict.fromkeys(conversations))
        damage: StoreDamaged | None = None
        others = 0
        while left:
            try:
                left, found, written = await self._some(left)
            except BaseException:
                self._next = None  # It may have been written, and may not: look.
                raise
            damage = found or damage
            others = 0 if written else others + 1
            if others >= _TURNS:
                raise StoreUnavailable("others write the journal, again and again")
        if self._tidy <= monotonic():
            self._tidy = monotonic() + _TIDYING
            await self._journal.forget((self._next or 1) - 1)
        if damage:
            raise damage

    async def _some(
        self, conversations: list[ConversationId]
    ) -> tuple[list[ConversationId], StoreDamaged | None, bool]:
        """Write a page; return whose logs are still to be looked at, and whether nobody else wrote in between."""
        number = self._next if self._next is not None else await self._find_out()
        some, rest = conversations[:MOST], conversations[MOST:]
        new: list[Named] = []
        ends: dict[ConversationId, int] = {}
        again: list[ConversationId] = []
        damage = None
        for one, commits in await self._unwritten(some):
            if isinstance(commits, StoreDamaged):
                damage = commits
                continue
            taken = commits[: MOST - len(new)]
            if taken:
                new += [Named(one, commit.version) for commit in taken if _has_news(commit)]
                ends[one] = taken[-1].version
            if len(taken) < len(commits) or len(commits) == _COMMITS:
                again.append(one)
        if new and not await self._journal.write(number, new):
            self._next = None
            return conversations, None, False
        if new:
            self._written()
        if ends:
            await self._journal.mark(ends)
            self._remember(ends)
        self._next = number + bool(new)
        return [*again, *rest], damage, True

    async def _find_out(self) -> int:
        """Return the number of the next page. Of the last one, nobody knows whether its marks were made."""
        self._marks.clear()
        last = await self._journal.last()
        ends = {one.conversation: one.version for one in await self._journal.page(last) or ()}
        if ends:
            await self._journal.mark(ends)
        self._next = last + 1
        return self._next

    async def _marks_of(self, conversations: Iterable[ConversationId]) -> dict[ConversationId, int]:
        wanted = list(conversations)
        found = {one: self._marks[one] for one in wanted if one in self._marks}
        looked_up = await self._journal.marks(one for one in wanted if one not in found)
        self._remember(found | looked_up)
        return found | looked_up

    def _remember(self, ends: dict[ConversationId, int]) -> None:
        for one, version in ends.items():
            self._marks[one] = version
            self._marks.move_to_end(one)
        while len(self._marks) > _REMEMBERED:
            self._marks.popitem(last=False)

    async def _unwritten(
        self, conversations: list[ConversationId]
    ) -> list[tuple[ConversationId, list[Commit] | StoreDamaged]]:
        """Return of each conversation the next commits that are not in the journal."""
        marks = await self._marks_of(conversations)
        found: list[tuple[ConversationId, list[Commit] | StoreDamaged]] = []
        for first in range(0, len(conversations), _AT_ONCE):
            some = conversations[first : first + _AT_ONCE]
            read = await side_by_side(self._after(one, marks.get(one)) for one in some)
            found += zip(some, read, strict=True)
        return found

    async def _after(self, conversation: ConversationId, mark: int | None) -> list[Commit] | StoreDamaged:
        try:
            if mark is None:
                mark = await self._before_all(conversation)
            return await self._store.log.read(conversation, first=mark + 1, limit=_COMMITS)
        except StoreDamaged as error:
            raise_if_cancelled()
            _log.error(Action.NOT_JOURNALED, conversation_id=conversation, **told(error))
            return error

    async def _before_all(self, conversation: ConversationId) -> int:
        """Return the version of the last commit that was there before the journal, or that is in it for long."""
        since = await self._journal.unmarked_since()
        last: int | None = None
        while True:
            commits = await self._store.log.read(conversation, last=last, limit=_COMMITS, newest=True)
            for commit in commits:
                if commit.at < since:
                    return commit.version
            if len(commits) < _COMMITS:
                return 0
            last = commits[-1].version - 1


def _has_news(commit: Commit) -> bool:
    return any(is_news(event, commit) for event in commit.events)


async def _let_go(delivery: Delivery, _: Exception) -> None:
    """Go on without what can't be read: the log says whose it is, and it is looked at with the next event of it."""
    await delivery.ack()
