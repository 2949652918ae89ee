"""The pace: a partition is given no more commands than its owner carries out soon; whatever else is due stays due."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import Partition, SessionId
from agentbus.contracts.session import SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.chunks import chunks
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.assignment import ranges
from agentbus.workers.outages import sparingly

MOST: Final = 50
"""Commands under way in a partition: half of what its owner takes in hand, so that what people send is in hand too."""
_PART: Final = 2
"""One of so many parts of a partition's room has to be free before it gets more."""
_WORTH: Final = 4
"""One of so many parts of the room of all that answer has to be free before any gets more."""
_TOGETHER: Final = 500
"""Heads that are read together."""
_AGAIN: Final = timedelta(seconds=0.1)
"""Between two looks for what was not carried out yet."""
_SLOW: Final = timedelta(seconds=2)
"""After this long the last command is looked for as well: the first may have come to nothing."""
PATIENCE: Final = timedelta(seconds=10)
"""After this long a partition is silent: it gets one command in such a time, until one is carried out."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class _Given:
    """Commands of a partition that were given together, known by the last of them, as they are carried out in order."""

    session: SessionId
    version: int
    """That its session had."""
    count: int
    at: datetime


@dataclass(slots=True)
class _UnderWay:
    """What a partition was given, as far as it is not known to be carried out; the oldest first."""

    given: deque[_Given] = field(default_factory=deque)
    commands: int = 0
    look_at: datetime | None = None
    """When it is to be looked for, if not at once."""
    since: datetime = field(kw_only=True)
    """When it became full, or something was last seen to be carried out."""

    @property
    def is_full(self) -> bool:
        """Whether it gets no more for now."""
        return (MOST - self.commands) * _PART < MOST

    def add(self, given: _Given) -> None:
        """Note what was given. Of a silent partition the last one will tell: they must not add up."""
        if self.commands >= MOST:
            self.given.pop()
        else:
            self.since = self.since if self.is_full else given.at
            self.commands += given.count
        self.given.append(given)

    def asked(self, now: datetime) -> list[_Given]:
        """Return what is to be looked for now."""
        if not self.given or (self.look_at and now < self.look_at):
            return []
        self.look_at = now + _AGAIN
        first, last = self.given[0], self.given[-1]
        return [first] if first is last or now - first.at < _SLOW else [first, last]

    def seen(self, given: _Given, now: datetime) -> None:
        """Note that something asked for was carried out, and all that was given before it."""
        while self.given and self.given.popleft() is not given:
            pass
        self.commands = sum(one.count for one in self.given)
        self.look_at = None
        self.since = now


class Pace:
    """Says to which partitions how many commands may be given, by what became of those given before.

    A command is carried out when its session has a later version. It is looked for only where all is given that may
    be, and only the last of what was given together: so a wave costs a head for several commands, and less than a
    wave none. A partition whose owner carries nothing out, or that has none, holds up no other.
    """

    def __init__(self, store: Store, partitions: int, *, clock: Clock, metrics: WorkerMetrics) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self.partitions = partitions
        self._all = frozenset(str(partition) for partition in range(partitions))
        self._partitions: dict[str, _UnderWay] = {}

    async def rooms(self, groups: Collection[str] | None) -> dict[str, int]:
        """Return how many commands each of these partitions, or of all, may be given now; one without room is left out.

        Raises StoreError.
        """
        groups = self._all if groups is None else groups
        now = self._clock.now()
        await self._look([one for one in self._partitions.values() if one.is_full], now)
        full = {group: one for group in groups if (one := self._partitions.get(group)) and one.is_full}
        silent = {group: one for group, one in full.items() if now - one.since >= PATIENCE}
        self._tell(len(full), silent, now)
        rooms = {group: self.room(group) for group in groups if group not in full}
        tried = {group: 1 for group, one in silent.items() if now - one.given[-1].at >= PATIENCE}
        if sum(rooms.values()) * _WORTH < (len(groups) - len(silent)) * MOST:
            return tried  # Little by little makes small rounds, which cost its owners and us more.
        return rooms | tried

    def given(self, orders: Iterable[tuple[str, SessionState]]) -> None:
        """Note what was given: for each command the partition, and its session's head by which it was decided."""
        now = self._clock.now()
        together: dict[str, list[SessionState]] = {}
        for group, head in orders:
            together.setdefault(group, []).append(head)
        for group, heads in together.items():
            given = _Given(heads[-1].session_id, heads[-1].version, len(heads), now)
            self._partitions.setdefault(group, _UnderWay(since=now)).add(given)

    def room(self, group: str) -> int:
        """Return how many commands one partition may be given, by the last look; 0 if it is full."""
        one = self._partitions.get(group)
        if one is None:
            return MOST
        return 0 if one.is_full else MOST - one.commands

    async def _look(self, full: Iterable[_UnderWay], now: datetime) -> None:
        asked = [(one, given) for one in full for given in one.asked(now)]
        for some in chunks(asked, _TOGETHER):
            heads = await self._store.heads.get_many([given.session for _, given in some])
            for one, given in some:
                head = heads.get(given.session)
                if head is None or head.version > given.version:
                    one.seen(given, now)

    def _tell(self, full: int, silent: Mapping[str, _UnderWay], now: datetime) -> None:
        self._metrics.expiry_held_back.set(full)
        if silent and (more := sparingly(Action.EXPIRY_HELD_BACK)) is not None:
            oldest = min(one.since for one in silent.values())
            partitions = ranges([Partition(int(group)) for group in silent])
            seconds = (now - oldest).total_seconds()
            _log.warning(Action.EXPIRY_HELD_BACK, partitions=partitions, seconds=seconds, **more)
        elif full and not silent and (more := sparingly(Action.EXPIRY_PACED)) is not None:
            _log.info(Action.EXPIRY_PACED, partitions=full, **more)
