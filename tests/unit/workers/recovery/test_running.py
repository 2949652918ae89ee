"""Restoring a backup into a store that is in use: by each strategy, resumed, with nothing announced a second time."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import (
    CloseSession,
    CommandReply,
    CreateSession,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ResetSession,
    SetData,
)
from agentbus.contracts.errors import ConfigurationError, ReplyTimeout, StoreError, StoreUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.messages import TextContent, message_key_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RecoveryStrategy
from agentbus.contracts.session import SessionStatus
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.concurrency import ended
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.recovery import Difference, RecoveryOptions, Target
from agentbus.workers.recovery import running as running_module
from tests.harness.builders import a_commit, a_conversation, a_head, appended, begun
from tests.harness.conversations import address, message
from tests.harness.restoring import (
    backup_of,
    digests_of,
    head_of,
    looked_at,
    outcomes,
    restored,
    restored_directly,
    say,
    some_conversations,
    target_of,
    texts_of,
)
from tests.unit.workers.session.test_worker import running

MERGE = RecoveryOptions()
REPLACE = RecoveryOptions(strategy="replace")
SKIP = RecoveryOptions(strategy=RecoveryStrategy.SKIP)
BRIEFLY = running_module._PATIENCE


async def test_what_is_not_there_comes_back_whole_and_is_not_announced(tmp_path: Path) -> None:
    async with running() as bench:
        conversations = list((await some_conversations(bench)).values())
        _, reader = await backup_of(bench.store, tmp_path)
        digests = await digests_of(bench.store, conversations)
        heads = {session: await head_of(bench.store, session) for session in digests}
    async with running() as bench:
        dry = await looked_at(bench.store, reader)
        assert not await bench.store.log.conversations(limit=1)
        rows, run = await restored(target_of(bench), reader)
        assert rows == dry
        assert outcomes(rows) == {Outcome.CREATED: len(digests)}
        assert await digests_of(bench.store, conversations) == digests
        for session, head in heads.items():
            assert await head_of(bench.store, session) == head.model_copy(
                update={"epoch": (await head_of(bench.store, session)).epoch}
            )
        assert (run.epoch, run.finished_at is not None) == (1, True)
        # Who watches by time looks at those that live; what follows is the first that is announced.
        due = (await bench.store.records.scan(RecordKind.DEADLINE, limit=10)).items
        assert {record.key for record in due} == {one for one, head in heads.items() if head.is_live}
        await bench.client.publish(message("live-1", "hello live", chat="live"))
        await say(bench, "live", "after")
        assert await bench.until_texts(1) == ["after"]


@pytest.mark.parametrize("options", [MERGE, REPLACE, SKIP])
async def test_what_is_the_same_stays_as_it_is(tmp_path: Path, options: RecoveryOptions) -> None:
    async with running() as bench:
        await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
        before = len(bench.store.batches)
        rows, _ = await restored(target_of(bench), reader, options)
        assert outcomes(rows) == {Outcome.SAME: 4}
        assert len(bench.store.batches) == before


@pytest.mark.parametrize("options", [MERGE, REPLACE, SKIP])
async def test_what_went_on_since_is_merged_replaced_or_left(tmp_path: Path, options: RecoveryOptions) -> None:
    async with running() as bench:
        conversation = (await some_conversations(bench))["live"]
        session = session_id_for(conversation, 1)
        head = await head_of(bench.store, session)
        _, reader = await backup_of(bench.store, tmp_path)
        await bench.client.publish(message("live-2", "later", chat="live"))
        await bench.client.send(SetData(session_id=session, values={"chat": "changed", "more": 1}))
        key = message_key_for(address("live"), "live-1")
        await bench.client.send(EditMessage(session_id=session, target=key, text="edited"))
        await bench.until_texts(8)
        dry = await looked_at(bench.store, reader, options)
        rows, _ = await restored(target_of(bench), reader, options)
        assert rows == dry
        now = await head_of(bench.store, session)
        if options is REPLACE:
            assert rows[session].outcome is Outcome.REPLACED
            assert await texts_of(bench.store, session) == ["hello live", "hi live"]
            assert (now.data, now.profile, now.status) == (head.data, head.profile, head.status)
        else:
            assert rows[session].outcome is (Outcome.SAME if options is MERGE else Outcome.SKIPPED)
            assert await texts_of(bench.store, session) == ["edited", "hi live", "later"]
            assert now.data == {"chat": "changed", "more": 1}
        # A message from before the backup, and one from after it, are still known for repeats.
        await bench.client.publish(message("live-1", "hello live", chat="live"))
        await bench.client.publish(message("live-2", "later", chat="live"))
        await say(bench, "live", "end")
        await bench.until(lambda bench: "end" in bench.texts())
        assert (await texts_of(bench.store, session))[-1] == "end"
        assert (await head_of(bench.store, session)).message_count == now.message_count + 1


@pytest.mark.parametrize("options", [MERGE, REPLACE, SKIP])
async def test_what_was_deleted_since_comes_back(tmp_path: Path, options: RecoveryOptions) -> None:
    async with running() as bench:
        conversations = await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
        first, second = (session_id_for(conversations["two"], number) for number in (1, 2))
        heads = {one: await head_of(bench.store, one) for one in (first, second)}
        for session in (first, second):
            await bench.client.send(DeleteSession(session_id=session))
        rows, _ = await restored(target_of(bench), reader, options)
        assert outcomes(rows) == {Outcome.CREATED: 2, Outcome.SAME: 2}
        for session, head in heads.items():
            now = await head_of(bench.store, session)
            assert (now.data, now.metadata, now.profile) == (head.data, head.metadata, head.profile)
            assert now.status is head.status
        assert await texts_of(bench.store, first) == ["hello two", "hi two"]
        assert await texts_of(bench.store, second) == ["again"]


async def test_a_store_that_is_behind_gets_what_it_lacks(tmp_path: Path) -> None:
    async with running() as bench:
        conversations = await some_conversations(bench)
        _, older = await backup_of(bench.store, tmp_path)
        await say(bench, "live", "more")
        await bench.client.send(ResetSession(address=address("live")))
        await say(bench, "live", "newest")
        _, newer = await backup_of(bench.store, tmp_path)
        digests = await digests_of(bench.store, list(conversations.values()))
    async with running() as bench:
        await restored(target_of(bench), older)
        rows, run = await restored(target_of(bench), newer, SKIP)
        assert outcomes(rows) == {Outcome.SAME: 3, Outcome.SKIPPED: 2}
        rows, run = await restored(target_of(bench), newer)
        assert run.epoch == 3
        assert outcomes(rows) == {Outcome.SAME: 3, Outcome.MERGED: 1, Outcome.CREATED: 1}
        assert await digests_of(bench.store, list(conversations.values())) == digests


@pytest.mark.parametrize("options", [MERGE, REPLACE, SKIP])
async def test_a_conversation_that_began_anew_gets_what_was_lost(tmp_path: Path, options: RecoveryOptions) -> None:
    """The store was lost, people went on with an empty one, and then comes the backup."""
    async with running() as bench:
        conversations = await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
    async with running() as bench:
        await bench.client.send(CreateSession(address=address("two"), data={"second": False, "new": 1}))
        await bench.client.publish(message("two-9", "where is it all?", chat="two"))
        await bench.client.publish(message("two-1", "hello two", chat="two"))  # once more, by a slow platform
        await bench.until_texts(2)
        session = session_id_for(conversations["two"], 1)
        dry = await looked_at(bench.store, reader, options)
        rows, _ = await restored(target_of(bench), reader, options)
        assert rows == dry
        latest = rows[session_id_for(conversations["two"], 2)]
        now = await head_of(bench.store, session)
        texts = await texts_of(bench.store, session)
        match options.chosen:
            case RecoveryStrategy.MERGE:
                assert latest.outcome is Outcome.MERGED
                assert texts == ["where is it all?", "hello two", "again"]
                assert now.data == {"second": False, "new": 1}
            case RecoveryStrategy.REPLACE:
                assert latest.outcome is Outcome.REPLACED
                assert texts == ["again"]
                assert now.data["second"] is True
                assert "new" not in now.data
            case _:
                assert latest.outcome is Outcome.SKIPPED
                assert texts == ["where is it all?", "hello two"]
        assert rows[session].outcome is Outcome.SKIPPED
        await say(bench, "two", "go on", message_id="two-r2" if options is MERGE else "two-r3")
        if options is MERGE:
            assert (await head_of(bench.store, session)).message_count == now.message_count


async def test_what_has_ended_since_is_replaced_if_nothing_followed(tmp_path: Path) -> None:
    async with running() as bench:
        conversations = await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
        await bench.client.send(CloseSession(address=address("live")))
        await bench.client.send(ResetSession(address=address("two")))
        rows, _ = await restored(target_of(bench), reader, REPLACE)
        live, second = session_id_for(conversations["live"], 1), session_id_for(conversations["two"], 2)
        assert (rows[live].outcome, rows[second].outcome) == (Outcome.REPLACED, Outcome.SKIPPED)
        assert (await head_of(bench.store, live)).status is SessionStatus.ACTIVE
        assert (await head_of(bench.store, second)).status is SessionStatus.CLOSED


async def test_what_was_erased_stays_erased(tmp_path: Path) -> None:
    async with running() as bench:
        conversations = await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
        session = session_id_for(conversations["live"], 1)
        await bench.client.send(EraseConversation(session_id=session))
        for options in (MERGE, REPLACE, SKIP):
            rows, _ = await restored(target_of(bench), reader, options)
            assert rows[session].outcome is Outcome.SKIPPED
            assert (await head_of(bench.store, session)).data == {}


async def test_without_its_metadata_a_session_counts_as_active_from_now_on(tmp_path: Path) -> None:
    async with running() as bench:
        conversations = await some_conversations(bench)
        session = session_id_for(conversations["live"], 1)
        await bench.client.send(SetData(session_id=session, values={"kept": 1}))
        _, reader = await backup_of(bench.store, tmp_path)
        head = await head_of(bench.store, session)
    async with running() as bench:
        await restored(target_of(bench), reader, RecoveryOptions(preserve_metadata=False))
        now = await head_of(bench.store, session)
        assert now.data == head.data
        assert (now.metadata, now.profile.tags) == ({}, ())
        assert now.profile.owner == head.profile.owner
        assert now.last_activity
        assert head.last_activity
        assert now.last_activity >= head.last_activity
        assert await texts_of(bench.store, session) == ["hello live", "hi live"]


async def test_somebody_is_asked_where_it_makes_a_difference(tmp_path: Path) -> None:
    asked: list[Difference] = []

    async def ask(difference: Difference) -> RecoveryStrategy:
        asked.append(difference)
        return RecoveryStrategy.REPLACE

    async with running() as bench:
        conversations = await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
        await say(bench, "live", "later")
        options = RecoveryOptions(strategy="interactive", ask=ask)
        assert (await looked_at(bench.store, reader, options))[session_id_for(conversations["live"], 1)].outcome
        assert not asked
        rows, _ = await restored(target_of(bench), reader, options)
        session = session_id_for(conversations["live"], 1)
        assert [one.session_id for one in asked] == [session]
        assert asked[0].outcomes[RecoveryStrategy.SKIP] is Outcome.SKIPPED
        assert rows[session].outcome is Outcome.REPLACED
        assert await texts_of(bench.store, session) == ["hello live", "hi live"]
        await say(bench, "live", "later still")
        wrong = RecoveryOptions(strategy="interactive", ask=lambda _: "perhaps")  # type: ignore[arg-type, return-value] # on purpose
        with pytest.raises(ConfigurationError):
            await restored(target_of(bench), reader, wrong)


@pytest.mark.parametrize("wrong", [{"strategy": "interactive"}, {"strategy": "often"}])
def test_options_that_can_not_be_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        RecoveryOptions(**wrong)  # type: ignore[arg-type] # on purpose


async def test_a_commit_that_no_command_has_room_for_is_refused_before_anything_of_its_session_comes_back(
    tmp_path: Path,
) -> None:
    source, large, small = MemoryStore(), a_conversation("large"), a_conversation("small")
    await source.log.append([a_commit(small, 1, events=[begun(small)]), a_commit(large, 1, events=[begun(large)])])
    texts = [appended(large, sequence, f"m{sequence}") for sequence in range(2, 22)]
    long = TextContent(text="é" * 130_000)
    events = [one.model_copy(update={"message": one.message.model_copy(update={"content": long})}) for one in texts]
    await source.log.append([a_commit(large, 2, events=events)])
    await source.heads.save([a_head(small, version=1), a_head(large, version=2)])
    _, reader = await backup_of(source, tmp_path)
    async with running() as bench:
        rows, _ = await restored(target_of(bench), reader)
        assert rows[session_id_for(small, 1)].outcome is Outcome.CREATED
        failed = rows[session_id_for(large, 1)]
        assert failed.outcome is Outcome.FAILED
        words = r"its commit 2 takes 5\d{6} bytes, .*: it can be restored to an empty store only"
        assert re.fullmatch(words, failed.reason)
        assert await bench.log(large) == []
    rows, _ = await restored_directly(MemoryStore(), reader)
    assert outcomes(rows) == {Outcome.CREATED: 2}


async def test_one_that_was_interrupted_goes_on_in_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        conversations = list((await some_conversations(bench)).values())
        _, reader = await backup_of(bench.store, tmp_path)
        digests = await digests_of(bench.store, conversations)
    async with running() as bench:
        target, asks = target_of(bench), 0
        ask = type(target.commands).ask

        async def failing(*args: object, **kwargs: object) -> object:
            nonlocal asks
            asks += 1
            if asks == 5:
                raise ReplyTimeout
            return await ask(*args, **kwargs)  # type: ignore[arg-type] # as it was called

        with monkeypatch.context() as patched:
            patched.setattr("agentbus.workers.recovery.bringing._ASKING", BRIEFLY.within(0.0))
            patched.setattr(type(target.commands), "ask", failing)
            with pytest.raises(ReplyTimeout):
                await restored(target, reader)
        assert await digests_of(bench.store, conversations) != digests
        rows, run = await restored(target, reader)
        assert run.epoch == 1
        assert Outcome.FAILED not in outcomes(rows)
        assert await digests_of(bench.store, conversations) == digests
        _, run = await restored(target, reader)
        assert run.epoch == 2


async def test_a_full_disk_is_said_with_what_to_do_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as bench:
        conversations = list((await some_conversations(bench)).values())
        _, reader = await backup_of(bench.store, tmp_path)
        digests = await digests_of(bench.store, conversations)
    async with running() as bench:
        target, disk = target_of(bench), SmallDisk(bench.store, appends=2)
        ask = type(target.commands).ask

        async def patient(*args: Any, **kwargs: Any) -> CommandReply:
            """Wait for the reply, or until the disk is full: then there is none."""
            asking, full = asyncio.ensure_future(ask(*args, **kwargs)), asyncio.ensure_future(disk.full.wait())
            try:
                await asyncio.wait([asking, full], return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
                raise ReplyTimeout
            finally:
                await ended([asking, full])

        with monkeypatch.context() as patched:
            patched.setattr("agentbus.workers.recovery.bringing._ASKING", BRIEFLY.within(0.0))
            patched.setattr(type(target.commands), "ask", patient)
            with pytest.raises(StoreUnavailable, match=r"make room on its disk\. Once it does, run the restore again"):
                await restored(target, reader)
        assert await digests_of(bench.store, conversations) != digests
        disk.make_room()
        rows, run = await restored(target, reader)
        assert run.epoch == 1
        assert Outcome.FAILED not in outcomes(rows)
        assert await digests_of(bench.store, conversations) == digests
        kept = (await bench.store.records.scan(RecordKind.RESTORE, limit=10)).items
        assert [record.key for record in kept] == [run.name]


class SmallDisk:
    """Has room for so many more appends; once it is full, for little still, and for some of what is put together."""

    def __init__(self, store: Store, *, appends: int) -> None:
        self.full = asyncio.Event()
        self._appends = appends
        self._append, self._put_many = store.log.append, store.records.put_many
        store.log.append = self.append  # type: ignore[method-assign] # a test's own
        store.records.put_many = self.put_many  # type: ignore[method-assign] # as above

    def make_room(self) -> None:
        self._appends = 10**9
        self.full.clear()

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        self._appends -= 1
        if self._appends < 0:
            self.full.set()
            self._refuse()
        return await self._append(commits)

    async def put_many(self, records: Sequence[Record]) -> None:
        if self.full.is_set() and sum(len(record.model_dump_json()) for record in records) > 1_000_000:
            await self._put_many(records[:2])
            self._refuse()
        await self._put_many(records)

    def _refuse(self) -> None:
        raise StoreUnavailable("the store does not answer: No space left on device: make room on its disk")


async def test_owners_that_are_not_there_are_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        await some_conversations(bench)
        _, reader = await backup_of(bench.store, tmp_path)
    monkeypatch.setattr("agentbus.workers.recovery.bringing._ASKING", BRIEFLY.within(0.0))
    monkeypatch.setattr("agentbus.workers.recovery.bringing._ANSWER", 0.05)
    store = MemoryStore()
    async with MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        target = Target(store=store, commands=Inputs(bus), topology=bus.topology, clock=SystemClock())
        with pytest.raises(ReplyTimeout, match=r"is a session worker running.* Run the restore again"):
            await restored(target, reader)
    assert len((await store.records.scan(RecordKind.RESTORE, limit=10)).items) == 1
