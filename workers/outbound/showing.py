"""Showing replies while they are being written, and that an answer is: best effort, and within the budget.

Where a message is edited as a reply grows, a record says which: it is noted before that message is sent, and after.
The reply itself, once it is said, takes the message over, so that nothing stands there twice; what nobody goes on with
is marked as broken off. What is shown is dropped first where a platform says that it is too much.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import Final

from agentbus.contracts.address import Address
from agentbus.contracts.base import Announced, Id, Timestamp
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId, InputId, Partition, digest_of
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.contracts.writing import WRITING_LASTS, WritingEnvelope
from agentbus.storage.damage import read_as, unless_damaged
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.adapters.port import (
    Failed,
    Feature,
    Guarantee,
    Outcome,
    RateLimited,
    Sent,
    Streaming,
    Unknown,
)
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.replies import waiting_replies
from agentbus.workers.faults import told
from agentbus.workers.importers.values import fit_id
from agentbus.workers.outbound.channels import Way, Ways, outcome_of
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.pace import Pace
from agentbus.workers.outbound.splitting import split

GOES_ON: Final = "…"
"""Behind what is shown of a reply that is being written."""
BROKEN_OFF: Final = "[…]"
"""Behind what is shown of a reply that nobody goes on with."""

MOST: Final = 1000
"""Replies that are being written that one instance shows at a time."""
TYPING_LASTS: Final = 12.0
"""Seconds after which nobody is at work any more who told nothing since."""

_PROMPTLY: Final = 3.0
"""Seconds that showing something may take: what is behind it in its conversation waits for as long."""
_TYPING_AT_ONCE: Final = 16
_SLOWING: Final = 6.0
"""A message is edited after this part of the time since its reply was begun: some twenty times in the first minute."""
_ALIVE: Final = timedelta(seconds=2 * WRITING_LASTS)
"""After which a message that shows a reply is looked at, should the instance that edits it have died."""
_RENEWED: Final = timedelta(seconds=WRITING_LASTS)
_REMEMBERED: Final = timedelta(hours=1)
"""For how long a reply that was broken off may still be gone on with, by a handler that is tried again."""
_AGAIN: Final = timedelta(seconds=30)
_TRIES: Final = 8
_LOOKS: Final = 5.0
"""Seconds between two looks for what others left."""

_log = Logger(__name__)


class _State(StrEnum):
    """Where a message is that shows a reply."""

    GROWING = "growing"
    """It is edited as the reply grows."""
    BROKEN_OFF = "broken_off"
    """It says that nobody goes on with the reply, for now."""


class Shown(Announced):
    """A message that shows a reply which is being written."""

    writing: Id
    to: Address
    begun_at: Timestamp
    message_id: Id | None = None
    state: _State = _State.GROWING
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a reply finds of what was shown of it."""

    message_id: str | None = None
    """The message that shows its beginning; None if there is none."""
    doubtful: bool = False
    """Whether there may be one, of which nobody knows."""


@dataclass(slots=True)
class _Live:
    """A reply that is being written, as far as is known."""

    writing: str
    to: Address
    text: str
    heard: float
    begun: float
    over: bool = False
    shown: str = ""
    stopped: bool = False
    """Whether nothing more is shown of it until it is sent."""
    edits: int = 0
    by_edits: bool = False
    """Whether the chat has nothing that shows it, and a message is edited."""
    next_at: float = 0.0
    typing_at: float = 0.0

    def is_silent(self, now: float) -> bool:
        """Whether nothing was told of it for so long that nobody goes on with it."""
        return now - self.heard > (WRITING_LASTS if self.text else TYPING_LASTS)


class Showing:
    """Shows replies that are being written, a conversation at a time, under the lease that its replies are sent by."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        ways: Ways,
        pace: Pace,
        *,
        clock: Clock,
        group_of: Callable[[ConversationId], Partition],
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._ways = ways
        self._pace = pace
        self._clock = clock
        self._group_of = group_of
        self._time = time
        self._live: dict[ConversationId, _Live] = {}
        self._said: OrderedDict[tuple[ConversationId, str], None] = OrderedDict()
        self._typing: set[asyncio.Task[None]] = set()
        self._look_at = 0.0

    # What is heard

    def hear(self, told: WritingEnvelope) -> None:
        """Note what a reply reads that is being written. Of one conversation one is shown at a time."""
        conversation, writing, now = ConversationId(told.partitionkey), told.data, self._time()
        if writing.to is None or (conversation, writing.id) in self._said:
            return
        live = self._live.get(conversation)
        if live is not None and live.writing != writing.id and not live.is_silent(now) and not live.over:
            if live.text or writing.over or not writing.text:
                return  # the other one goes on
            live = None
        if live is None or live.writing != writing.id:
            if len(self._live) >= MOST:
                return
            live = self._live[conversation] = _Live(writing.id, writing.to, "", now, now)
        elif writing.over and not live.text:
            del self._live[conversation]  # nothing was shown that would have to be marked
            return
        live.heard, live.over = now, writing.over
        live.text = live.text if writing.over else writing.text

    def said(self, conversation: ConversationId, writing: str) -> None:
        """Show nothing more of a reply: it is said, and about to be sent."""
        self._said[conversation, writing] = None
        while len(self._said) > MOST:
            self._said.popitem(last=False)
        live = self._live.get(conversation)
        if live is not None and (live.writing == writing or not live.text):
            del self._live[conversation]

    def due(self, partitions: Collection[Partition]) -> list[ConversationId]:
        """Return the conversations in which something is to be shown.

        Those of other instances are forgotten, and those in which somebody was at work who is not any more.
        """
        now = self._time()
        for conversation, live in list(self._live.items()):
            idle = not live.text and live.is_silent(now)
            if idle or self._group_of(conversation) not in partitions:
                del self._live[conversation]
        return [conversation for conversation, live in self._live.items() if self._wants(live, now)]

    async def drop(self, conversation: ConversationId) -> None:
        """Show nothing more in a conversation in which that failed unexpectedly; what stands there is left."""
        self._live.pop(conversation, None)
        await keep_trying("forget what is shown", self.forget, conversation)

    async def left(self, groups: Collection[str] | None) -> list[ConversationId]:
        """Return the conversations in which something was shown that nobody may go on with, if it is time to look."""
        if (now := self._time()) < self._look_at:
            return []
        self._look_at = now + _LOOKS
        records = await self._store.records.due(RecordKind.WRITING, self._clock.now(), groups=groups, limit=100)
        return [ConversationId(record.key) for record in records]

    @staticmethod
    def _wants(live: _Live, now: float) -> bool:
        if live.over or live.is_silent(now):
            return True
        return not live.stopped and bool(live.text.strip()) and live.text != live.shown and now >= live.next_at

    # That an answer is being written

    def type(self) -> None:
        """Have platforms show that answers are being written, where it is time to say so again. It waits for nobody."""
        now = self._time()
        for live in self._live.values():
            way = self._ways.to(live.to)
            if way is None or not way.can.typing_seconds or live.over or live.is_silent(now) or now < live.typing_at:
                continue
            if live.text and way.can.streaming is not Streaming.COLLECTED and not live.stopped:
                continue
            if len(self._typing) >= _TYPING_AT_ONCE:
                return
            live.typing_at = now + way.can.typing_seconds * 0.8
            task = asyncio.create_task(self._type(way, live.to), name="show that an answer is being written")
            self._typing.add(task)
            task.add_done_callback(self._typing.discard)

    async def _type(self, way: Way, to: Address) -> None:
        try:
            if await self._pace.is_free(to):
                await way.outbound.typing(to, timeout=_PROMPTLY)
        except Exception as error:
            raise_if_cancelled()
            _log.debug(Action.ADAPTER_FAILED, **told(error))

    async def close(self) -> None:
        """Stop. Idempotent."""
        self._live.clear()
        await ended(self._typing)

    # What is shown of a reply

    async def show(self, conversation: ConversationId, *, share: float, held: Callable[[], bool]) -> None:
        """Show what is to be shown in a conversation now, or mark what nobody goes on with.

        `share` and `held` are as for sending: what the latter says no to is not done. Raises StoreError.
        """
        now, live = self._time(), self._live.get(conversation)
        record = await self._store.records.get(RecordKind.WRITING, conversation)
        shown = unless_damaged(record, _read) if record else None
        if live is not None and (live.over or live.is_silent(now)):
            del self._live[conversation]
            if shown and shown.writing == live.writing:
                await self._break_off(conversation, shown, live.shown, held)
        elif live is not None and self._wants(live, now):
            soon = record is None or record.due_at is None or record.due_at - self._clock.now() < _RENEWED
            await self._grow(conversation, live, shown, share, held, soon=soon)
        elif record is not None and (record.due_at is None or record.due_at <= self._clock.now()):
            if shown is None or shown.state is _State.BROKEN_OFF:
                await self.forget(conversation)
            elif live is None or live.writing != shown.writing:
                await self._break_off(conversation, shown, "", held)
            else:
                await self._note(conversation, shown)

    async def _grow(
        self,
        conversation: ConversationId,
        live: _Live,
        shown: Shown | None,
        share: float,
        held: Callable[[], bool],
        *,
        soon: bool,
    ) -> None:
        """Show what a reply reads by now, by what its platform has for it."""
        way = self._ways.to(live.to)
        if way is None or way.can.streaming is Streaming.COLLECTED:
            live.stopped = True
            return
        text, shows = live.text, way.can.streaming is Streaming.SHOWN and not live.by_edits
        reads = text if shows else marked(text, GOES_ON)
        content = TextContent(text=split(reads, way.can.text_limit, way.can.text_unit)[0])
        if shows:
            await self._preview(conversation, live, way, content, held)
        elif wait := await self._pace.pause(live.to, way.can, share=share):
            live.next_at = self._time() + wait.total_seconds()
            return
        elif shown is not None and shown.writing == live.writing:
            if soon or shown.state is _State.BROKEN_OFF:  # before it says something else than the note
                shown = shown.model_copy(update={"state": _State.GROWING, "tries": 0})
                await self._note(conversation, shown)
            await self._edit(live, way, content, shown, held)
        elif shown is None or shown.state is _State.BROKEN_OFF:
            await self._post(conversation, live, way, content, held)
        live.shown = text
        now = self._time()
        slower = 0.0 if shows else (now - live.begun) / _SLOWING
        live.next_at = now + max(way.can.shown_every, slower)

    async def _preview(
        self, conversation: ConversationId, live: _Live, way: Way, content: TextContent, held: Callable[[], bool]
    ) -> None:
        if not held() or not await self._pace.is_free(live.to):
            return
        key = writing_key(conversation, live.writing)
        outcome = await outcome_of(way.outbound.show(content, live.to, key, timeout=_PROMPTLY))
        if isinstance(outcome, Failed) and outcome.permanent:
            live.by_edits = Feature.EDITS in way.can.sends
            live.stopped = not live.by_edits
        elif isinstance(outcome, RateLimited):
            await self._too_much(live, outcome)

    async def _post(
        self, conversation: ConversationId, live: _Live, way: Way, content: TextContent, held: Callable[[], bool]
    ) -> None:
        """Send a message with the reply's beginning, unless others are to be sent before, or it is said by now."""
        state = await self._outbox.state_of(conversation)
        if InputId(live.writing) in state.recent_inputs:
            self.said(conversation, live.writing)
            return
        if waiting_replies(state) or not held():
            return
        shown = Shown(writing=live.writing, to=live.to, begun_at=self._clock.now())
        await self._note(conversation, shown)
        if not held():
            return  # the note stays: whoever has the lease finds that it was begun
        key = writing_key(conversation, live.writing)
        outcome = await outcome_of(way.outbound.send(content, live.to, key, timeout=_PROMPTLY))
        match outcome:
            case Sent(message_id=message_id):
                await self._note(conversation, shown.model_copy(update={"message_id": fit_id(message_id)}))
                return
            case RateLimited():
                await self._too_much(live, outcome)
                await self.forget(conversation)
            case Failed():
                await self.forget(conversation)
            case Unknown():
                pass  # it may be there: the reply looks for it
        live.stopped = True

    async def _edit(self, live: _Live, way: Way, content: TextContent, shown: Shown, held: Callable[[], bool]) -> None:
        most = way.can.most_edits
        if shown.message_id is None or (most is not None and live.edits >= most // 2):
            live.stopped = True  # those that are left are for the reply itself, and for who goes on with it
            return
        live.edits += 1
        if not held():
            return
        outcome = await outcome_of(way.outbound.edit(shown.message_id, content, live.to, timeout=_PROMPTLY))
        if isinstance(outcome, RateLimited):
            await self._too_much(live, outcome)
        elif isinstance(outcome, Failed) and outcome.permanent:
            live.stopped = True

    async def _too_much(self, live: _Live, outcome: RateLimited) -> None:
        """Show nothing more of a reply: what the platform still takes is kept for what is sent."""
        live.stopped = True
        await self._pace.hold_back(live.to, outcome.after, account=outcome.account)

    async def _break_off(self, conversation: ConversationId, shown: Shown, text: str, held: Callable[[], bool]) -> None:
        """Let a message say that nobody goes on with its reply. The same reply may still be gone on with."""
        if shown.state is _State.BROKEN_OFF:
            return
        way = self._ways.to(shown.to)
        if not held():
            return
        wait: datetime | None = None
        if way is None:
            wait = self._clock.now() + _AGAIN
        elif shown.message_id is not None:
            said = TextContent(text=split(marked(text, BROKEN_OFF), way.can.text_limit, way.can.text_unit)[0])
            outcome = await outcome_of(way.outbound.edit(shown.message_id, said, shown.to, timeout=_PROMPTLY))
            match outcome:
                case RateLimited(after=after, account=account):
                    wait = await self._pace.hold_back(shown.to, after, account=account)
                case Unknown() | Failed(permanent=False):
                    wait = self._clock.now() + _AGAIN
                case _:
                    pass
        if wait is not None and shown.tries < _TRIES:
            await self._note(conversation, shown.model_copy(update={"tries": shown.tries + 1}), due_at=wait)
            return
        over = shown.model_copy(update={"state": _State.BROKEN_OFF})
        await self._note(conversation, over, due_at=self._clock.now() + _REMEMBERED)

    # What a reply finds of it

    async def taken_over(
        self, conversation: ConversationId, writing: str, to: Address, way: Way, content: TextContent
    ) -> Taken | datetime:
        """Return what a reply finds of what was shown of it, or when to look again. Raises StoreError.

        Whoever has noted that says so by `forget`. `content` is the reply's first message: where the platform takes a
        message once, it is given that under the key of what was shown.
        """
        self.said(conversation, writing)
        record = await self._store.records.get(RecordKind.WRITING, conversation)
        shown = unless_damaged(record, _read) if record else None
        if shown is None or shown.writing != writing or shown.to != to:
            return Taken()
        if shown.message_id is not None:
            return Taken(shown.message_id)
        return await self._looked_for(conversation, shown, await self._found(conversation, shown, way, content))

    async def _looked_for(
        self, conversation: ConversationId, shown: Shown, outcome: Outcome | None
    ) -> Taken | datetime:
        match outcome:
            case Sent(message_id=message_id):
                return Taken(fit_id(message_id))
            case None:
                return Taken(doubtful=True)
            case Failed(permanent=True):
                return Taken()
            case RateLimited(after=after, account=account):
                return await self._pace.hold_back(shown.to, after, account=account)
            case Failed() | Unknown():
                if shown.tries >= _TRIES:
                    return Taken(doubtful=isinstance(outcome, Unknown))
                await self._note(conversation, shown.model_copy(update={"tries": shown.tries + 1}))
                return self._clock.now() + timedelta(seconds=2.0 ** min(shown.tries, 5))

    async def _found(
        self, conversation: ConversationId, shown: Shown, way: Way, content: TextContent
    ) -> Outcome | None:
        """Look for the message of which nobody knows whether it was sent; None where nobody can say."""
        since = self._clock.now() - shown.begun_at
        key = writing_key(conversation, shown.writing)
        match way.can.guarantee:
            case Guarantee.IDEMPOTENT if since < timedelta(seconds=way.can.key_seconds):
                return await outcome_of(way.outbound.send(content, shown.to, key))
            case Guarantee.RECONCILED:
                outcome = await outcome_of(way.outbound.reconcile(key, shown.to, shown.begun_at))
                settled = since >= _AGAIN
                return Failed(outcome.reason, permanent=True) if settled and isinstance(outcome, Failed) else outcome
            case _:
                return None

    async def forget(self, conversation: ConversationId) -> None:
        """Forget which message shows a conversation's reply."""
        await self._store.records.delete(RecordKind.WRITING, conversation)

    async def _note(self, conversation: ConversationId, shown: Shown, *, due_at: datetime | None = None) -> None:
        now = self._clock.now()
        record = Record(
            kind=RecordKind.WRITING,
            key=conversation,
            group=str(self._group_of(conversation)),
            created_at=now,
            data=shown.model_dump(mode="json"),
            due_at=due_at or now + _ALIVE,
        )
        await self._store.records.put(record)


def marked(text: str, mark: str) -> str:
    """Return a text with a mark behind it; what ends in a code fence has it on a line of its own."""
    text = text.rstrip()
    last = text.rpartition("\n")[2]
    return f"{text}\n{mark}" if "```" in last or "~~~" in last else f"{text} {mark}".lstrip()


def writing_key(conversation: ConversationId, writing: str) -> str:
    """Return the idempotency key of the message that shows a reply."""
    return f"w-{digest_of((conversation, writing))}"


def _read(record: Record) -> Shown:
    return read_as("what is shown of a reply", Shown.model_validate, record.data)
