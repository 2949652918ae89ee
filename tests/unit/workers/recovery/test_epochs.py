"""After a restore nothing is told or sent a second time, and nothing new is taken for what was told before."""

from datetime import timedelta
from pathlib import Path

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import ResetSession, ResolveReply, SendReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import ReplyRequested
from agentbus.contracts.ids import LATEST_LINEAGE, ConversationId
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import RecoveryStrategy
from agentbus.contracts.replies import ReplyResolution, piece_key, reply_of_key
from agentbus.storage.backup import BackupReader
from agentbus.storage.memory import MemoryStore
from agentbus.workers.domain.replies import waiting_replies
from agentbus.workers.installation.joining import LINEAGE, LOOKED_AT, LineageBook, read_lineage
from agentbus.workers.recovery.epochs import begin_run, end_run
from tests.harness.backups import backed_up, backups_in
from tests.harness.conversations import address, message
from tests.harness.faults import FaultyStore
from tests.harness.outbound import OutboundWorld
from tests.harness.restoring import backup_of, restored, restored_directly, say, some_conversations, target_of
from tests.unit.workers.session.test_worker import Bench, running

BACKUP = "20261127t080000000z-00000000"


async def go_on(bench: Bench) -> None:
    """Go on with conversations of the backup, and begin one that is not in it."""
    await bench.client.publish(message("live-1", "hello live", chat="live"))  # once more, of before the backup
    for text in ("one", "two"):
        await say(bench, "live", text)
    await bench.client.send(ResetSession(address=address("live")))
    await bench.client.publish(message("new-1", "three", chat="new"))
    await bench.until(lambda bench: {"one", "two", "three"} <= set(bench.texts()))  # sessions come side by side


def highest(events: list[EventEnvelope]) -> dict[str, str]:
    """Return the highest sequence of each session, as it was announced."""
    return {session: max(one.sequence for one in events if one.subject == session) for session in _sessions(events)}


def _sessions(events: list[EventEnvelope]) -> set[str]:
    return {one.subject for one in events}


@pytest.mark.parametrize("directly", [True, False])
async def test_what_is_new_is_announced_by_numbers_above_all_that_were_lost(tmp_path: Path, *, directly: bool) -> None:
    async with running() as bench:
        live = (await some_conversations(bench))["live"]
        _, reader = await backup_of(bench.store, tmp_path)
        await go_on(bench)
        lost = list(bench.events)
    store = FaultyStore()
    if directly:
        await restored_directly(store, reader)
    async with running(store) as bench:
        if not directly:
            await restored(target_of(bench), reader)
        await go_on(bench)
        assert sorted(bench.texts()) == ["one", "three", "two"], "what was told before the backup is not told again"
        assert {one.id for one in bench.events}.isdisjoint({one.id for one in lost})
        before, now = highest(lost), highest(bench.events)
        assert all(now[session] > before[session] for session in now)
        of_live = sorted(one.sequence for one in bench.events if one.subject == f"{live}.1")
        numbers = [int(one) for one in of_live]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "without gaps among themselves"
        assert all(one.id == f"{one.subject}/{int(one.sequence)}" for one in bench.events)
        log = await bench.log(live)
        sequences = [event.sequence for commit in log for event in commit.events if event.session_id == f"{live}.1"]
        assert sequences == list(range(1, len(sequences) + 1)), "in the log they go on as they were"


async def test_replies_of_the_backup_are_not_sent_again(tmp_path: Path) -> None:
    """One was sent before the backup, one after it; another is asked for when all is restored."""
    lost, conversation = OutboundWorld(), ConversationId("a" * 26)
    (sent,) = await lost.ask(conversation, "sent before")
    await lost.settle()
    (doubtful,) = await lost.ask(conversation, "sent since")
    place = backups_in(tmp_path)
    manifest = await backed_up(lost.store, place)
    await lost.outbox.look_at([conversation])
    await lost.settle()
    assert lost.channel.texts() == ["sent before", "sent since"]

    world = OutboundWorld()
    world.clock.advance(timedelta(seconds=60))
    await restored_directly(world.store, BackupReader(place, manifest))
    await world.outbox.look_at([conversation])
    await world.settle()
    assert (world.channel.requests, await world.told(conversation)) == (0, ["reply_sent", "reply_unknown"])
    assert waiting_replies(await world.outbox.state_of(conversation)) == ()
    await world.give(conversation, ResolveReply(reply=doubtful, resolution=ReplyResolution.RESEND), "somebody decides")
    await world.outbox.look_at([conversation])
    await world.settle()
    assert world.channel.texts() == ["sent since"]
    assert sent not in {one.reply for one in await world.events(conversation) if one.kind == "reply_unknown"}


async def test_a_reply_that_is_asked_for_after_a_restore_has_an_id_and_keys_of_its_own(tmp_path: Path) -> None:
    """A platform that knows the key of a reply which was sent after the backup would take it for that one."""
    asked: list[ReplyRequested] = []
    async with running() as bench:
        live = (await some_conversations(bench))["live"]
        _, reader = await backup_of(bench.store, tmp_path)
        store = FaultyStore()
        await restored_directly(store, reader)
        for one in (bench.store, store):
            async with running(one) as other:
                said = OutboundMessage(address=address("live"), content=TextContent(text="asked now"))
                await other.client.send(SendReply(message=said), to=live)
                log = await other.log(live)
                asked += [event for event in log[-1].events if isinstance(event, ReplyRequested)]
    assert len({piece_key(one.reply_id, 1, 1) for one in asked}) == 2
    assert asked[0].sequence == asked[1].sequence
    assert [reply_of_key(piece_key(one.reply_id, 1, 1)) for one in asked] == [one.reply_id for one in asked]


async def test_each_restore_has_a_lineage_above_those_before_and_keeps_it() -> None:
    store, clock = MemoryStore(), ManualClock()
    clock.advance(timedelta(days=300))
    book = LineageBook(store, clock)
    assert await book.look() is None

    async def begun() -> int:
        run = await begin_run(store, BACKUP, RecoveryStrategy.MERGE, clock, preserve_metadata=True)
        assert run.lineage is not None
        assert await read_lineage(store) == run.lineage
        return run.lineage

    first = await begun()
    clock.advance(timedelta(seconds=5))
    assert await begun() == first, "it is gone on with"
    assert await book.look() is None, "nobody said that one began"
    assert await book.look(restores={"restore-1"}) == first
    for epoch in (1, 2):
        run = await begin_run(store, BACKUP, RecoveryStrategy.MERGE, clock, preserve_metadata=True)
        await end_run(store, run.model_copy(update={"finished_at": clock.now()}))
        assert run.epoch == epoch
    assert await book.look(restores={"restore-1"}) == first
    assert await book.look(restores={"restore-2"}) == first + 5
    assert await begun() == first + 6, "within the same second"
    assert await book.look(anew=True) == first + 6


async def test_a_worker_that_no_restore_reaches_learns_of_it_in_time() -> None:
    store, clock = MemoryStore(), ManualClock()
    clock.advance(timedelta(days=300))
    book = LineageBook(store, clock)
    assert await book.look() is None
    run = await begin_run(store, BACKUP, RecoveryStrategy.MERGE, clock, preserve_metadata=True)
    assert await book.look() is None, "a commit is not to cost a read"
    clock.advance(LOOKED_AT)
    assert await book.look() == run.lineage
    await store.records.delete(RecordKind.INSTALLATION, LINEAGE)
    assert await book.look() == run.lineage
    clock.advance(-LOOKED_AT)
    assert await book.look() is None, "a clock that was set back is no reason to wait"


@pytest.mark.parametrize("kept", [{}, {"lineage": "x"}, {"lineage": 0}, {"lineage": LATEST_LINEAGE + 1}])
async def test_a_lineage_that_can_not_be_read_stops_nobody(kept: dict[str, int | str]) -> None:
    store, clock = MemoryStore(), ManualClock()
    data = {**kept}
    await store.records.put(Record(kind=RecordKind.INSTALLATION, key=LINEAGE, created_at=clock.now(), data=data))
    assert await LineageBook(store, clock).look() is None
    run = await begin_run(store, BACKUP, RecoveryStrategy.MERGE, clock, preserve_metadata=True)
    assert await LineageBook(store, clock).look() == run.lineage
