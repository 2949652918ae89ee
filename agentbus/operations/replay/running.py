"""Publish a history, wait until it is dealt with, and report."""

from asyncio import sleep
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Protocol

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.parked import ParkedId, ParkedStatus
from agentbus.operations.replay.journal import Journal
from agentbus.operations.replay.outcome import Outcome, check
from agentbus.storage.port import Loaded, Store
from agentbus.storage.reading import iter_parked
from agentbus.workers.importers import History, HistoryFormat, HistoryOptions, Reading, read_with

__all__ = [
    "AHEAD",
    "WINDOW",
    "HistoryFormat",
    "HistoryOptions",
    "Progress",
    "ReplayStalled",
    "Report",
    "replay",
    "replay_file",
    "survey_file",
]

WINDOW: Final = 500
"""Messages published together."""

AHEAD: Final = 5000
"""Messages that are published before those of as many before them are dealt with: in a process of its own the bus holds
what waits, and nothing that is kept grows with the history."""

_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 0.5
"""Seconds between looks at the store: more while nothing moves."""

_LOOKED_AT: Final = 25
"""Conversations asked about in one look: so many that end first, and as many others by turns."""


class ReplayStalled(AgentBusError):
    """Published messages are not being dealt with; perhaps no session worker is running."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    published: int
    done: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay came to; `published` counts distinct messages, `seconds` runs from first publish to last commit.

    Of a file, `format` is what it was taken for, and `reading` what was read in it and what not.
    """

    published: int
    outcome: Outcome
    seconds: float
    format: HistoryFormat | None = None
    reading: Reading | None = None

    @property
    def sound(self) -> bool:
        """Whether everything that was published is committed, once and in order."""
        outcome = self.outcome
        return not (outcome.lost or outcome.duplicated or outcome.reordered or outcome.parked)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        read = told(self.format, self.reading) if self.format and self.reading else {}
        outcome = asdict(self.outcome)
        outcome["causes"] = list(outcome["causes"])
        return {**read, "published": self.published, **outcome, "seconds": round(self.seconds, 3)}


class Publisher(Protocol):
    """What a replay asks of a client."""

    async def publish_many(self, messages: list[InboundMessage], /) -> list[Receipt]:
        """Publish messages in their order, and return once all are confirmed."""
        ...


def told(format_: HistoryFormat, reading: Reading) -> dict[str, Any]:
    """Return what a file was taken for, and what was read in it, as one JSON object."""
    return {"format": format_.value, **reading.as_dict()}


def survey_file(
    file: Path,
    kind: HistoryFormat = HistoryFormat.AUTO,
    options: HistoryOptions | None = None,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[HistoryFormat, Reading]:
    """Read a chat history to its end, publish nothing, and return its format and what is in it.

    Raises HistoryUnreadable.
    """
    with closing(read_with(file, kind, options or HistoryOptions())) as history:
        for number, _ in enumerate(history, 1):
            if number % WINDOW == 0:
                on_progress(number)
        return history.format, history.reading


async def replay_file(
    app: App,
    file: Path,
    kind: HistoryFormat = HistoryFormat.AUTO,
    options: HistoryOptions | None = None,
    *,
    patience: float = 30.0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Replay a chat history from a file: publish its messages in order, wait for them, check what became of them.

    Replaying a file again changes nothing. Raises as `replay` does, and what `agentbus.workers.importers.read_history`
    says of a file that is no such history.
    """
    with closing(read_with(file, kind, options or HistoryOptions())) as history:
        client = AgentBus(app.bus, scope=app.settings.session.scope)
        report = await replay(history, client, app.store, patience=patience, on_progress=on_progress)
        return _with_reading(report, history)


def _with_reading(report: Report, history: History) -> Report:
    return Report(report.published, report.outcome, report.seconds, history.format, history.reading)


async def replay(
    messages: Iterable[InboundMessage],
    client: Publisher,
    store: Store,
    *,
    patience: float = 30.0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Publish `messages` in order through `client`, wait until each is in `store`, and check what became of them.

    Raises ReplayStalled when for `patience` seconds nothing more was committed or parked; NoRoom when the disk is full.
    """
    begun = perf_counter()
    with Journal() as journal:
        waiting = _Waiting(store, await _parked_now(store), patience, on_progress)
        iterator = iter(messages)
        while window := list(islice(iterator, WINDOW)):
            receipts = await client.publish_many(window)
            journal.add(receipts)
            await waiting.add(receipts)
        await waiting.until_done()
        seconds = perf_counter() - begun
        return Report(journal.count(), await check(store, journal), seconds)


@dataclass(slots=True)
class _Last:
    """A conversation's last input, and how many of its inputs were published."""

    input_id: InputId
    count: int


@dataclass(slots=True)
class _Batch:
    """Inputs that were published one after the other, by conversation: those that end first come first."""

    size: int = 0
    left: dict[ConversationId, _Last] = field(default_factory=dict)

    def add(self, receipts: Iterable[Receipt]) -> None:
        for receipt in receipts:
            before = self.left.pop(receipt.conversation_id, None)
            self.left[receipt.conversation_id] = _Last(receipt.input_id, before.count + 1 if before else 1)
            self.size += 1

    def looked_at(self, turn: int) -> dict[ConversationId, _Last]:
        """Return which to ask about: the first, as they end first, and others by turns, as those may stand still."""
        start = turn * _LOOKED_AT % max(len(self.left), 1)
        return dict(chain(islice(self.left.items(), _LOOKED_AT), islice(self.left.items(), start, start + _LOOKED_AT)))


class _Waiting:
    """Waits for what was published, batch by batch, while the next one is."""

    def __init__(
        self, store: Store, parked: Mapping[ParkedId, int], patience: float, on_progress: Callable[[Progress], None]
    ) -> None:
        self._store = store
        self._parked = parked
        self._patience = patience
        self._on_progress = on_progress
        self._batches = deque([_Batch()])
        self._published = self._done = 0

    async def add(self, receipts: list[Receipt]) -> None:
        """Take up what was published next; wait for what was published long before."""
        self._batches[-1].add(receipts)
        self._published += len(receipts)
        self._tell()
        if self._batches[-1].size >= AHEAD:
            self._batches.append(_Batch())
            while len(self._batches) > 2:
                await self._until_done(self._batches.popleft())

    async def until_done(self) -> None:
        """Wait for all that was published."""
        while self._batches:
            await self._until_done(self._batches.popleft())

    async def _until_done(self, batch: _Batch) -> None:
        """Wait until each conversation's last input is committed or parked: with order kept, all before it are too."""
        moved, pause, turn = perf_counter(), _FIRST_LOOK, 0
        versions: dict[ConversationId, int] = {}
        while batch.left:
            look = await _look(self._store, batch.looked_at(turn), self._parked)
            for conversation in look.finished:
                self._done += batch.left.pop(conversation).count
            if look.finished or any(versions.get(one, version) != version for one, version in look.versions.items()):
                moved, pause = perf_counter(), _FIRST_LOOK
                self._tell()
            versions |= look.versions
            if look.finished:
                continue
            if perf_counter() - moved > self._patience:
                raise self._stalled()
            turn += 1
            await sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK)

    def _tell(self) -> None:
        self._on_progress(Progress(self._published, self._done))

    def _stalled(self) -> ReplayStalled:
        return ReplayStalled(
            f"{self._published - self._done} of {self._published} messages wait, and nothing was committed for "
            f"{self._patience:g} s: is a session worker running on this broker and this store, with the same number of "
            "partitions? Try: agentbus doctor, then: agentbus worker session"
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the store found."""

    finished: list[ConversationId]
    """Conversations that are dealt with, and their heads written."""
    versions: dict[ConversationId, int]
    """How many commits there are of each of the others."""


async def _parked_now(store: Store) -> dict[ParkedId, int]:
    """Return what is parked, with how often it was."""
    return {one.parked_id: one.attempts async for one in iter_parked(store, ParkedStatus.PARKED)}


async def _look(store: Store, asked: dict[ConversationId, _Last], before: Mapping[ParkedId, int]) -> _Look:
    """Look which conversations are dealt with; what was parked `before` may be committed now, with another time."""
    kept = await store.log.load(asked)
    finished = []
    for conversation, last in asked.items():
        held = (await store.log.commits_of_inputs(conversation, [last.input_id])).get(last.input_id)
        head = kept[conversation].head if held else None
        if held and head and head.version >= held.version:
            finished.append(conversation)
    if not finished:
        lasts = {last.input_id for last in asked.values()}
        parked = {
            one.message_id
            async for one in iter_parked(store, ParkedStatus.PARKED)
            if one.message_id in lasts and one.attempts > before.get(one.parked_id, 0)
        }
        finished = [conversation for conversation, last in asked.items() if last.input_id in parked]
    return _Look(finished, {one: _version(loaded) for one, loaded in kept.items() if one not in finished})


def _version(loaded: Loaded) -> int:
    """Return how many commits there are of a conversation."""
    if loaded.damage:
        return 0
    if loaded.commits:
        return loaded.commits[-1].version
    return loaded.head.version if loaded.head else 0
