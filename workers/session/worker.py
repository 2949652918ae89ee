"""The session worker: owns partitions, and keeps their conversations' sessions."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from agentbus.contracts.base import build
from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import UntrustedSender, WrongPartition
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.members import Member, WorkerKind, WorkerStatus
from agentbus.contracts.queries import AnyQuery
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery, HandedOver
from agentbus.workers.concurrency import SharedLock, ended, in_turn
from agentbus.workers.delivery.parking import ParkingRecorder
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trials import is_suspect
from agentbus.workers.delivery.trust import check_sender
from agentbus.workers.faults import told
from agentbus.workers.installation.machine import INTERVAL, MachineBook
from agentbus.workers.session.committer import Committer
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.holdings import Holding
from agentbus.workers.session.lag import CommitLag
from agentbus.workers.session.lanes import Lanes, Turn, Waiting
from agentbus.workers.session.live import EMBEDDED_BYTES, EMBEDDED_LIVE, MOST_BYTES, LiveStates
from agentbus.workers.session.ownership import Ownership
from agentbus.workers.session.queries import Queries
from agentbus.workers.session.suspects import Suspects
from agentbus.workers.session.unreadable import Unreadable
from agentbus.workers.worker import HAND_BACK_SECONDS, Health, Worker

if TYPE_CHECKING:
    from agentbus.workers.reactive.time_loop import TimeLoop
    from agentbus.workers.session.backlog import Backlog

AHEAD: Final = 0.8
"""The part of the time for which a state machine that was read may be decided by, after which it is read again."""

_log = Logger(__name__)


@dataclass(slots=True)
class _UnderWay:
    """Rounds that have yet to announce, not those that have only to be settled; and the turns in them."""

    rounds: int = 0
    turns: int = 0


class SessionWorker(Worker):
    """Consumes its share of the partitions; deliveries go through lanes and rounds into the store and out as events."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        *,
        config: SessionWorkerConfig | None = None,
        clock: Clock | None = None,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._config = config = config or SessionWorkerConfig()
        clock = clock or SystemClock()
        self._metrics = metrics or WorkerMetrics()
        self._lanes = Lanes()
        room = (
            (min(config.max_live, EMBEDDED_LIVE), EMBEDDED_BYTES) if config.embedded else (config.max_live, MOST_BYTES)
        )
        self._live = LiveStates(store, capacity=room[0], most_bytes=room[1])
        lag = CommitLag()
        self._ownership = Ownership(
            bus,
            store,
            clock,
            prefetch=config.prefetch,
            interval=config.beat,
            ttl=config.ttl,
            stall_limit=config.stall_limit,
            park_limit=config.park_limit,
            embedded=config.embedded,
            on_delivery=self._receive,
            drop=self._drop,
            forget=self._forget,
            behind=self._behind,
            commit_lag=lag.mean,
        )
        self._machine = MachineBook(store)
        self._company = SharedLock()  # who is tried alone holds it exclusively: nothing else is in hand then
        self._committer = Committer(
            bus,
            store,
            self._live,
            self._ownership,
            config=config,
            clock=clock,
            metrics=self._metrics,
            company=self._company,
            machine=self._machine,
            lag=lag,
        )
        self._queries = Queries(bus, store, secret_keys=config.secret_keys)
        self._recorder = ParkingRecorder(bus, store, clock, metrics=self._metrics, trusted=config.command_users)
        self._unreadable = Unreadable(bus, store, self._ownership, metrics=self._metrics)
        self._suspects = Suspects(
            store, self._read, self._unreadable.park, self._ownership.watch.stalled, self._company
        )
        self._context = copy_context()
        self._rounds: set[asyncio.Task[None]] = set()
        self._under_way = _UnderWay()
        self._background = _UnderWay()
        # A store that is embedded makes one transaction after the other: small rounds would wait for each other.
        self._few_turns = 1 if config.embedded else config.few_turns
        self._changed = asyncio.Event()  # set when another round might begin: an input came, or one is over
        self._answers: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._backlog: Backlog | None = None
        self._looking: TimeLoop | None = None

    async def start(self) -> None:
        self._metrics.owned.labels(WorkerKind.SESSION).set_function(lambda: len(self.describe().owns))
        self._metrics.stopped.set_function(lambda: len(self.describe().stopped))
        self._metrics.oldest.set_function(lambda: self._lanes.oldest_seconds)
        self._metrics.backlog.set_function(self._behind)
        if not self._config.embedded:  # What is handed over in one process needs the fewest of them.
            build(InputEnvelope, SessionState, Commit)
        self._dispatcher = asyncio.create_task(self._dispatch(), name="dispatch turns")
        try:
            await keep_trying("read the state machine", self._machine.look)
            await self._recorder.start()
            await self._ownership.start()
            if not self._config.embedded:
                await self._watch()
            self._committer.arrears.start(at_once=not self._config.embedded)
        except BaseException:
            await self.close(within=0)
            raise
        _log.info(Action.WORKER_STARTED, worker=self._ownership.worker_id, owns=len(self.describe().owns))

    def announce_owed(self) -> None:
        """Announce what an earlier worker committed and did not announce; if it is `embedded`, not before this call.

        Those who are to hear of it are in the same process then, and have to have subscribed.
        """
        self._committer.arrears.begin()

    def describe(self) -> Member:
        """Return what the worker tells the others about itself."""
        return self._ownership.describe()

    def health(self) -> Health:
        member, lag = self.describe(), self._ownership.watch.lag
        running = self._dispatcher is not None and not self._dispatcher.done()
        live = running and lag < self._config.stall_limit
        joined = bool(member.owns or member.stands_by)
        return Health(
            live=live,
            ready=live and joined and not member.stopped and member.status is WorkerStatus.RUNNING,
            lag=lag,
            member=member,
        )

    async def wait(self) -> None:
        if self._dispatcher:
            await asyncio.wait([self._dispatcher])
            if not self._dispatcher.cancelled() and (error := self._dispatcher.exception()):
                _log.error(Action.WORKER_FAILED, **told(error))
                raise error

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None:
        """Take no more, finish what is being worked on, and hand the partitions back; what waits is handed back.

        What is not finished `within` seconds, because the store does not answer, say, is given up: it comes again.
        """
        _log.info(Action.WORKER_DRAINING, conversations=len(self._lanes))
        await in_turn(partial(self._ownership.hand_back, within=within), self._end_tasks, self._committer.arrears.close)

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:
        await in_turn(partial(self.drain, within=within), self._recorder.close)
        _log.info(Action.WORKER_CLOSED)

    async def _watch(self) -> None:
        # An embedded worker does without: nobody asks how far it is behind, and it is not to read while it is idle.
        from agentbus.workers.reactive.time_loop import TimeLoop  # noqa: PLC0415 - see above
        from agentbus.workers.session.backlog import Backlog  # noqa: PLC0415 - see above

        self._backlog = Backlog(self._bus, self._ownership.holdings)
        await self._backlog.start()
        self._looking = TimeLoop("read the state machine", self._look_ahead, interval=AHEAD * INTERVAL)
        await self._looking.start()

    async def _look_ahead(self) -> bool:
        """Read the state machine before a round has to, which all that it carries out would wait for."""
        await self._machine.look(anew=True)
        return False

    def _behind(self) -> float:
        return max(self._lanes.oldest_seconds, self._backlog.seconds if self._backlog else 0.0)

    async def _end_tasks(self) -> None:
        """End what is left: no partition is ours any more."""
        tasks = {*self._rounds, *self._answers, *({self._dispatcher} if self._dispatcher else ())}
        watches = [one.close for one in (self._backlog, self._looking) if one]
        await in_turn(
            *watches,
            partial(ended, tasks),
            self._committer.heads_flush.close,
            self._suspects.close,
            self._unreadable.close,
        )

    def _receive(self, holding: Holding, delivery: Delivery) -> None:
        """Put a delivery into its conversation's lane, before anything else can happen: this is what keeps order."""
        holding.active = True
        holding.taken += 1
        if not holding.takes:
            return
        waits = self._company.is_exclusive or self._suspects.are_before(holding.partition)
        if waits or is_suspect(delivery):
            self._suspects.push(holding, delivery)
        else:
            self._read(holding, delivery)

    def _read(self, holding: Holding, delivery: Delivery) -> None:
        handed = delivery.handed
        if handed and not self._config.command_users and self._is_of(holding, handed.conversation):
            self._take_over(holding, delivery, handed)
            return
        try:
            envelope = InputEnvelope.from_bytes(delivery.body)
            check_sender(envelope, delivery, self._config.command_users)
            conversation = self._conversation(envelope, holding)
        except Exception as error:  # whatever it is: it must not stay in hand, neither handled nor parked
            self._turn_down(holding, delivery, error)
            return
        if isinstance(envelope.data, AnyQuery):
            holding.begin_turn()
            self._spawn(self._answers, self._answer(holding, delivery, envelope.input_id, envelope.data))
            return
        self._lanes.push(conversation, holding.partition, Waiting.of(delivery, envelope, holding.lease))
        self._changed.set()

    def _take_over(self, holding: Holding, delivery: Delivery, handed: HandedOver) -> None:
        """Take what was handed over as it is; if nothing else is to be done its turn begins at once."""
        waiting = Waiting(delivery, handed.given, holding.lease)
        if self._may_begin(self._under_way, self._lanes.ready):
            turn = self._lanes.begin(handed.conversation, holding.partition, waiting)
            if turn is not None:
                self._begin_round([turn], self._under_way)
                return
        self._lanes.push(handed.conversation, holding.partition, waiting)
        self._changed.set()

    def _turn_down(self, holding: Holding, delivery: Delivery, error: Exception) -> None:
        """Tell whoever is not trusted and waits for a reply; whatever else can't be taken is parked."""
        if isinstance(error, UntrustedSender) and delivery.reply_to:
            holding.begin_turn()
            self._spawn(self._answers, self._refuse(holding, delivery, error))
        else:
            self._unreadable.push(holding, delivery, error)

    def _conversation(self, envelope: InputEnvelope, holding: Holding) -> ConversationId:
        conversation = envelope.conversation(self._config.scope)
        if self._is_of(holding, conversation):
            return conversation
        topology = self._bus.topology
        raise WrongPartition(
            f"conversation {conversation} belongs to partition {topology.partition_of(conversation)} of "
            f"{topology.partitions}, the input came by {holding.queue}: was it published with another number of "
            "partitions, or to a partition by hand?"
        )

    def _is_of(self, holding: Holding, conversation: ConversationId) -> bool:
        return self._bus.topology.partition_of(conversation) == holding.partition

    async def _answer(self, holding: Holding, delivery: Delivery, query_id: InputId, query: AnyQuery) -> None:
        try:
            await self._queries.answer(delivery, query_id, query)
        finally:
            holding.end_turn()

    async def _refuse(self, holding: Holding, delivery: Delivery, error: UntrustedSender) -> None:
        try:
            self._metrics.inputs.labels("refused").inc()
            await self._queries.refuse(delivery, error)
        finally:
            holding.end_turn()

    def _drop(self, holding: Holding) -> None:
        """Drop what waits of a partition: it is delivered again."""
        self._lanes.drop(holding.partition)
        self._suspects.drop()

    def _forget(self, holding: Holding) -> None:
        """Drop what waits of a partition that is not ours any more, and the states of its conversations."""
        self._drop(holding)
        topology = self._bus.topology
        self._live.drop_where(lambda conversation: topology.partition_of(conversation) == holding.partition)

    async def _dispatch(self) -> None:
        """Begin a round at once while little is under way; beside more only when there is enough for another one.

        Background has rounds of its own, so that nobody waits for the end of one that is full of it.
        """
        while True:
            await self._lanes.readiness.wait()
            if self._lanes.ready and self._may_begin(self._under_way, self._lanes.ready):
                self._begin_round(self._lanes.take(self._config.max_turns), self._under_way)
            elif self._lanes.ready_background and self._may_begin(self._background, self._lanes.ready_background):
                turns = self._lanes.take(self._config.background_turns, background=True)
                self._begin_round(turns, self._background)
            else:
                self._changed.clear()
                await self._changed.wait()

    def _may_begin(self, beside: "_UnderWay", ready: int) -> bool:
        if beside.turns < self._few_turns:
            return True
        return beside.rounds < self._config.max_rounds and ready >= self._config.enough_turns

    def _begin_round(self, turns: list[Turn], among: "_UnderWay") -> None:
        """Begin turns that were taken just now, and note it: a partition is not handed back with one under way."""
        holdings = [holding for turn in turns if (holding := self._ownership.holdings.get(turn.lane.partition))]
        for holding in holdings:
            holding.begin_turn()
        among.rounds += 1
        among.turns += len(turns)
        # Not in the context of whoever handed the first of them over: what it logs, and begins, is not theirs.
        task = asyncio.create_task(self._round(turns, holdings, among), context=self._context.copy())
        self._rounds.add(task)
        task.add_done_callback(self._rounds.discard)

    async def _round(self, turns: list[Turn], holdings: list[Holding], among: "_UnderWay") -> None:
        try:
            await self._committer.carry_out(turns, partial(self._release, turns, among))
        finally:
            for holding in holdings:
                holding.end_turn()

    def _release(self, turns: list[Turn], among: "_UnderWay") -> None:
        """Let the next turns of their conversations begin."""
        among.rounds -= 1
        among.turns -= len(turns)
        for turn in turns:
            self._lanes.done(turn.lane)
        self._changed.set()

    @staticmethod
    def _spawn(group: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        group.add(task)
        task.add_done_callback(group.discard)
        return task
