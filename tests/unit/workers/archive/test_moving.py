"""Moving many sessions to the archive together, through a session worker."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from agentbus.contracts.commands import CloseSession, CommandReply, EditMessage, ResetSession, SetData
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    ArchiveDamaged,
    ArchiveUnavailable,
    EditConflict,
    LockTimeout,
    StoreDamaged,
    StoreUnavailable,
    TransitionForbidden,
)
from agentbus.contracts.events import Commit
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.memory.log import MemoryLog
from agentbus.workers.archive import moving, rewriting
from agentbus.workers.archive.index import get_index
from agentbus.workers.archive.moving import archive_sessions
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.conversations import address, message
from tests.harness.faults import FaultyStore
from tests.unit.workers.archive.test_storing import World, events_of, world

USERS = ("ada", "bob", "carol", "dora")


async def closed_sessions(it: World, *users: str, messages: int = 2) -> list[SessionId]:
    """Return a closed session of each of these users."""
    sessions: list[SessionId] = []
    for user in users or USERS:
        for number in range(messages):
            await it.bench.client.publish(message(number, f"{user} {number}", user=user))
        reply = await it.bench.client.send(SetData(address=address(user=user), values={"by": user}))
        await it.bench.client.send(CloseSession(address=address(user=user)))
        assert reply.session_id
        sessions.append(reply.session_id)
    return sessions


async def moved(it: World, sessions: list[SessionId], commands: Inputs | None = None) -> Mapping[SessionId, Any]:
    heads = [await it.head(session) for session in sessions]
    return await archive_sessions(it.store, it.archive, commands or it.commands, heads)


async def is_moved(it: World, session: SessionId) -> bool:
    """Whether a session is in the archive alone, whole and known there."""
    head, index = await it.head(session), await get_index(it.store, session)
    if head.archive is None or index is None:
        return False
    contents = await it.archive.verify(await it.archive.find(session, head.archive.digest))
    left = events_of(await it.log(session), session)
    return contents.messages == 2 and index.archive == head.archive and left == ["session_archived"]


async def is_whole(it: World, session: SessionId) -> bool:
    """Whether a session is in the store alone."""
    return (await it.head(session)).archive is None and len(await it.history(session)) == 2


async def test_many_are_moved_with_as_many_calls_for_all_as_for_one() -> None:
    class Counting(MemoryLog):
        calls = 0

        async def replace(self, commits: Any) -> None:
            Counting.calls += 1
            await super().replace(commits)

        async def read_many(self, spans: Any) -> dict[ConversationId, list[Commit]]:
            Counting.calls += 1
            return await super().read_many(spans)

    store = FaultyStore()
    store.log = Counting(store.heads)
    async with world(store) as it:
        sessions = await closed_sessions(it)
        before = {session: await it.history(session) for session in sessions}
        outcomes = await moved(it, sessions)
        assert Counting.calls == 2
        for session in sessions:
            head = await it.head(session)
            assert outcomes[session] == head.archive
            assert await is_moved(it, session)
            assert await it.store.locks.acquire(f"rewrite/{head.conversation_id}", ttl=1), "nobody has its log"
        for session in sessions:
            await it.store.locks.release(f"rewrite/{conversation_of(session)}", 2)
            await it.restored(session)
            assert await it.history(session) == before[session]


async def test_sessions_of_one_conversation_are_moved_one_after_the_other() -> None:
    async with world() as it:
        await it.bench.client.publish(message(7, "of the first"))
        first = (await it.bench.client.send(SetData(address=address(), values={"a": 1}))).session_id
        second = (await it.bench.client.send(ResetSession(address=address()))).session_id
        assert first
        assert second
        sessions = [first, second]
        await it.bench.client.send(CloseSession(address=address()))
        assert len({conversation_of(session) for session in sessions}) == 1
        outcomes = await moved(it, sessions)
        assert all(isinstance(outcomes[session], ArchiveRef) for session in sessions)
        for session in sessions:
            head = await it.head(session)
            assert (head.status, head.archive) == (SessionStatus.ARCHIVED, outcomes[session])
        assert events_of(await it.log(first), first) == []
        assert events_of(await it.log(second), second) == ["session_archived", "session_archived"]


async def test_one_that_is_long_is_moved_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "PAGE", 1)
    async with world() as it:
        sessions = await closed_sessions(it)
        assert (await it.head(sessions[0])).version > 1
        outcomes = await moved(it, sessions)
        assert all(isinstance(one, ArchiveRef) for one in outcomes.values())
        assert [await is_moved(it, session) for session in sessions] == [True] * 4


async def test_one_that_is_live_does_not_keep_the_others() -> None:
    async with world() as it:
        sessions = await closed_sessions(it, *USERS[:3])
        await it.bench.client.publish(message(user="dora"))
        live = (await it.bench.client.send(SetData(address=address(user="dora"), values={"a": 1}))).session_id
        assert live
        outcomes = await moved(it, [live, *sessions])
        assert isinstance(outcomes[live], TransitionForbidden)
        assert [await is_moved(it, session) for session in sessions] == [True] * 3


async def test_one_that_goes_on_stays_and_its_file_is_taken_back() -> None:
    class Overtaken(Inputs):
        async def ask(self, given: Input, *, to: ConversationId | None = None, timeout: float = 10.0) -> CommandReply:
            if getattr(given.data, "session_id", None) == late:
                target = message(1, user="bob").key
                await it.bench.client.send(EditMessage(session_id=late, target=target, text="later"))
            return await super().ask(given, to=to, timeout=timeout)

    async with world() as it:
        sessions = await closed_sessions(it)
        late = sessions[1]
        outcomes = await moved(it, sessions, Overtaken(it.bench.bus))
        assert isinstance(outcomes[late], EditConflict)
        assert await is_whole(it, late)
        assert await it.archive.entries_of(late) == []
        assert [await is_moved(it, session) for session in sessions if session != late] == [True] * 3


async def test_one_that_somebody_else_rewrites_waits_and_the_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_PATIENCE", 0.1)
    async with world() as it:
        sessions = await closed_sessions(it)
        name = f"rewrite/{conversation_of(sessions[2])}"
        lock = await it.store.locks.acquire(name, ttl=60)
        assert lock
        outcomes = await moved(it, sessions)
        assert isinstance(outcomes[sessions[2]], LockTimeout)
        assert await is_whole(it, sessions[2])
        assert [await is_moved(it, one) for one in sessions if one != sessions[2]] == [True] * 3
        await it.store.locks.release(name, lock.token)
        assert isinstance((await moved(it, sessions))[sessions[2]], ArchiveRef)
        assert await is_moved(it, sessions[2])


async def test_one_whose_file_does_not_read_back_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as it:
        sessions = await closed_sessions(it)
        write = it.archive.write

        async def damaging(head: SessionState, commits: AsyncIterator[Commit]) -> ArchiveRef:
            if head.session_id == sessions[0]:
                raise ArchiveDamaged("it does not read back as written")
            return await write(head, commits)

        monkeypatch.setattr(it.archive, "write", damaging)
        outcomes = await moved(it, sessions)
        assert isinstance(outcomes[sessions[0]], ArchiveDamaged)
        assert await is_whole(it, sessions[0])
        assert [await is_moved(it, session) for session in sessions[1:]] == [True] * 3


async def test_one_whose_log_is_damaged_does_not_keep_the_others() -> None:
    class Damaged(MemoryLog):
        async def read(self, conversation: ConversationId, **how: Any) -> list[Commit]:
            if conversation == damaged:
                raise StoreDamaged("commit 2 can't be read")
            return await super().read(conversation, **how)

    damaged = ConversationId("")
    store = FaultyStore()
    store.log = Damaged(store.heads)
    async with world(store) as it:
        sessions = await closed_sessions(it)
        damaged = conversation_of(sessions[3])
        outcomes = await moved(it, sessions)
        assert isinstance(outcomes[sessions[3]], StoreDamaged)
        assert [await is_moved(it, session) for session in sessions[:3]] == [True] * 3


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ArchiveUnavailable("down")])
async def test_an_outage_is_told_of_all_and_all_are_moved_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as it:
        sessions = await closed_sessions(it)
        tried = 0

        async def fails(*_: Any, **__: Any) -> Any:
            nonlocal tried
            tried += 1
            raise error

        with monkeypatch.context() as broken:
            if isinstance(error, StoreUnavailable):
                broken.setattr(it.store.log, "read_many", fails)
            else:
                broken.setattr(it.archive, "write", fails)
            assert list((await moved(it, sessions)).values()) == [error] * 4
        assert tried == (1 if isinstance(error, StoreUnavailable) else 4)
        assert [await is_whole(it, session) for session in sessions] == [True] * 4
        await moved(it, sessions)
        assert [await is_moved(it, session) for session in sessions] == [True] * 4


async def test_what_was_put_there_before_goes_and_what_comes_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure writes a session's files anew without asking for its log."""
    async with world() as it:
        (session,) = await closed_sessions(it, "ada")
        await moved(it, [session])
        await it.restored(session, status=SessionStatus.EXPIRED)
        (before,) = await it.archive.entries_of(session)
        ask = it.commands.ask

        async def meanwhile(given: Input, **how: Any) -> CommandReply:
            reply = await ask(given, **how)
            commits = [commit for commit in await it.log(session) if commit.events]
            head = await it.archive.head(before)

            async def anew() -> AsyncIterator[Commit]:
                async for commit in it.archive.commits(before):
                    yield commit

            await it.archive.write(head.model_copy(update={"data": {"by": "erased"}}), anew())
            assert commits
            return reply

        monkeypatch.setattr(it.commands, "ask", meanwhile)
        outcome = (await moved(it, [session]))[session]
        digests = [entry.digest for entry in await it.archive.entries_of(session)]
        assert digests[0] == outcome.digest
        assert before.digest not in digests
        assert len(digests) == 2


@pytest.mark.parametrize("crash", range(27))
async def test_a_crash_at_any_call_to_the_store_loses_nothing(crash: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after each call in turn the process dies; then another one does all of it again."""
    monkeypatch.setattr(rewriting, "_LEASE", 0.05)

    class Died(BaseException):
        pass

    left: int | None = None

    def dying(call: Any) -> Any:
        async def step(*args: Any, **kwargs: Any) -> Any:
            passes()
            result = await call(*args, **kwargs)
            passes()
            return result

        def passes() -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    raise Died

        return step

    async with world() as it:
        sessions = await closed_sessions(it, "ada", "bob")
        histories = [await it.history(session) for session in sessions]
        heads = [await it.head(session) for session in sessions]
        with monkeypatch.context() as mortal:
            for section, names in (
                (it.store.log, ("read_many", "replace")),
                (it.store.heads, ("get_many",)),
                (it.store.records, ("put_many",)),
                (it.store.locks, ("acquire_many", "release_many")),
                (it.archive, ("write", "names_of")),
                (it.commands, ("ask",)),
            ):
                for name in names:
                    mortal.setattr(section, name, dying(getattr(section, name)))
            left = crash
            died = False
            try:
                await archive_sessions(it.store, it.archive, it.commands, heads)
            except Died:
                died = True
        assert died is (crash < 24), "but for giving the logs back, which fails in silence"
        outcomes = await moved(it, sessions)
        assert [await is_moved(it, session) for session in sessions] == [True, True], outcomes
        for session, history in zip(sessions, histories, strict=True):
            await it.restored(session)
            assert await it.history(session) == history
