"""Changing a reply that was sent: its messages are edited, or deleted where it was taken back.

Repeating either changes nothing, so nothing is noted before a message is changed; what is noted after is how far it is.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

from agentbus.contracts.address import Address
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.replies import MAX_REASON_LENGTH, OutgoingReply, ReplyOutcome
from agentbus.storage.port import Store
from agentbus.workers.adapters.port import Failed, Outcome, RateLimited, Sent, Unknown
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.outbound.channels import Way, Ways, outcome_of
from agentbus.workers.outbound.outbox import Outbox, Progress
from agentbus.workers.outbound.pace import Pace
from agentbus.workers.outbound.saying import Reacting, TakenBack, what_it_says
from agentbus.workers.outbound.sending import NO_WAY_PAUSE, Later, LeaseLost, Over, pause_after, text_for
from agentbus.workers.outbound.splitting import split

_TAKEN_BACK: Final = ""
"""What a message says that is to be deleted."""
_A_MOMENT: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class _Change:
    """A reply that is being changed."""

    conversation: ConversationId
    reply: OutgoingReply
    to: Address
    way: Way
    texts: tuple[tuple[str, str], ...]
    """Each of its messages, and what that is to say."""
    progress: Progress


class ReplyChanger:
    """Lets platforms show what replies say by now, as far as that can be done now: it says when to go on."""

    def __init__(
        self, store: Store, outbox: Outbox, ways: Ways, pace: Pace, *, clock: Clock, give_up: float = 86_400.0
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._ways = ways
        self._pace = pace
        self._clock = clock
        self._give_up = timedelta(seconds=give_up)

    async def change(
        self, conversation: ConversationId, reply: OutgoingReply, *, share: float, held: Callable[[], bool]
    ) -> Over | Later:
        """Go on with changing a reply; return what became of it, or when to go on.

        `share` and `held` are as for sending. Raises LeaseLost, StoreError.
        """
        progress = await self._progress(reply)
        change = await self._begun(conversation, reply, progress)
        if not isinstance(change, _Change):
            return change
        for message_id, text in change.texts[len(progress.message_ids) :]:
            if wait := await self._pace.pause(change.to, change.way.can, share=share):
                return Later(self._clock.now() + wait)
            if not held():
                raise LeaseLost
            outcome = await _outcome(change.way, message_id, text, change.to)
            if (ended := await self._after(change, message_id, outcome)) is not None:
                return ended
        return Over(ReplyOutcome.EDITED, tuple(one for one, text in change.texts if text != _TAKEN_BACK)[-1:])

    async def _progress(self, reply: OutgoingReply) -> Progress:
        """Return how far it is with the change that was asked for last."""
        known = await self._outbox.progress(reply.reply_id)
        if known is not None and known.change == reply.changed_at:
            return known
        return Progress(
            pieces=len(reply.earlier_ids) + 1, begun_at=self._clock.now(), change=reply.changed_at, again=reply.again
        )

    async def _begun(
        self, conversation: ConversationId, reply: OutgoingReply, progress: Progress
    ) -> "_Change | Over | Later":
        """Return what is to be changed, or why nothing is."""
        saying = await what_it_says(self._store, conversation, reply)
        if saying is None or isinstance(saying, Reacting) or reply.message_id is None:
            return Over(ReplyOutcome.UNCHANGED, reason="it is not in the log any more")
        now, longest = self._clock.now(), self._give_up
        if progress.begun_at is not None and now - progress.begun_at > longest:
            return Over(ReplyOutcome.UNCHANGED, reason=f"it could not be changed for {longest.total_seconds():g} s")
        way = self._ways.to(saying.to)
        if way is None:
            await self._note(conversation, reply, progress)
            return Later(now + NO_WAY_PAUSE)
        ids, texts = (*reply.earlier_ids, reply.message_id), tuple[str, ...]()
        if not isinstance(saying, TakenBack):
            texts = split(text_for(saying.content, way.can), way.can.text_limit, way.can.text_unit)
        if len(texts) > len(ids):
            return Over(ReplyOutcome.UNCHANGED, reason=f"it would be {len(texts)} messages, and is {len(ids)}")
        said = (*texts, *[_TAKEN_BACK] * (len(ids) - len(texts)))
        return _Change(conversation, reply, saying.to, way, tuple(zip(ids, said, strict=True)), progress)

    async def _after(self, change: _Change, message_id: str, outcome: Outcome) -> Over | Later | None:
        """Return what follows of what a platform said to the change of one message; None: the next one."""
        done = change.progress
        match outcome:
            case Sent():
                change.progress = done.model_copy(update={"message_ids": (*done.message_ids, message_id), "tries": 0})
                if len(change.texts) > 1:
                    await self._note(change.conversation, change.reply, change.progress)
                return None
            case RateLimited(after=after, account=account):
                await self._note(change.conversation, change.reply, done)
                until = await self._pace.hold_back(change.to, after, account=account)
                return Later(max(until, self._clock.now() + _A_MOMENT))
            case Failed(permanent=True, reason=reason):
                return Over(ReplyOutcome.UNCHANGED, reason=reason[:MAX_REASON_LENGTH])
            case Failed() | Unknown():
                tried = done.model_copy(update={"tries": done.tries + 1})
                await self._note(change.conversation, change.reply, tried)
                return Later(self._clock.now() + pause_after(tried.tries))
        assert_never(outcome)

    async def _note(self, conversation: ConversationId, reply: OutgoingReply, progress: Progress) -> None:
        await keep_trying("note how far a change is", self._outbox.note, reply, conversation, progress)


async def _outcome(way: Way, message_id: str, text: str, to: Address) -> Outcome:
    """Let a message say something else, or take it back if it says nothing."""
    edited = TextContent(text=text)
    taken_back = text == _TAKEN_BACK
    call: Awaitable[Outcome] = (
        way.outbound.delete(message_id, to) if taken_back else way.outbound.edit(message_id, edited, to)
    )
    return await outcome_of(call)
