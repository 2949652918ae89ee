"""Sending one reply: message by message, each noted before it is sent and after: none is sent twice unknowingly.

Whoever comes to a reply after a crash goes by the note. Where a message was begun and its end is not known, the
platform's guarantee decides: it is sent again under its key, or the platform is asked, or nobody knows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from agentbus.contracts.address import Address
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.replies import MAX_PIECES, MAX_REASON_LENGTH, InDoubt, OutgoingReply, ReplyOutcome, piece_key
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.adapters.port import Capabilities, Failed, Feature, Guarantee, Outcome, RateLimited, Sent, Unknown
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.importers.values import fit_id
from agentbus.workers.outages import sparingly
from agentbus.workers.outbound.channels import Way, Ways, outcome_of
from agentbus.workers.outbound.outbox import Outbox, Progress
from agentbus.workers.outbound.pace import Pace
from agentbus.workers.outbound.saying import Reacting, Saying, what_it_says
from agentbus.workers.outbound.showing import Showing, Taken
from agentbus.workers.outbound.splitting import split

NO_WAY_PAUSE: Final = timedelta(seconds=30)
"""How long a reply waits for its account to be among this process's."""
LONGEST_PAUSE: Final = timedelta(seconds=60)
"""The longest between two tries of a message that the platform did not take for a reason that may pass."""
SETTLING: Final = timedelta(seconds=30)
"""How long after a message was begun a platform may still come to take it: it is not believed not to have it before."""
ASKING: Final = 8
"""How often a platform is asked, or waited for to tell, what became of a message, before nobody knows."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class Over:
    """What became of a reply: nothing more is to be done for it."""

    outcome: ReplyOutcome
    message_ids: tuple[str, ...] = ()
    reason: str = ""
    maybe_doubled: bool = False
    at_once: bool = False
    """Whether all of it is what it said when this was begun: nothing was sent before."""


@dataclass(frozen=True, slots=True)
class Later:
    """The reply is to be gone on with at a moment."""

    at: datetime


class LeaseLost(Exception):
    """Somebody else may send for this conversation by now."""


@dataclass(slots=True)
class _Job:
    """A reply in hand."""

    conversation: ConversationId
    reply: OutgoingReply
    saying: Saying
    way: Way
    pieces: tuple[str, ...]
    progress: Progress

    @property
    def key(self) -> str:
        """The key of the next message."""
        return piece_key(self.reply.reply_id, len(self.progress.message_ids) + 1, len(self.pieces))

    @property
    def content(self) -> TextContent:
        """The next message. What it answers to goes with the first, what is attached with the last."""
        done = len(self.progress.message_ids)
        first, last = done == 0, done + 1 == len(self.pieces)
        content = self.saying.content
        return TextContent(
            text=self.pieces[done],
            attachments=content.attachments if last and Feature.MEDIA in self.way.can.sends else (),
            reply_to=content.reply_to if first else None,
        )


class ReplySender:
    """Sends replies, as far as they can be sent now. It never waits: it says when to go on."""

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        ways: Ways,
        pace: Pace,
        showing: Showing,
        *,
        clock: Clock,
        in_doubt: InDoubt = InDoubt.HOLD,
        give_up: float = 86_400.0,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._ways = ways
        self._pace = pace
        self._showing = showing
        self._clock = clock
        self._in_doubt = in_doubt
        self._give_up = timedelta(seconds=give_up)

    async def send(
        self, conversation: ConversationId, reply: OutgoingReply, *, share: float, held: Callable[[], bool]
    ) -> Over | Later:
        """Go on with a reply; return what became of it, or when to go on.

        `held` says whether this process may send for the conversation at this moment. Raises LeaseLost if it may not
        any more, StoreError.
        """
        job = await self._job(conversation, reply)
        if isinstance(job, Reacting):
            return await self._react(conversation, reply, job, share, held)
        at_once = isinstance(job, _Job) and not job.progress.message_ids and job.progress.begun_at is None
        while isinstance(job, _Job):
            if _is_whole(job.progress):
                return replace(_sent(job.progress, reply), at_once=at_once)
            ended = await self._step(job, share, held)
            if ended is not None:
                return ended
        return job

    async def _job(self, conversation: ConversationId, reply: OutgoingReply) -> "_Job | Reacting | Over | Later":
        """Return what is to be sent, or why nothing is."""
        progress = await self._outbox.progress(reply.reply_id)
        if progress and progress.again < reply.again:  # somebody has decided since about what was in doubt
            progress = progress.model_copy(update={"begun_at": None, "tries": 0, "again": reply.again})
        if progress and _is_whole(progress):
            return _sent(progress, reply)
        return await self._begun(conversation, reply, progress)

    async def _begun(
        self, conversation: ConversationId, reply: OutgoingReply, progress: Progress | None
    ) -> "_Job | Reacting | Over | Later":
        """Return what is left to be sent, or why nothing is."""
        saying = await what_it_says(self._store, conversation, reply)
        if isinstance(saying, Reacting):
            return saying
        if not isinstance(saying, Saying):
            return self._ended(progress, "it was taken back, or erased, before it was sent")
        if saying.restored and progress is None:
            return Over(ReplyOutcome.UNKNOWN, reason="it came back from a backup, and may have been sent since")
        return await self._placed(conversation, reply, progress, saying)

    async def _placed(
        self, conversation: ConversationId, reply: OutgoingReply, progress: Progress | None, saying: Saying
    ) -> "_Job | Over | Later":
        """Return what is left to be sent, by which way."""
        now = self._clock.now()
        way = self._ways.to(saying.to)
        if now - reply.at > self._give_up and not reply.again:
            return self._ended(progress, f"it could not be sent for {self._give_up.total_seconds():g} s")
        if way is None:
            self._say_no_way(reply, saying.to)
            return Later(now + NO_WAY_PAUSE)
        pieces = split(text_for(saying.content, way.can), way.can.text_limit, way.can.text_unit) or ("",)
        if len(pieces) > MAX_PIECES:
            return self._ended(progress, f"it would be {len(pieces)} messages, the limit is {MAX_PIECES}")
        if progress and progress.pieces != len(pieces):
            return self._doubt(progress, "it was being sent as something else than it is now")
        if progress is None:
            taken = await self._taken_over(conversation, saying, way, pieces)
            if isinstance(taken, datetime):
                return Later(max(taken, now + _A_MOMENT))
            progress = Progress(pieces=len(pieces), again=reply.again, shown=taken.message_id, doubled=taken.doubtful)
        job = _Job(conversation, reply, saying, way, pieces, progress)
        if progress.shown and not progress.message_ids:
            await self._note(job)
            await self._showing.forget(conversation)  # from now on the message is the reply's
        return job

    async def _taken_over(
        self, conversation: ConversationId, saying: Saying, way: Way, pieces: tuple[str, ...]
    ) -> Taken | datetime:
        """Return what was shown of a reply while it was being written, or when to look for it again."""
        first = TextContent(text=pieces[0], reply_to=saying.content.reply_to)
        return await self._showing.taken_over(conversation, saying.message_id, saying.to, way, first)

    def _ended(self, progress: Progress | None, reason: str) -> Over:
        """Give a reply up: it failed, unless a part of it may be at the platform."""
        if progress and progress.begun_at:
            return self._doubt(progress, reason)
        sent = progress.message_ids if progress else ()
        return Over(ReplyOutcome.FAILED, sent, _but_for(reason, progress))

    @staticmethod
    def _doubt(progress: Progress, reason: str) -> Over:
        return Over(ReplyOutcome.UNKNOWN, progress.message_ids, _but_for(reason, progress))

    async def _step(self, job: _Job, share: float, held: Callable[[], bool]) -> Over | Later | None:
        """Do what comes next for a reply; return None if more can be done at once."""
        begun, can = job.progress.begun_at, job.way.can
        lasting = timedelta(seconds=can.key_seconds)
        match can.guarantee:
            case _ if begun is None:
                return await self._in_turn(job, share, held)
            case Guarantee.IDEMPOTENT if self._clock.now() - begun < lasting:
                return await self._in_turn(job, share, held)
            case Guarantee.RECONCILED | Guarantee.IDEMPOTENT:
                return await self._ask(job, begun)
            case Guarantee.UNKNOWN:
                return await self._nobody_knows(job, "it was being sent when the connection, or the worker, died")
            case _:
                assert_never(can.guarantee)

    async def _in_turn(self, job: _Job, share: float, held: Callable[[], bool]) -> Over | Later | None:
        """Send the next message, unless it has to wait."""
        wait = await self._pace.pause(job.saying.to, job.way.can, share=share)
        return Later(self._clock.now() + wait) if wait else await self._try(job, held)

    async def _try(self, job: _Job, held: Callable[[], bool]) -> Over | Later | None:
        """Send the next message. What it comes to is noted; if this does not get so far, the note says it was begun."""
        doubtful = (
            job.progress.begun_at
        )  # an earlier try may have got through: what this one comes to tells nothing of it
        if not held():
            raise LeaseLost
        if (shown := job.progress.shown) is not None:
            return await self._edited(job, shown)
        await self._note(job, begun_at=doubtful or self._clock.now())
        if not held():
            raise LeaseLost
        outcome = await self._outcome(job)
        match outcome:
            case Sent(message_id=message_id):
                ids = (*job.progress.message_ids, fit_id(message_id))
                await self._note(job, message_ids=ids, begun_at=None, tries=0)
                return None
            case RateLimited(after=after, account=account):
                until = await self._pace.hold_back(job.saying.to, after, account=account)
                await self._note(job, begun_at=doubtful)
                return Later(max(until, self._clock.now() + _A_MOMENT))
            case Failed(permanent=True, reason=reason):
                await self._note(job, begun_at=doubtful)
                return self._ended(job.progress, reason)
            case Failed():
                await self._note(job, begun_at=doubtful, tries=job.progress.tries + 1)
                return Later(self._clock.now() + pause_after(job.progress.tries))
            case Unknown(reason=reason):
                return await self._unknown(job, reason)
        assert_never(outcome)

    async def _edited(self, job: _Job, shown: str) -> Over | Later | None:
        """Let the message that shows a reply's beginning say its first part. Repeating that changes nothing."""
        outcome = await outcome_of(job.way.outbound.edit(shown, job.content, job.saying.to), reply=job.reply.reply_id)
        match outcome:
            case Sent():
                await self._note(job, message_ids=(shown,), shown=None, tries=0)
                return None
            case RateLimited(after=after, account=account):
                until = await self._pace.hold_back(job.saying.to, after, account=account)
                return Later(max(until, self._clock.now() + _A_MOMENT))
            case Failed(permanent=True):
                # It is gone, or can't be edited any more: what stands there makes room for the reply.
                await outcome_of(job.way.outbound.delete(shown, job.saying.to), reply=job.reply.reply_id)
                await self._note(job, shown=None)
                return None
            case Failed() | Unknown():
                await self._note(job, tries=job.progress.tries + 1)
                return Later(self._clock.now() + pause_after(job.progress.tries))
        assert_never(outcome)

    async def _outcome(self, job: _Job) -> Outcome:
        return await outcome_of(job.way.outbound.send(job.content, job.saying.to, job.key), reply=job.reply.reply_id)

    async def _unknown(self, job: _Job, reason: str) -> Over | Later | None:
        """Note that nobody knows yet, and what is done about it."""
        await self._note(job, tries=job.progress.tries + 1)
        if job.way.can.guarantee is Guarantee.UNKNOWN:
            return await self._nobody_knows(job, reason)
        return Later(self._clock.now() + pause_after(job.progress.tries))

    async def _ask(self, job: _Job, begun: datetime) -> Over | Later | None:
        """Ask the platform what became of the message that was begun."""
        outcome = await outcome_of(job.way.outbound.reconcile(job.key, job.saying.to, begun), reply=job.reply.reply_id)
        match outcome:
            case Sent(message_id=message_id):
                ids = (*job.progress.message_ids, fit_id(message_id))
                await self._note(job, message_ids=ids, begun_at=None, tries=0)
                return None
            case Failed(permanent=False) if self._clock.now() - begun >= SETTLING:
                await self._note(job, begun_at=None, tries=0)  # how often it was asked about is over
                return None
            case Failed() | Unknown() | RateLimited():
                return await self._not_told(job, outcome)
        assert_never(outcome)

    async def _not_told(self, job: _Job, outcome: Failed | Unknown | RateLimited) -> Over | Later | None:
        """Ask again in a while, unless that was done often enough."""
        if job.progress.tries >= ASKING:
            often = "the platform may not be asked so often"
            return await self._nobody_knows(job, often if isinstance(outcome, RateLimited) else outcome.reason)
        await self._note(job, tries=job.progress.tries + 1)
        if not isinstance(outcome, RateLimited):
            return Later(self._clock.now() + pause_after(job.progress.tries))
        until = await self._pace.hold_back(job.saying.to, outcome.after, account=outcome.account)
        return Later(max(until, self._clock.now() + _A_MOMENT))

    async def _nobody_knows(self, job: _Job, reason: str) -> Over | None:
        """Have somebody decide, or send it again, as the settings say. What is sent again waits its turn as ever."""
        if self._in_doubt is InDoubt.RESEND:
            await self._note(job, begun_at=None, tries=0, doubled=True)
            return None
        return self._doubt(job.progress, reason)

    async def _react(
        self, conversation: ConversationId, reply: OutgoingReply, job: Reacting, share: float, held: Callable[[], bool]
    ) -> Over | Later:
        """React to a message. Repeating that changes nothing, so nothing is noted before, and nothing is in doubt."""
        now, way = self._clock.now(), self._ways.to(job.to)
        if now - reply.at > self._give_up and not reply.again:
            return Over(ReplyOutcome.FAILED, reason=f"it could not be sent for {self._give_up.total_seconds():g} s")
        if way is None:
            self._say_no_way(reply, job.to)
            return Later(now + NO_WAY_PAUSE)
        if wait := await self._pace.pause(job.to, way.can, share=share):
            return Later(now + wait)
        if not held():
            raise LeaseLost
        call = way.outbound.react(job.message_id, job.reaction, job.to)
        return await self._reacted(conversation, reply, job, await outcome_of(call, reply=reply.reply_id))

    async def _reacted(
        self, conversation: ConversationId, reply: OutgoingReply, job: Reacting, outcome: Outcome
    ) -> Over | Later:
        match outcome:
            case Sent():
                return Over(ReplyOutcome.SENT)
            case RateLimited(after=after, account=account):
                until = await self._pace.hold_back(job.to, after, account=account)
                return Later(max(until, self._clock.now() + _A_MOMENT))
            case Failed(permanent=True, reason=reason):
                return Over(ReplyOutcome.FAILED, reason=reason[:MAX_REASON_LENGTH])
            case Failed() | Unknown():
                known = await self._outbox.progress(reply.reply_id)
                tried = Progress(pieces=1, tries=(known.tries if known else 0) + 1, again=reply.again)
                await keep_trying("note how far a reply is", self._outbox.note, reply, conversation, tried)
                return Later(self._clock.now() + pause_after(tried.tries))
        assert_never(outcome)

    @staticmethod
    def _say_no_way(reply: OutgoingReply, to: Address) -> None:
        if (more := sparingly(Action.REPLY_WITHOUT_WAY, to.platform)) is not None:
            account, platform = to.account, str(to.platform)
            _log.warning(Action.REPLY_WITHOUT_WAY, reply=reply.reply_id, platform=platform, account=account, **more)

    async def _note(self, job: _Job, **news: object) -> None:
        job.progress = job.progress.model_copy(update=news)
        note = self._outbox.note
        # Waited out: what is known of a message must not get lost because the store did not answer for a moment.
        await keep_trying("note how far a reply is", note, job.reply, job.conversation, job.progress)


_A_MOMENT: Final = timedelta(milliseconds=1)


def pause_after(tries: int) -> timedelta:
    """Return how long to wait after so many tries: a second, and twice as long each time, up to a minute."""
    return min(timedelta(seconds=2.0 ** min(max(tries - 1, 0), 10)), LONGEST_PAUSE)


def text_for(content: TextContent, can: Capabilities) -> str:
    """Return what is written; what is attached is written too where a channel can't send it otherwise."""
    if Feature.MEDIA in can.sends or not content.attachments:
        return content.text
    links = "\n".join(f"{one.name}: {one.uri}" if one.name else one.uri for one in content.attachments)
    return f"{content.text}\n\n{links}" if content.text.strip() else links


def _sent(progress: Progress, reply: OutgoingReply) -> Over:
    return Over(ReplyOutcome.SENT, progress.message_ids, maybe_doubled=progress.doubled or reply.again > 0)


def _is_whole(progress: Progress) -> bool:
    return len(progress.message_ids) == progress.pieces


def _but_for(reason: str, progress: Progress | None) -> str:
    """Return why a reply ended, and which part of it was sent."""
    if progress and progress.message_ids:
        reason = f"{reason} ({len(progress.message_ids)} of its {progress.pieces} messages were sent)"
    return reason[:MAX_REASON_LENGTH]
