"""Moving sessions to the archive and back, through a session worker."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_args
from uuid import uuid4

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import CloseSession, CommandReply, DeleteSession, EditMessage, ResetSession, SetData
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    ArchiveDamaged,
    ArchiveNotFound,
    EditConflict,
    SessionNotFound,
    StoreUnavailable,
    TransitionForbidden,
)
from agentbus.contracts.events import AnyEvent, Commit, MessageAppended, MessageEdited, ReplyEvent, SessionStarted
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of
from agentbus.contracts.messages import Content, DeleteContent, EditContent, ReactionContent, TextContent
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.history import iter_history
from agentbus.storage.memory.locks import MemoryLocks
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.memory.records import MemoryRecords
from agentbus.workers.archive.index import get_index, rebuild_index
from agentbus.workers.archive.moving import archive_session
from agentbus.workers.archive.restoring import restore_session
from agentbus.workers.archive.storing import (
    archive_command,
    delete_archived,
    strip_session,
    write_archive,
)
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import address, message
from tests.harness.faults import FaultyStore
from tests.unit.workers.session.test_worker import Bench, running


@dataclass
class World:
    bench: Bench
    archive: ArchiveStore
    commands: Inputs
    clock: ManualClock

    @property
    def store(self) -> FaultyStore:
        return self.bench.store

    async def head(self, session: SessionId) -> SessionState:
        head = await self.store.heads.get(session)
        assert head is not None
        return head

    async def archived(self, session: SessionId) -> SessionState:
        await archive_session(self.store, self.archive, self.commands, await self.head(session))
        return await self.head(session)

    async def restored(self, session: SessionId, **how: Any) -> SessionState:
        return await restore_session(self.store, self.archive, self.commands, session, clock=self.clock, **how)

    async def history(self, session: SessionId) -> list[HistoryMessage]:
        return [item async for item in iter_history(self.store, await self.head(session))]

    async def log(self, session: SessionId) -> list[Commit]:
        return await self.bench.log(conversation_of(session))


@asynccontextmanager
async def world(store: FaultyStore | None = None) -> AsyncIterator[World]:
    async with running(store) as bench:
        yield World(bench, open_archive(f"memory://{uuid4().hex}"), Inputs(bench.bus), ManualClock())


async def a_closed_session(world: World, *, messages: int = 3) -> SessionId:
    """Return a session that has ended, with messages, an edit and data."""
    for number in range(messages):
        await world.bench.client.publish(message(number, f"m{number}"))
    reply = await world.bench.client.send(SetData(address=address(), values={"order": ["tea", 2]}))
    first = message(0).key
    await world.bench.client.send(EditMessage(address=address(), target=first, text="edited"))
    await world.bench.client.send(CloseSession(address=address()))
    assert reply.session_id
    return reply.session_id


def events_of(log: list[Commit], session: SessionId) -> list[str]:
    return [event.kind for commit in log for event in commit.events if event.session_id == session]


async def test_an_archived_session_leaves_the_store_and_comes_back_equal() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        before, history, log = await it.head(session), await it.history(session), await it.log(session)
        archived = await it.archived(session)
        assert (archived.status, archived.data) == (SessionStatus.ARCHIVED, {})
        assert events_of(await it.log(session), session) == ["session_archived"]
        assert await it.history(session) == []
        index = await get_index(it.store, session)
        assert index is not None
        assert (index.archive, index.owner, index.restored_at) == (archived.archive, "ada", None)

        restored = await it.restored(session)
        assert (restored.status, restored.archive) == (SessionStatus.ACTIVE, None)
        for name in ("data", "metadata", "stamps", "profile", "message_count", "address", "created_at"):
            assert getattr(restored, name) == getattr(before, name), name
        assert await it.history(session) == history
        assert (await it.log(session))[: len(log)] == log
        index = await get_index(it.store, session)
        assert index is not None
        assert index.restored_at == it.clock.now()


async def test_the_log_that_was_restored_has_the_digest_that_was_archived() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        first = (await it.archived(session)).archive
        await it.restored(session, status=SessionStatus.EXPIRED)
        again = await it.head(session)
        assert first is not None
        kept = await it.archive.verify(await it.archive.find(session, first.digest))
        assert again.data == kept.head.data
        second = (await it.archived(session)).archive
        assert second is not None
        assert second.sequence == first.sequence + 2, "archived and restored are events too"
        assert [entry.digest for entry in await it.archive.entries_of(session)] == [second.digest]
        await it.restored(session)
        assert len(await it.history(session)) == 3


async def test_a_message_delivered_again_after_archiving_is_still_a_repeat() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        await it.archived(session)
        version = (await it.head(session)).version
        await it.bench.client.publish(message(1, "m1"))
        await it.bench.client.publish(message(99, "new"))
        await it.bench.until(lambda bench: "new" in bench.texts())
        log = await it.log(session)
        appended = [
            event.message.message_id for commit in log for event in commit.events if isinstance(event, MessageAppended)
        ]
        assert appended == ["99"]
        assert log[version].version == version + 1
        assert isinstance(log[version].events[0], SessionStarted), "a new message begins the next session"


async def test_archiving_is_safe_to_repeat_at_every_step() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        head = await it.head(session)
        ref = await write_archive(it.store, it.archive, head)
        assert (await write_archive(it.store, it.archive, head)).digest == ref.digest
        await it.commands.ask(archive_command(head, ref))
        await it.commands.ask(archive_command(head, ref))
        archived = await it.head(session)
        assert events_of(await it.log(session), session)[0] == "session_started", "nothing left the log yet"
        assert await strip_session(it.store, it.archive, archived) > 0
        assert await strip_session(it.store, it.archive, archived) == 0
        done = await archive_session(it.store, it.archive, it.commands, archived)
        assert await archive_session(it.store, it.archive, it.commands, head) == done
        assert len(await it.archive.entries_of(session)) == 1


async def test_nothing_leaves_the_log_before_the_head_says_so() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        head = await it.head(session)
        await write_archive(it.store, it.archive, head)
        assert await strip_session(it.store, it.archive, head) == 0
        assert len(await it.history(session)) == 3


async def test_nothing_leaves_the_log_when_the_file_is_gone_or_damaged() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        head = await it.head(session)
        ref = await write_archive(it.store, it.archive, head)
        await it.commands.ask(archive_command(head, ref))
        await it.archive.delete(session)
        with pytest.raises(ArchiveNotFound):
            await it.archived(session)
        assert len([kind for kind in events_of(await it.log(session), session) if kind == "message_appended"]) == 3


async def test_a_late_worker_that_reads_a_stripped_log_writes_nothing() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        late = await it.head(session)
        await it.archived(session)
        with pytest.raises(TransitionForbidden, match="gap"):
            await write_archive(it.store, it.archive, late)
        await it.restored(session)
        assert len(await it.history(session)) == 3


async def test_a_session_that_goes_on_is_not_archived_and_its_file_is_taken_back() -> None:
    class Overtaken(Inputs):
        async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = 10.0) -> CommandReply:
            await it.bench.client.send(EditMessage(session_id=session, target=message(1).key, text="later"))
            return await super().ask(given, to=to, timeout=timeout)

    async with world() as it:
        session = await a_closed_session(it)
        with pytest.raises(EditConflict):
            await archive_session(it.store, it.archive, Overtaken(it.bench.bus), await it.head(session))
        assert await it.archive.entries_of(session) == []
        assert len(await it.history(session)) == 3


async def test_live_and_deleted_sessions_are_not_archived() -> None:
    async with world() as it:
        await it.bench.client.publish(message(1))
        reply = await it.bench.client.send(SetData(address=address(), values={"a": 1}))
        assert reply.session_id
        with pytest.raises(TransitionForbidden, match="ended"):
            await it.archived(reply.session_id)


async def test_an_earlier_session_is_archived_and_restored_while_the_conversation_goes_on() -> None:
    async with world() as it:
        for number in range(3):
            await it.bench.client.publish(message(number, f"m{number}"))
        first = (await it.bench.client.send(SetData(address=address(), values={"a": 1}))).session_id
        second = (await it.bench.client.send(ResetSession(address=address()))).session_id
        assert first
        assert second
        await it.bench.client.publish(message(9, "in the second"))
        await it.bench.until_texts(4)
        history = await it.history(first)
        archived = await it.archived(first)
        assert (archived.status, archived.generation) == (SessionStatus.ARCHIVED, 1)
        assert events_of(await it.log(first), first) == []
        assert [item.message.message_id for item in await it.history(second)] == ["9"]
        restored = await it.restored(first)
        assert (restored.status, restored.data) == (SessionStatus.EXPIRED, {"a": 1})
        assert await it.history(first) == history
        again = await it.archived(first)
        assert again.status is SessionStatus.ARCHIVED
        assert await it.history(first) == []
        await it.restored(first)
        assert await it.history(first) == history


async def three_sessions(world: World) -> tuple[SessionId, SessionId, SessionId]:
    """Return three sessions of a conversation; in the last one its person goes back to what stands in the first."""
    client = world.bench.client
    for number, text in enumerate(("my secret PIN is 1234", "typo", "well")):
        await client.publish(message(number, text))
    first = (await client.send(SetData(address=address(), values={"a": 1}))).session_id
    second = (await client.send(ResetSession(address=address()))).session_id
    third = (await client.send(ResetSession(address=address()))).session_id
    assert first
    assert second
    assert third
    await client.publish(message(3, "of the third"))
    later: tuple[Content, ...] = (
        DeleteContent(target="0"),
        EditContent(target="1", text="corrected"),
        ReactionContent(target="2", reaction="heart"),
        EditContent(target="3", text="of the third, edited"),
        ReactionContent(target="3", reaction="heart"),
    )
    for number, content in enumerate(later, start=4):
        await client.publish(message(number, content=content))
    await client.send(DeleteSession(session_id=second))
    await world.archived(first)
    await world.restored(first)
    await client.send(CloseSession(session_id=third))
    return first, second, third


def as_read(history: list[HistoryMessage]) -> list[object]:
    return [(item.message.content, item.edited_at, item.deleted_at, item.reactions) for item in history]


async def test_what_happened_in_a_session_to_another_one_stays_when_it_leaves_the_store() -> None:
    async with world() as it:
        first, second, third = await three_sessions(it)
        before, own = as_read(await it.history(first)), await it.history(third)
        assert [item.message.content for item in await it.history(first)][:2] == [
            TextContent(),
            TextContent(text="corrected"),
        ]
        ended = await it.head(third)
        ref = await write_archive(it.store, it.archive, ended)
        await it.commands.ask(archive_command(ended, ref))

        assert await strip_session(it.store, it.archive, await it.head(third)) > 0
        assert await strip_session(it.store, it.archive, await it.head(third)) == 0

        assert as_read(await it.history(first)) == before
        left = [event for commit in await it.log(third) for event in commit.events if event.session_id == third]
        assert [event.kind for event in left] == [
            "message_deleted", "message_edited", "reaction_changed",
            "session_deleted", "session_archived", "session_restored",
            "session_archived",
        ], "nothing of its own, but that it is archived"  # fmt: skip
        await it.restored(third)
        assert as_read(await it.history(first)) == before
        assert await it.history(third) == own
        assert (await it.head(second)).status is SessionStatus.DELETED


async def test_what_was_deleted_stays_so_when_the_session_is_deleted_in_which_that_happened() -> None:
    async with world() as it:
        first, _, third = await three_sessions(it)
        before = as_read(await it.history(first))
        await it.archived(third)
        await it.bench.client.send(DeleteSession(session_id=third))
        await delete_archived(it.store, it.archive, third)
        assert as_read(await it.history(first)) == before


@pytest.mark.parametrize("crash", range(1, 6))
async def test_a_session_stripped_in_part_is_stripped_as_if_at_once(crash: int) -> None:
    """A part of its messages has gone when somebody goes on: what was said of them is still known as its own."""

    class Dying(MemoryLog):
        left: int | None = None

        async def replace(self, commits: Sequence[Commit]) -> None:
            if self.left is None:
                return await super().replace(commits)
            some, self.left = list(commits)[: self.left], None
            await super().replace(some)
            raise StoreUnavailable("the process dies here")

    store = FaultyStore()
    store.log = log = Dying(store.heads)
    async with world(store) as it:
        _, _, third = await three_sessions(it)
        log.left = crash
        with pytest.raises(StoreUnavailable):
            await it.archived(third)
        await it.archived(third)
        left = [event for commit in await it.log(third) for event in commit.events if event.session_id == third]
        assert [event.target for event in left if isinstance(event, MessageEdited)] == [message(1).key]


def test_of_every_event_that_names_a_message_or_a_session_it_is_known_whether_it_stays() -> None:
    """Whoever adds an event that is about something else than its own session decides here, and in the domain."""
    stays = {
        ("message_deleted", "target"),
        ("message_edited", "target"),
        ("reaction_changed", "target"),
        ("session_deleted", "deleted"),
        ("session_archived", "archived"),
        ("session_restored", "restored"),
        ("expiry_step_taken", "earlier"),
        *((str(kind.model_fields["kind"].default), "reply") for kind in ReplyEvent.__subclasses__()),
    }
    of_its_own = {
        ("session_started", "previous"),  # tells where it comes from
        ("message_appended", "source"),  # tells where a copy of its own comes from
        ("message_edited", "source"),  # tells where it happened; the target says of which message
        ("message_deleted", "source"),
        ("context_merged", "source"),
        ("reply_requested", "message"),  # of the same commit
    }
    naming = {
        (str(kind.model_fields["kind"].default), name)
        for kind in get_args(AnyEvent)
        for name, field in kind.model_fields.items()
        if name != "session_id" and any(one in repr(field.annotation) for one in ("SessionId", "MessageKey", "ReplyId"))
    }
    assert naming == stays | of_its_own


@pytest.mark.parametrize("crash", range(12))
async def test_a_crash_at_any_call_to_the_store_loses_nothing(crash: int) -> None:
    """Each call in turn is the last one; then all is done again, and the session is whole in exactly one place."""

    class Crashing(FaultyStore):
        left: int | None = None

        def __init__(self) -> None:
            super().__init__()
            self.log = CrashingLog(self.heads)
            self.records = CrashingRecords()
            self.locks = CrashingLocks(self._clock)

        def step(self) -> None:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise StoreUnavailable("the process dies here")

    class CrashingLog(MemoryLog):
        async def replace(self, commits: Any) -> None:
            store.step()
            await super().replace(commits)
            store.step()

        async def read(self, conversation: ConversationId, **how: Any) -> list[Commit]:
            store.step()
            return await super().read(conversation, **how)

    class CrashingRecords(MemoryRecords):
        async def put(self, record: Any, *, replace: bool = True) -> bool:
            store.step()
            return await super().put(record, replace=replace)

    class CrashingLocks(MemoryLocks):
        async def acquire(self, name: str, *, ttl: float) -> Any:
            store.step()
            return await super().acquire(name, ttl=ttl)

    store = Crashing()
    async with world(store) as it:
        session = await a_closed_session(it)
        history = await it.history(session)
        store.left = crash
        for _ in range(2):
            try:
                await it.archived(session)
            except StoreUnavailable:
                assert (await it.head(session)).status in {SessionStatus.CLOSED, SessionStatus.ARCHIVED}
        store.left = None
        assert await it.history(session) == []
        store.left = crash
        for _ in range(2):
            try:
                await it.restored(session)
            except StoreUnavailable:
                continue
        store.left = None
        assert await it.history(session) == history
        assert (await it.head(session)).status is SessionStatus.ACTIVE


async def test_restoring_refuses_what_is_not_there_or_not_whole() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        with pytest.raises(TransitionForbidden, match="not in the archive"):
            await it.restored(session)
        with pytest.raises(SessionNotFound):
            await it.restored(SessionId("b" * 26 + ".1"))
        await it.archived(session)
        del it.store.log._log[conversation_of(session)][2]
        with pytest.raises(ArchiveDamaged, match="no longer has commit 2"):
            await it.restored(session)
        assert (await it.head(session)).status is SessionStatus.ARCHIVED


async def test_a_restore_that_is_refused_leaves_the_log_as_it_was() -> None:
    async with world() as it:
        first, _, _ = await three_sessions(it)
        await it.archived(first)
        log = await it.log(first)
        with pytest.raises(TransitionForbidden, match="can't come back as active"):
            await it.restored(first, status=SessionStatus.ACTIVE)
        assert await it.log(first) == log
        assert (await it.head(first)).status is SessionStatus.ARCHIVED
        assert await it.history(first) == []
        await it.restored(first)
        assert len(await it.history(first)) == 3


async def test_a_session_deleted_while_it_is_restored_does_not_come_back_in_the_log() -> None:
    class Deleting(Inputs):
        async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = 10.0) -> CommandReply:
            await it.bench.client.send(DeleteSession(session_id=session))
            return await super().ask(given, to=to, timeout=timeout)

    async with world() as it:
        session = await a_closed_session(it)
        await it.archived(session)
        before = events_of(await it.log(session), session)
        with pytest.raises(SessionNotFound, match="was deleted"):
            await restore_session(it.store, it.archive, Deleting(it.bench.bus), session, clock=it.clock)
        assert events_of(await it.log(session), session) == [*before, "session_deleted"]


async def test_what_could_not_be_put_back_whole_is_taken_out_again() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        await it.archived(session)
        log = await it.log(session)
        read_log, changed = it.store.log.read, False

        async def another(conversation: ConversationId, **how: Any) -> list[Commit]:
            """Return the log as if somebody had changed a moment in it."""
            found = await read_log(conversation, **how)
            return [one.model_copy(update={"at": it.clock.now()}) for one in found] if changed else found

        async def replaced(commits: Sequence[Commit]) -> None:
            nonlocal changed
            await replace(commits)
            changed = True

        replace = it.store.log.replace
        it.store.log.read, it.store.log.replace = another, replaced  # type: ignore[method-assign]
        with pytest.raises(ArchiveDamaged, match="not what was archived"):
            await it.restored(session)
        assert [one.events for one in await it.log(session)] == [one.events for one in log]


async def test_a_restore_that_is_repeated_changes_nothing() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        await it.archived(session)
        first = await it.restored(session)
        assert await it.restored(session) == first


async def test_the_archived_copy_is_deleted_only_when_it_is_not_the_only_one() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        await it.archived(session)
        with pytest.raises(TransitionForbidden, match="restore"):
            await delete_archived(it.store, it.archive, session)
        await it.restored(session)
        await delete_archived(it.store, it.archive, session)
        assert await it.archive.entries_of(session) == []
        assert await get_index(it.store, session) is None
        with pytest.raises(ArchiveNotFound):
            await delete_archived(it.store, it.archive, session)


async def test_the_index_is_made_anew_from_the_folder_alone() -> None:
    async with world() as it:
        session = await a_closed_session(it)
        archived = await it.archived(session)
        known = await get_index(it.store, session)
        it.store.records._records.clear()
        assert await rebuild_index(it.store, it.archive) == 1
        assert await rebuild_index(it.store, it.archive) == 0
        again = await get_index(it.store, session)
        assert known is not None
        assert again is not None
        assert archived.archive is not None
        assert again.archive.digest == archived.archive.digest
        assert (again.owner, again.platform, again.restored_at) == (known.owner, known.platform, None)
