"""Publish a history, wait until it is dealt with, and report."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from agentbus.client import AgentBus, Receipt
from agentbus.composition.app import App
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.parked import ParkedStatus
from agentbus.operations.replay.outcome import Outcome, check
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_parked
from agentbus.workers.importers import HistoryFormat, read_history

__all__ = ["WINDOW", "HistoryFormat", "Progress", "ReplayStalled", "Report", "replay", "replay_file"]

WINDOW: Final = 500
"""Messages published together."""

_FIRST_LOOK: Final = 0.02
_LONGEST_LOOK: Final = 0.5
"""Seconds between looks at the store: more while nothing moves."""

_LOOKED_AT: Final = 50
"""Conversations asked about in one look."""


class ReplayStalled(AgentBusError):
    """Published messages are not being dealt with; perhaps no session worker is running."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is."""

    published: int
    done: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay came to; `published` counts distinct messages, `seconds` runs from first publish to last commit."""

    published: int
    outcome: Outcome
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the report as one flat JSON object."""
        return {"published": self.published, **asdict(self.outcome), "seconds": round(self.seconds, 3)}


async def replay_file(
    app: App,
    file: Path,
    kind: HistoryFormat = HistoryFormat.AUTO,
    *,
    patience: float = 30.0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Replay a chat history from a file: publish its messages in order, wait for them, check what became of them.

    Replaying a file again changes nothing. Raises as `replay` does, and what `agentbus.workers.importers.read_history`
    says of a file that is no such history.
    """
    with closing(read_history(file, kind)) as history:
        client = AgentBus(app.bus, scope=app.settings.session.scope)
        return await replay(history, client, app.store, patience=patience, on_progress=on_progress)


async def replay(
    messages: Iterable[InboundMessage],
    client: AgentBus,
    store: Store,
    *,
    patience: float = 30.0,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Publish `messages` in order through `client`, wait until each is in `store`, and check what became of them.

    Raises ReplayStalled when for `patience` seconds nothing more was committed or parked.
    """
    begun = perf_counter()
    receipts: list[Receipt] = []
    iterator = iter(messages)
    while window := list(islice(iterator, WINDOW)):
        receipts += await client.publish_many(window)
        on_progress(Progress(len(receipts), 0))
    await _until_done(store, receipts, patience, on_progress)
    seconds = perf_counter() - begun
    distinct = len({(receipt.conversation_id, receipt.input_id) for receipt in receipts})
    return Report(distinct, await check(store, receipts), seconds)


async def _until_done(
    store: Store, receipts: list[Receipt], patience: float, on_progress: Callable[[Progress], None]
) -> None:
    """Wait until each conversation's last input is committed or parked: with order kept, all before it are too."""
    left = _last_inputs(receipts)
    done, moved, pause = 0, perf_counter(), _FIRST_LOOK
    while left:
        finished = await _finished(store, left)
        for conversation in finished:
            done += left.pop(conversation).count
        if finished:
            moved, pause = perf_counter(), _FIRST_LOOK
            on_progress(Progress(len(receipts), done))
            continue
        if perf_counter() - moved > patience:
            raise ReplayStalled(
                f"{len(receipts) - done} of {len(receipts)} messages wait, and nothing moved for {patience:g} s: is a "
                "session worker running on this broker and this store, with the same number of partitions? "
                "Try: agentbus doctor, then: agentbus worker session"
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_LOOK)


@dataclass(slots=True)
class _Last:
    """A conversation's last input, and how many of its inputs were published."""

    input_id: InputId
    count: int


def _last_inputs(receipts: Iterable[Receipt]) -> dict[ConversationId, _Last]:
    """Return each conversation's last input, conversations that end first coming first."""
    last: dict[ConversationId, _Last] = {}
    for receipt in receipts:
        before = last.pop(receipt.conversation_id, None)
        last[receipt.conversation_id] = _Last(receipt.input_id, before.count + 1 if before else 1)
    return last


async def _finished(store: Store, left: dict[ConversationId, _Last]) -> list[ConversationId]:
    """Return which of the first conversations in `left` are dealt with, and their heads written."""
    looked_at = list(islice(left.items(), _LOOKED_AT))
    committed = [
        conversation
        for conversation, last in looked_at
        if await store.log.commits_of_inputs(conversation, [last.input_id])
    ]
    kept = await store.log.load(committed) if committed else {}
    finished = [conversation for conversation in committed if not kept[conversation].commits]
    if not finished:
        parked = {one.message_id async for one in iter_parked(store, ParkedStatus.PARKED)}
        finished = [conversation for conversation, last in looked_at if last.input_id in parked]
    return finished
