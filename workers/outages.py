"""What the log says of outages and of partitions: few lines, whatever fails and however often."""

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from tenacity import RetryCallState

from agentbus.contracts.errors import BusError, StoreError
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import WorkerId
from agentbus.contracts.outages import REMIND_SECONDS, Cause, Notice, Outage, Stage
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.domain.assignment import ranges
from agentbus.workers.faults import told

SAID_AT_ONCE: Final = 5
"""Lines of a kind that are written within `REMIND_SECONDS` before the rest of them is only counted."""

_OUTAGES: Final = {cause: Outage(monotonic) for cause in Cause}
_last_words: Final[dict[Cause, str]] = {}

_log = Logger(__name__)


class Trouble:
    """One caller's trouble with store or broker, from its first failure until `over`: say `over` on every way out."""

    def __init__(self, call: str, caller: Hashable | None = None) -> None:
        self._call = call
        self._caller = caller or object()
        self._causes: set[Cause] = set()

    def failed(self, error: Exception) -> None:
        """Count a failed call; it is logged unless something was said of its cause a moment ago."""
        cause = _cause(error)
        self._causes.add(cause)
        _last_words[cause] = str(error)
        words = told(error) if cause is Cause.FAULT else {"error": str(error)}
        _say(cause, _OUTAGES[cause].failed(self._caller), call=self._call, **words)

    def retrying(self, state: RetryCallState) -> None:
        """Count the failure that is about to be slept over: tenacity's `before_sleep`."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Exception):
            self.failed(error)

    def over(self) -> None:
        """Say that the call succeeded, or is given up. Idempotent."""
        while self._causes:
            cause = self._causes.pop()
            _say(cause, _OUTAGES[cause].ended(self._caller))


def trouble_now() -> str | None:
    """Return what this process' store or broker failed with last, if a call to one of them fails now."""
    return next((_last_words[cause] for cause in (Cause.STORE, Cause.BROKER) if _OUTAGES[cause].lasts), None)


class PartitionLog:
    """Says which partitions a worker got and lost, a line a change."""

    def __init__(self, worker: WorkerId) -> None:
        self._worker = worker
        self._had: frozenset[Partition] = frozenset()

    def now(self, owned: Collection[Partition]) -> None:
        """Compare what is owned now with what was owned when this was last said."""
        had, self._had = self._had, frozenset(owned)
        if had != self._had:
            got, lost = ranges(self._had - had), ranges(had - self._had)
            _log.info(Action.PARTITIONS_CHANGED, worker=self._worker, got=got, lost=lost, owns=len(self._had))


@dataclass(slots=True)
class _Said:
    since: float
    lines: int = 0
    unsaid: int = 0


class Sparing:
    """Few lines of a kind, however much of it there is: the first of each minute, and then how many more there were.

    What strangers send must not fill a disk. `kind` is one of few, never what they may choose.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._kinds: dict[Hashable, _Said] = {}

    def due(self, kind: Hashable) -> dict[str, int] | None:
        """Return what a line of this kind says beside its own, if it is to be written: how many were not before it."""
        now = self._clock()
        said = self._kinds.setdefault(kind, _Said(now))
        if now - said.since >= REMIND_SECONDS:
            said.since, said.lines = now, 0
        if said.lines >= SAID_AT_ONCE:
            said.unsaid += 1
            return None
        said.lines += 1
        unsaid, said.unsaid = said.unsaid, 0
        return {"unsaid": unsaid} if unsaid else {}

    def forget(self) -> None:
        """Begin anew."""
        self._kinds.clear()


_SPARING: Final = Sparing()


def sparingly(*kind: Hashable) -> dict[str, int] | None:
    """Ask `Sparing.due` of this process about a line of this kind."""
    return _SPARING.due(kind)


def _cause(error: Exception) -> Cause:
    match error:
        case BusError():
            return Cause.BROKER
        case StoreError():
            return Cause.STORE
        case _:
            return Cause.FAULT


def _say(cause: Cause, notice: Notice | None, **context: str) -> None:
    match notice:
        case None:
            return
        case Notice(stage=Stage.BEGAN):
            _log.warning(Action.OUTAGE_BEGAN, cause=cause, **context)
        case Notice(stage=Stage.LASTS):
            seconds, failures = notice.seconds, notice.failures
            _log.warning(Action.OUTAGE_LASTS, cause=cause, seconds=seconds, failures=failures, **context)
        case Notice(stage=Stage.OVER):
            _log.warning(Action.OUTAGE_OVER, cause=cause, seconds=notice.seconds, failures=notice.failures)
