"""The watch: takes what is due, in bulk, and does it; a deadline stays until the head shows that it is done."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.chunks import chunks
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.concurrency import ended, raise_if_cancelled
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.commands import ExpiryCommands, Order, Overtaken
from agentbus.workers.expiry.watch.deadlines import UNCLEAR, Deadlines
from agentbus.workers.expiry.watch.pace import Pace
from agentbus.workers.expiry.watch.phases import (
    Archive,
    Discard,
    Phase,
    again_after,
    is_stripped,
    next_phase,
    tries_of,
)
from agentbus.workers.faults import told
from agentbus.workers.reactive.time_loop import Share

BATCH: Final = 500
"""Sessions that are looked at together."""

_TOGETHER: Final = 50
"""Sessions that are moved to the archive together."""
_MOVES: Final = 4
"""Moves, each of one or of many, that are made at a time."""
_MOVES_WAITING: Final = BATCH
"""Sessions that wait for it or are moved: no more heads are held than by a look at what is due."""
_NO_ROOM: Final = timedelta(seconds=0.5)
"""How long a session waits at least that there was no room for."""
_LOOKED_AT: Final = timedelta(milliseconds=2)
"""Between two sessions that there was no room for, when they are looked at again: how fast room may be found."""
GRACE: Final = 5.0
"""Seconds that a move under way may take to come to its end when the watch is closed."""
_ARCHIVING: Final = timedelta(seconds=60)
"""After this long somebody looks whether a move to the archive was finished."""

_log = Logger(__name__)


_Move = Archive | Discard | ExpireSession
"""What is done in several steps, each after the one before it: beside the watch. Of a rule's steps it is a merge."""


@dataclass(slots=True)
class _Turn:
    """What one look at what is due comes to."""

    rooms: dict[str, int]
    """How many commands each partition may be given yet."""
    orders: list[Order] = field(default_factory=list)
    without_room: int = 0
    """Those that are left due, as their partition has been given all that it may."""
    moves: list[tuple[SessionState, _Move]] = field(default_factory=list)
    given: list[Record] = field(default_factory=list)
    """Deadlines of what is given, put off until it is looked for."""
    kept: list[Record] = field(default_factory=list)
    done: list[Record] = field(default_factory=list)
    failed: list[tuple[SessionState, str, Exception]] = field(default_factory=list)


class DueWatch:
    """Does what is due in this instance's partitions.

    First commands are given, then their deadlines are put off: who dies between the two leaves them due, and the same
    commands are given again, with the same ids.
    """

    def __init__(
        self,
        store: Store,
        share: Share,
        book: RuleBook,
        deadlines: Deadlines,
        *,
        acting: ExpiryCommands,
        pace: Pace,
        figures: StatisticsRecorder,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._store = store
        self._share = share
        self._book = book
        self._deadlines = deadlines
        self._acting = acting
        self._pace = pace
        self._figures = figures
        self._clock = clock
        self._metrics = metrics
        self._moving: dict[SessionId, asyncio.Task[None]] = {}
        self._under_way: set[SessionId] = set()
        self._no_room_until = clock.now()
        """When the last session is looked at again that there was no room for."""
        self._room = asyncio.Semaphore(_MOVES)

    async def turn(self) -> bool:
        """Do the earliest of what is due; return whether there may be more."""
        groups = self._share.groups
        if groups is not None and not groups:
            return False
        rooms = await self._pace.rooms(groups)
        if not rooms:
            return False
        now = self._clock.now()
        limit = min(BATCH, sum(rooms.values()))
        if groups is not None or len(rooms) < self._pace.partitions:
            groups = frozenset(rooms)
        records = await self._store.records.due(RecordKind.DEADLINE, now, groups=groups, limit=limit)
        if not records:
            return False
        heads = await self._store.heads.get_many([SessionId(record.key) for record in records])
        turn = self._sorted(records, heads, now, rooms)
        if turn.orders:
            await self._acting.give(turn.orders)
            self._pace.given((self._deadlines.group_of(order.head), order.head) for order in turn.orders)
        if turn.given:
            await self._store.records.put_off(turn.given)
        if turn.kept:
            await self._store.records.put_many(turn.kept)
        if turn.done:
            await self._store.records.drop(turn.done)
        self._begin(turn.moves)
        for head, rule_id, error in turn.failed:
            await self._say_failed(head, rule_id, error)
        if turn.without_room:
            # Those that have none are left out next time. Where most is due in few of them, it is read for little.
            return bool(turn.orders) and turn.without_room < limit / 2
        return len(records) == limit

    async def close(self) -> None:
        """Let moves that are under way come to an end for some seconds, and stop. Idempotent.

        A move that is cut short, or was not begun, is made by whoever looks next.
        """
        moving = dict(self._moving)
        under_way = {task for session, task in moving.items() if session in self._under_way}
        try:
            await ended(set(moving.values()) - under_way)
            if under_way:
                await asyncio.wait(under_way, timeout=GRACE)
        finally:
            await ended(under_way)

    def _sorted(
        self, records: list[Record], heads: Mapping[SessionId, SessionState], now: datetime, rooms: dict[str, int]
    ) -> _Turn:
        turn = _Turn(rooms)
        for record in records:
            head = heads.get(SessionId(record.key))
            if head is None:
                turn.done.append(record)
                continue
            try:
                phase = next_phase(self._book.rules, head, now, stripped=is_stripped(record))
            except ConfigurationError as error:
                turn.kept.append(self._deadlines.record(head, now + UNCLEAR, stripped=is_stripped(record)))
                turn.failed.append((head, "custom", error))
                continue
            self._place(turn, record, head, phase, now)
        return turn

    def _place(self, turn: _Turn, record: Record, head: SessionState, phase: Phase, now: datetime) -> None:
        """Note what is done in a phase, and when the session is looked at next."""
        stripped = is_stripped(record)
        match phase:
            case None:
                turn.done.append(record)
            case ExpireSession() | ApplyDeadlines() if not self._has_room(turn, head, phase):
                turn.without_room += 1
            case ExpireSession() | ApplyDeadlines():
                tries = tries_of(record) if record.revision == head.version else 0
                if not tries and record.due_at:
                    self._metrics.expiry_lateness.observe(max(0.0, (now - record.due_at).total_seconds()))
                at = now + again_after(tries)
                if isinstance(phase, ExpireSession) and phase.action is CleanupAction.MERGE:
                    at = self._place_move(turn, head, phase, now, at)
                else:
                    turn.orders.append(Order(head, phase, tries))
                again = self._deadlines.record(head, at, tries=tries + 1, stripped=stripped)
                as_kept = (again.group, again.created_at) == (record.group, record.created_at)
                (turn.given if as_kept else turn.kept).append(again)
            case Archive() | Discard():
                at = self._place_move(turn, head, phase, now, now + _ARCHIVING)
                turn.kept.append(self._deadlines.record(head, at))
            case _:
                turn.kept.append(self._deadlines.record(head, phase.at, stripped=stripped))

    def _has_room(self, turn: _Turn, head: SessionState, phase: ExpireSession | ApplyDeadlines) -> bool:
        """Whether the command may be given now; it takes its room then. Merges are counted by themselves."""
        if isinstance(phase, ExpireSession) and phase.action is CleanupAction.MERGE:
            return True
        group = self._deadlines.group_of(head)
        # A deadline may be kept under another partition's number: theirs was changed since.
        left = turn.rooms[group] if group in turn.rooms else self._pace.room(group)
        turn.rooms[group] = left - 1
        return left > 0

    def _place_move(self, turn: _Turn, head: SessionState, phase: _Move, now: datetime, at: datetime) -> datetime:
        """Have a move made, unless it is under way; return when to look again: at `at` if there is room for it."""
        if head.session_id not in self._moving:
            if len(self._moving) + len(turn.moves) >= _MOVES_WAITING:
                self._no_room_until = max(self._no_room_until, now + _NO_ROOM) + _LOOKED_AT
                return self._no_room_until
            turn.moves.append((head, phase))
        return at

    def _begin(self, moves: Sequence[tuple[SessionState, _Move]]) -> None:
        """Begin to make moves: those to the archive together, each of the others by itself."""
        to_archive = [head for head, phase in moves if isinstance(phase, Archive)]
        for heads in chunks(to_archive, _TOGETHER):
            self._begin_one([head.session_id for head in heads], partial(self._archive, heads))
        for head, phase in moves:
            if not isinstance(phase, Archive):
                self._begin_one([head.session_id], partial(self._move, head, phase))

    def _begin_one(self, sessions: Sequence[SessionId], move: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._in_its_turn(sessions, move), name=f"move {sessions[0]}")
        self._moving.update(dict.fromkeys(sessions, task))

    async def _in_its_turn(self, sessions: Sequence[SessionId], move: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._room:
                self._under_way.update(sessions)
                await move()
        finally:
            self._under_way.difference_update(sessions)
            for session in sessions:
                self._moving.pop(session, None)

    async def _archive(self, heads: Sequence[SessionState]) -> None:
        """Move sessions to the archive, and look at what comes after."""
        try:
            failed = await self._acting.archive(heads)
            await self._look_at_moved([head.session_id for head in heads if head.session_id not in failed])
        except Exception as error:
            raise_if_cancelled()
            failed = {head.session_id: error for head in heads}
        for head in heads:
            if error_of_it := failed.get(head.session_id):
                await self._say_not_moved(head, head.expiry.rule_id if head.expiry else "none", error_of_it)

    async def _move(self, head: SessionState, phase: ExpireSession | Discard) -> None:
        """Make a move. Once a session is out of the archive, look at what comes after."""
        try:
            match phase:
                case ExpireSession():
                    await self._acting.merge(head, phase)
                case Discard():
                    await self._acting.discard(head)
                    await self._look_at_moved([head.session_id])
        except Exception as error:
            raise_if_cancelled()
            rule = phase.rule_id if isinstance(phase, ExpireSession) else head.expiry.rule_id if head.expiry else "none"
            await self._say_not_moved(head, rule, error)

    async def _look_at_moved(self, sessions: Collection[SessionId]) -> None:
        """Put the deadlines of sessions whose move is over: the rule's next step is all there is to wait for."""
        if sessions:
            await keep_trying("look at archived sessions", self._deadlines.look_at_moved, sessions)

    async def _say_not_moved(self, head: SessionState, rule_id: str, error: Exception) -> None:
        if isinstance(error, Overtaken):
            _log.info(Action.EXPIRY_OVERTAKEN, session_id=head.session_id)
        else:
            await self._say_failed(head, rule_id, error)

    async def _say_failed(self, head: SessionState, rule_id: str, error: Exception) -> None:
        self._metrics.expiry_failures.inc()
        _log.error(Action.EXPIRY_FAILED, session_id=head.session_id, rule_id=rule_id, **told(error))
        await keep_trying("count a failure", self._figures.failure, head.session_id, head.version, rule_id)
