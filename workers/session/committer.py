"""The committer: carries out the turns of many conversations together, and each as if it were alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from time import monotonic, perf_counter

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import CommandReply, ReplyError
from agentbus.contracts.errors import (
    AccessDenied,
    BusError,
    DuplicateInput,
    KilledWorker,
    Refused,
    StoreDamaged,
    StoreError,
    VersionConflict,
)
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import MessageKey
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import SharedLock, raise_if_cancelled
from agentbus.workers.delivery.failures import Failure, failure_of
from agentbus.workers.delivery.parking import Failed, park_all
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import Processed, traces
from agentbus.workers.delivery.trials import PoisonTrials
from agentbus.workers.domain.earlier import concerns_earlier
from agentbus.workers.faults import told
from agentbus.workers.installation.machine import MachineBook
from agentbus.workers.outages import sparingly
from agentbus.workers.session.announcer import Announcer
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.lag import CommitLag
from agentbus.workers.session.lanes import Turn, Waiting
from agentbus.workers.session.live import LiveStates, follow
from agentbus.workers.session.ownership import Ownership
from agentbus.workers.session.plan import Answer
from agentbus.workers.session.rounds import Decider, Planned
from agentbus.workers.session.settling import HeadsFlush
from agentbus.workers.session.sizes import LargeSessions
from agentbus.workers.session.suspects import key_of, suspects_of

_log = Logger(__name__)


@dataclass(slots=True)
class _Unsettled:
    """What was carried out, and is still to be acknowledged or parked."""

    acks: list[Waiting] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    heads: list[SessionState] = field(default_factory=list)
    """What has to be durable first. Of an input that came again that is what an earlier worker may have left."""


class Committer:
    """Loads, decides, appends, writes heads, announces, answers, flushes heads, acknowledges: in this order.

    Append is the commit point. A crash before it leaves no trace, and the inputs are delivered again; a crash after
    it leaves the inputs unacknowledged, and when they come again the log knows them: their events are announced
    again, nothing is decided twice, and a head that is behind the log is written again.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        live: LiveStates,
        ownership: Ownership,
        *,
        config: SessionWorkerConfig,
        clock: Clock,
        metrics: WorkerMetrics,
        company: SharedLock,
        machine: MachineBook,
        lag: CommitLag,
    ) -> None:
        self._company = company
        self._bus = bus
        self._store = store
        self._live = live
        self._ownership = ownership
        self._clock = clock
        self._metrics = metrics
        # To look up a metric's child takes longer than to count with it.
        self._processed = metrics.process_seconds.labels("rabbitmq", "process", "inbound")
        self._consumed = metrics.consumed.labels("rabbitmq", "process", "inbound")
        self._committed = metrics.inputs.labels("committed")
        self._repeated = metrics.inputs.labels("repeated")
        self._refused = metrics.inputs.labels("refused")
        self._large = LargeSessions(metrics)
        self.heads_flush = HeadsFlush(
            store,
            enough=max(1, config.prefetch // 2),
            in_haste=lambda: company.is_wanted or ownership.holdings.are_closing,
        )
        self._announcer = Announcer(
            bus,
            store,
            clock,
            metrics=metrics,
            mine=ownership.owns,
            lives=ownership.lives,
            secret_keys=config.secret_keys,
            writer=ownership.worker_id if config.embedded else None,
        )
        self.arrears = self._announcer.arrears
        self._lag = lag
        self._decider = Decider(store, live, ownership, self.arrears, machine=machine, config=config, clock=clock)

    async def carry_out(self, turns: Sequence[Turn], announced: Callable[[], None]) -> None:
        """Carry out `turns`; on return every one of their inputs is committed, refused or parked, and acknowledged.

        Calls `announced`, once, as soon as their conversations' next turns may begin; where something goes wrong, or
        may, that is on return.
        Those of a partition that was lost meanwhile are dropped instead: they are delivered again, to its owner.
        Waits out store and broker. If the batch fails in a way nobody foresaw, its inputs are tried one by one and
        the culprit is parked, so that one conversation never fails its neighbours. An input that may have killed its
        worker before is tried alone, holding `company` for itself, and parked when it did so too often. So are those
        whose conversation is damaged in the store: replayed, they are applied once that was repaired.
        """
        begun = perf_counter()
        is_over = False

        def over() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._metrics.round_seconds.observe(perf_counter() - begun)
                self._metrics.round_turns.observe(len(turns))
                self._consumed.inc(sum(len(turn.inputs) for turn in turns))
                self._metrics.live_actors.set(len(self._live))
                announced()

        try:
            if not self._ownership.watch.stalled():
                await self._try(turns, over)
        finally:
            over()

    async def _try(self, turns: Sequence[Turn], announced: Callable[[], None]) -> None:
        trials = PoisonTrials(self._store)
        suspects = suspects_of(turns)
        if not suspects:
            await self._carry_out_together(turns, trials, announced)
            return
        await keep_trying("begin trials", trials.begin, suspects)
        alone = [turn for turn in turns if any(trials.must_be_alone(key_of(turn, one)) for one in turn.inputs)]
        await self._carry_out_together([turn for turn in turns if turn not in alone], trials)
        await self._carry_out_singly(alone, trials)
        await keep_trying("end trials", trials.end)

    async def _carry_out_together(
        self, turns: Sequence[Turn], trials: PoisonTrials, announced: Callable[[], None] = lambda: None
    ) -> None:
        try:
            async with self._company.shared():
                unsettled = await self._commit(turns)
                if unsettled.failed:
                    await self._settle(unsettled)
                else:
                    announced()
                    await self._settle_or_requeue(unsettled)
        except Exception as error:
            raise_if_cancelled()
            if (more := sparingly(Action.ROUND_FAILED, type(error).__name__)) is not None:
                _log.error(Action.ROUND_FAILED, turns=len(turns), **told(error), **more)
            await self._carry_out_singly(turns, trials)

    async def _carry_out_singly(self, turns: Sequence[Turn], trials: PoisonTrials) -> None:
        for turn, waiting in [(one, waiting) for one in turns for waiting in one.inputs]:
            try:
                is_counted = trials.counts(key_of(turn, waiting))
                async with self._company.exclusive() if is_counted else self._company.shared():
                    await self._carry_out_alone(turn, waiting, trials)
            except Exception as error:
                # Not even its parking worked, and not because of an outage. It comes again, and at its queue's delivery
                # limit the broker parks it: it must not stop those behind it.
                raise_if_cancelled()
                _log.error(Action.ROUND_FAILED, turns=1, **told(error))
                await waiting.delivery.requeue()

    async def _carry_out_alone(self, turn: Turn, waiting: Waiting, trials: PoisonTrials) -> None:
        self._live.drop(turn.lane.conversation)
        single = Turn(turn.lane, (waiting,))
        try:
            await keep_trying("begin trial", trials.begin_alone, key_of(turn, waiting))
            await self._settle(await self._commit([single], suspect=True), at_once=True)
        except KilledWorker as error:
            await self._give_up([_failed(single, waiting, Failure(error))])
        except Exception as error:
            raise_if_cancelled()
            await self._fail_alone(single, waiting, failure_of(error))
        await keep_trying("end trial", trials.end_alone, key_of(turn, waiting))

    async def _fail_alone(self, single: Turn, waiting: Waiting, failure: Failure) -> None:
        """Park an input that failed while it was carried out, and block its conversation if that is its policy."""
        self._live.drop(single.lane.conversation)
        try:
            await self._settle(await self._commit([single], suspect=True, failure=failure), at_once=True)
        except Exception:
            raise_if_cancelled()
            await self._give_up([_failed(single, waiting, failure)])

    async def _commit(
        self, turns: Sequence[Turn], *, suspect: bool = False, failure: Failure | None = None
    ) -> _Unsettled:
        """Carry out `turns`, announce and answer; what is returned is to be settled.

        `suspect` asks the log about every input instead of the redelivered ones alone.

        If there is a `failure`, that is what becomes of those inputs that the log does not know.
        """
        unsettled = _Unsettled()
        while turns:
            planned = await self._decider.decide(turns, suspect=suspect, failure=failure)
            begun = monotonic()
            done, turns, saved = await self._append(planned)
            appended = (begun, monotonic())
            suspect = True
            heads = _heads_left_by(done)
            if heads and not saved:
                save = self._store.heads.write if self._store.heads.flushes else self._store.heads.save
                self._tell_unkept(heads, await keep_trying("save heads", save, heads))
            commits = [commit for _, plan in done for commit in (plan.commit, *plan.repeated) if commit]
            if any(concerns_earlier(commit) for commit in commits):
                await keep_trying("follow", follow, self._store, commits)
            with self._traced(done, appended) if traces().on else nullcontext():
                await self._announcer.announce([plan for _, plan in done])
                self.arrears.announced([plan.commit for _, plan in done if plan.commit])
                for turn, plan in done:
                    for answer in plan.answers:
                        await self._answer(turn, answer, plan.after, unsettled)
            if not saved:
                unsettled.heads += _heads_behind(done)
        return unsettled

    async def _settle(self, unsettled: _Unsettled, *, at_once: bool = False) -> None:
        """Acknowledge or park what was carried out, once its heads are durable; `at_once`, with no wait for others."""
        inputs = len(unsettled.acks) + len(unsettled.failed)
        await self.heads_flush.durable(unsettled.heads, inputs=inputs, at_once=at_once or bool(unsettled.failed))
        for waiting in unsettled.acks:
            await waiting.delivery.ack()
        await self._give_up(unsettled.failed)

    async def _settle_or_requeue(self, unsettled: _Unsettled) -> None:
        """Settle what is announced. Its conversations have gone on: what can't be settled comes again, and is known."""
        try:
            await self._settle(unsettled)
        except Exception as error:  # whatever it is: it must not stay in hand
            raise_if_cancelled()
            _log.error(Action.ROUND_FAILED, turns=len(unsettled.acks), **told(error))
            for waiting in unsettled.acks:
                await waiting.delivery.requeue()

    @contextmanager
    def _traced(self, done: Sequence[Planned], appended: tuple[float, float]) -> Iterator[None]:
        """Tell of each input that is announced and answered meanwhile by a span, which its events are caused by."""
        answers = [(turn, plan, answer) for turn, plan in done for answer in plan.answers]
        inputs = [
            Processed(
                cause=answer.waiting.traceparent,
                arrived=answer.waiting.arrived,
                appended=appended if answer.events and not answer.repeated else None,
                conversation=turn.lane.conversation,
                partition=turn.lane.partition,
                session=plan.after.session_id if plan.after.generation else None,
                version=plan.after.version,
                events=len(answer.events),
                failed=answer.failure.error.code if answer.failure else None,
            )
            for turn, plan, answer in answers
        ]
        topology = self._bus.topology
        with traces().processing(topology.inbound, topology.events, inputs) as causes:
            for (_, _, answer), cause in zip(answers, causes, strict=True):
                answer.cause = cause
            yield

    @staticmethod
    def _tell_unkept(heads: Sequence[SessionState], outcomes: Sequence[StoreError | None]) -> None:
        """Say which heads the store can't hold: their commits stand, and are read from the log each time."""
        for head, error in zip(heads, outcomes, strict=True):
            if error:
                _log.error(Action.HEAD_REFUSED, session=head.session_id, error=str(error))

    async def _append(self, planned: Sequence[Planned]) -> tuple[list[Planned], list[Turn], bool]:
        """Append what is planned; return the plans that hold now, the turns to decide again, and if heads are saved."""
        self._ownership.watch.stalled()
        planned = [(turn, plan) for turn, plan in planned if turn.lease.valid]
        commits = [plan.commit for _, plan in planned if plan.commit]
        await self.arrears.ahead(commits)
        outcomes: Iterator[StoreError | None] = iter(())
        saved = False
        if commits:
            heads = _heads_left_by(planned)
            appended, kept = await keep_trying("append", self._store.log.commit, commits, heads)
            outcomes = iter(appended)
            if kept is not None:
                self._tell_unkept(heads, kept)
                saved = True
        done: list[Planned] = []
        conflicted: list[Turn] = []
        for turn, plan in planned:
            refusal = next(outcomes) if plan.commit else None
            if refusal is None:
                done.append((turn, plan))
                if not plan.damaged:
                    self._live.put(plan.after)
                    self._large.look(plan.before, plan.after)
                self._metrics.commits.inc(bool(plan.commit))
            elif isinstance(refusal, VersionConflict | DuplicateInput):
                conflicted.append(turn)
                self.arrears.announced([plan.commit] if plan.commit else [])
                self._live.drop(turn.lane.conversation)
                self._metrics.conflicts.inc()
                _log.info(Action.COMMIT_CONFLICT, conversation=turn.lane.conversation, error=str(refusal))
            else:
                raise refusal
        return done, conflicted, saved

    async def _answer(self, turn: Turn, answer: Answer, after: SessionState, unsettled: _Unsettled) -> None:
        """Answer an input, and put it with those to be acknowledged, or parked."""
        waiting = answer.waiting
        if answer.failure:
            if parked := await self._fail(turn, waiting, answer.failure, after):
                unsettled.failed.append(parked)
            else:
                unsettled.acks.append(waiting)
            return
        (self._repeated if answer.repeated else self._committed).inc()
        if waiting.published and not answer.repeated:
            taken = max(0.0, (self._clock.now() - waiting.published).total_seconds())
            self._metrics.publish_to_commit.observe(taken)
            self._lag.note(taken)
        if waiting.delivery.reply_to:
            said = (event.message.key for event in answer.events if isinstance(event, MessageAppended))
            await self._reply(waiting, after, message=next(said, None), repeated=answer.repeated)
        self._processed.observe(monotonic() - waiting.arrived)
        self._ownership.settled(turn.lane.partition)
        unsettled.acks.append(waiting)

    async def _fail(self, turn: Turn, waiting: Waiting, failure: Failure, after: SessionState) -> Failed | None:
        """Tell the caller, if there is one and it was refused; otherwise an operator has to see it."""
        error = failure.error
        if waiting.delivery.reply_to:
            # Who has no access is not told that there is a session either.
            shown = SessionState.empty(after.conversation_id) if isinstance(error, AccessDenied) else after
            # Where things are kept is for operators: the parked input says it.
            words = str(StoreDamaged() if isinstance(error, StoreDamaged) else error)
            await self._reply(waiting, shown, error=ReplyError(code=error.code, message=words))
            if isinstance(error, Refused):
                self._refused.inc()
                return None
        return _failed(turn, waiting, failure)

    async def _give_up(self, failed: Sequence[Failed]) -> None:
        if not failed:
            return
        self._metrics.inputs.labels("parked").inc(len(failed))
        await park_all(self._bus, failed)
        for one in failed:
            if one.conversation:
                self._ownership.settled(self._bus.topology.partition_of(one.conversation), one.failure.error)

    async def _reply(
        self,
        waiting: Waiting,
        after: SessionState,
        *,
        message: MessageKey | None = None,
        repeated: bool = False,
        error: ReplyError | None = None,
    ) -> None:
        reply = CommandReply(
            command_id=waiting.given.id,
            session_id=after.session_id if after.generation else None,
            version=after.version,
            message=message,
            repeated=repeated,
            error=error,
        )
        try:
            await self._bus.answer(waiting.delivery, reply)
        except BusError as failed:
            raise_if_cancelled()
            # A caller that gets no reply asks again with the same id.
            _log.debug(Action.REPLY_FAILED, error=str(failed))


def _heads_left_by(planned: Sequence[Planned]) -> list[SessionState]:
    return [head for _, plan in planned for head in plan.heads if head.generation]


def _heads_behind(done: Sequence[Planned]) -> list[SessionState]:
    """Return the heads that have to be durable before the inputs of `done` are acknowledged."""
    sound = (plan for _, plan in done if not plan.damaged)
    return [head for plan in sound for head in (plan.heads or (plan.before,)) if head.generation]


def _failed(turn: Turn, waiting: Waiting, failure: Failure) -> Failed:
    return Failed(waiting.delivery, failure, turn.lane.conversation, waiting.traceparent)
