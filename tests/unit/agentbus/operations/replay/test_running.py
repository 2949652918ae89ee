"""A replay waits for what it published: as long as commits go on, and with no more memory for more messages."""

import tracemalloc
from collections.abc import Collection, Mapping
from itertools import repeat

import pytest

from agentbus.client import Receipt
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, Partition
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.operations.replay import running
from agentbus.operations.replay.running import Progress, ReplayStalled, replay
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Loaded
from tests.harness.builders import a_commit, a_conversation, a_head, a_moment, a_parked

ADA = a_conversation("ada")
HI = InboundMessage(
    address=Address(platform=Platform.WEB, chat="lobby", user="ada"),
    message_id="1",
    sent_at=a_moment(),
    content=TextContent(text="hi"),
)
LONG_WAIT = 30.0


class Worker:
    """One long conversation, of which input `n` is commit `n`.

    So many of them are made between two looks (None: all at once), up to the last that it takes; the next is parked.
    """

    def __init__(self, at_a_time: int | None, takes: int = 1_000_000) -> None:
        self.published = self._made = 0
        self.store = MemoryStore()
        self.store.log = _Log(self)  # type: ignore[assignment]  # what a replay asks of one
        self._at_a_time, self._takes = at_a_time, takes

    @property
    def committed(self) -> int:
        return self.published if self._at_a_time is None else self._made

    async def publish_many(self, messages: list[InboundMessage], /) -> list[Receipt]:
        begin, self.published = self.published, self.published + len(messages)
        return [Receipt(InputId(str(number)), ADA, Partition(0)) for number in range(begin + 1, self.published + 1)]

    async def work(self) -> None:
        self._made = min(self.published, self._takes, self._made + (self._at_a_time or 0))
        if self._made == self._takes:
            await self.store.parked.put(a_parked(str(self._takes + 1)))


class _Log:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def load(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        return {one: Loaded(a_head(one, version=self._worker.committed)) for one in conversations}

    async def commits_of_inputs(
        self, conversation: ConversationId, inputs: Collection[InputId]
    ) -> Mapping[InputId, Commit]:
        return {one: _commit(conversation, int(one)) for one in inputs if int(one) <= self._worker.committed}

    async def read(self, conversation: ConversationId, *, first: int, limit: int) -> list[Commit]:
        last = min(first + limit - 1, self._worker.committed)
        return [_commit(conversation, version) for version in range(first, last + 1)]


def _commit(conversation: ConversationId, version: int) -> Commit:
    return a_commit(conversation, version, inputs=[str(version)], events=[])


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Make each pause between looks last 20 s by the replay's clock, in which the workers listed do their work."""
    workers: list[Worker] = []
    now = 0.0

    async def pause(_: float) -> None:
        nonlocal now
        now += 20.0
        for worker in workers:
            await worker.work()

    monkeypatch.setattr(running, "perf_counter", lambda: now)
    monkeypatch.setattr(running, "sleep", pause)
    return workers


async def test_a_long_chat_is_waited_for_while_its_commits_go_on(slow: list[Worker]) -> None:
    worker = Worker(at_a_time=1)
    slow.append(worker)
    steps: list[Progress] = []
    report = await replay(repeat(HI, 12), worker, worker.store, patience=LONG_WAIT, on_progress=steps.append)
    assert (report.published, report.outcome.committed, report.sound) == (12, 12, True)
    assert report.seconds > 2 * LONG_WAIT
    assert steps[-1] == Progress(12, 12)


async def test_one_in_which_nothing_is_committed_is_given_up(slow: list[Worker]) -> None:
    worker = Worker(at_a_time=0)
    slow.append(worker)
    with pytest.raises(ReplayStalled, match="12 of 12 messages wait, and nothing was committed for 30 s"):
        await replay(repeat(HI, 12), worker, worker.store, patience=LONG_WAIT)


async def test_no_more_is_published_than_is_dealt_with(slow: list[Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "AHEAD", 1000)
    worker = Worker(at_a_time=0)
    slow.append(worker)
    with pytest.raises(ReplayStalled, match="2000 of 2000 messages wait"):
        await replay(repeat(HI, 100_000), worker, worker.store, patience=LONG_WAIT)


async def test_what_was_parked_is_told_with_its_cause(slow: list[Worker]) -> None:
    worker = Worker(at_a_time=1, takes=2)
    slow.append(worker)
    report = await replay(repeat(HI, 3), worker, worker.store, patience=LONG_WAIT)
    assert (report.outcome.committed, report.outcome.parked, report.sound) == (2, 1, False)
    parked = a_parked("3")
    assert report.as_dict()["causes"] == [{"code": parked.code, "reason": parked.reason, "inputs": 1}]


async def test_what_was_parked_before_is_waited_for(slow: list[Worker]) -> None:
    """As it was published again, with the right time zone perhaps."""
    worker = Worker(at_a_time=1)
    slow.append(worker)
    await worker.store.parked.put(a_parked("3"))
    report = await replay(repeat(HI, 3), worker, worker.store, patience=LONG_WAIT)
    assert (report.outcome.committed, report.outcome.parked, report.sound) == (3, 0, True)


async def test_memory_does_not_grow_with_the_history() -> None:
    """Once it was 1.3 KB a message; what is allowed here is less than a tenth of it."""
    peaks = []
    for messages in (500, 2000):
        worker = Worker(at_a_time=None)
        tracemalloc.start()
        report = await replay(repeat(HI, messages), worker, worker.store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.outcome.committed == messages
    assert peaks[1] - peaks[0] < 1500 * 100
