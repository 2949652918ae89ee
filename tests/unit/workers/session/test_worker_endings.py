"""Archiving, restoring, expiring and erasing through a worker: earlier sessions' heads follow the later one's log."""

import pytest

from agentbus.contracts.commands import (
    ArchiveSession,
    CreateSession,
    EraseConversation,
    ExpireSession,
    ResetSession,
    RestoreSession,
    SetData,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import EditConflict, TransitionForbidden
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import InputId, SessionId, conversation_of, session_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.redaction import digest_input
from tests.harness.conversations import NOW, address, message
from tests.harness.faults import FaultyStore, outage
from tests.unit.workers.session.test_worker import Bench, running
from tests.unit.workers.session.test_worker_deletion import append_unseen, head_of

DIGEST = "a" * 64


async def two_sessions(bench: Bench) -> tuple[SessionState, SessionId]:
    """Start a session with data, and after it a second one; return the first one's head, and the second."""
    first = await bench.client.send(CreateSession(address=address(), data={"city": "Oslo"}))
    second = await bench.client.send(ResetSession(address=address()))
    assert first.session_id
    assert second.session_id
    return await head_of(bench.store, first.session_id), second.session_id


def archive(head: SessionState, sequence: int | None = None) -> ArchiveSession:
    ref = ArchiveRef(url="memory://a", digest=DIGEST, sequence=sequence or head.sequence, messages=0, at=NOW)
    return ArchiveSession(session_id=head.session_id, archive=ref)


def restore(head: SessionState, status: SessionStatus = SessionStatus.EXPIRED) -> RestoreSession:
    return RestoreSession(session_id=head.session_id, status=status, digest=DIGEST, data=head.data, stamps=head.stamps)


def expire(head: SessionState, action: CleanupAction, *, step: int = 0, seen: int | None = None) -> ExpireSession:
    return ExpireSession(
        session_id=head.session_id, rule_id="rule", step=step, action=action, seen=seen or head.sequence
    )


async def test_an_earlier_session_goes_to_the_archive_and_comes_back() -> None:
    async with running() as bench:
        first, second = await two_sessions(bench)
        reply = await bench.client.send(archive(first))
        gone = await head_of(bench.store, first.session_id)
        assert (gone.status, gone.data, gone.version) == (SessionStatus.ARCHIVED, {}, reply.version)
        with pytest.raises(TransitionForbidden):
            await bench.client.send(restore(first, SessionStatus.ACTIVE))
        await bench.client.send(restore(first))
        back = await head_of(bench.store, first.session_id)
        assert (back.status, back.data, back.stamps) == (SessionStatus.EXPIRED, first.data, first.stamps)
        assert (await head_of(bench.store, second)).status is SessionStatus.ACTIVE


async def test_an_earlier_session_is_archived_only_as_it_is() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench)
        with pytest.raises(EditConflict):
            await bench.client.send(archive(first, sequence=first.sequence + 1))
        assert (await head_of(bench.store, first.session_id)).status is SessionStatus.CLOSED


async def test_steps_are_taken_with_an_earlier_session_as_it_is_kept() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench)
        stale = expire(first, CleanupAction.DELETE, seen=first.sequence - 1)
        before = (await bench.client.send(stale)).version
        assert (await head_of(bench.store, first.session_id)).status is SessionStatus.CLOSED
        reply = await bench.client.send(expire(first, CleanupAction.NOTIFY))
        assert reply.version == before + 1
        noted = await head_of(bench.store, first.session_id)
        assert noted.expiry is not None
        assert noted.expiry.action is CleanupAction.NOTIFY
        again = await bench.client.send(expire(first, CleanupAction.NOTIFY))
        assert again.version == reply.version
        await bench.client.send(expire(first, CleanupAction.DELETE, step=1))
        assert (await head_of(bench.store, first.session_id)).status is SessionStatus.DELETED


@pytest.mark.parametrize("restored", [False, True])
async def test_what_a_worker_did_not_live_to_write_to_an_earlier_head_is_made_up_for(restored: bool) -> None:
    store = FaultyStore()
    async with running(store) as bench:
        first, second = await two_sessions(bench)
        if restored:
            await bench.client.send(archive(first))
    conversation = conversation_of(second)
    earlier = {first.session_id: await head_of(store, first.session_id)}
    command = restore(first) if restored else archive(first)
    commit = await append_unseen(store, conversation, Input(InputId("unseen"), command), earlier)
    async with running(store) as bench:
        assert (await bench.client.send(command, command_id="unseen")).repeated
    head = await head_of(store, first.session_id)
    assert (head.status, head.version) == (
        SessionStatus.EXPIRED if restored else SessionStatus.ARCHIVED, commit.version,
    )  # fmt: skip


async def test_an_older_commit_does_not_undo_what_became_of_an_earlier_session_since() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench)
        await bench.client.send(archive(first), command_id="archive")
        await bench.client.send(restore(first))
        assert (await bench.client.send(archive(first), command_id="archive")).repeated
        assert (await head_of(bench.store, first.session_id)).status is SessionStatus.EXPIRED


async def test_all_sessions_of_an_erased_conversation_are_erased() -> None:
    async with running() as bench:
        first, second = await two_sessions(bench)
        bench.store.fail_heads = outage(2)
        await bench.client.send(EraseConversation(session_id=second))
        for session in (first.session_id, second):
            head = await head_of(bench.store, session)
            assert (head.status, head.erased, head.data, head.address) == (SessionStatus.DELETED, True, {}, None)
            assert "user" not in head.model_dump_json(include={"profile", "address", "recent_inputs", "data"})


async def test_a_message_that_comes_again_after_erasure_is_a_repeat_and_a_new_one_begins_anew() -> None:
    """However often, and however long ago: its log is asked by both forms of its id, redelivered or not."""
    async with running() as bench:
        receipt = await bench.client.publish(message(1, "old"))
        await bench.until_texts(1)
        conversation = receipt.conversation_id
        for number in range(70):  # more than a head remembers
            await bench.client.send(SetData(address=address(), values={"n": number}))
        await bench.client.send(EraseConversation(address=address()))
        stripped = [
            commit.model_copy(update={"events": (), "inputs": tuple(digest_input(one) for one in commit.inputs)})
            for commit in await bench.log(conversation)
        ]
        await bench.store.log.replace(stripped)
        await bench.client.publish(message(1, "old"))
        reply = await bench.client.send(CreateSession(address=address(), keep_live=True))
        assert reply.session_id == session_id_for(conversation, 2)
        texts = [commit for commit in await bench.log(conversation) if commit.events]
        assert [event.kind for commit in texts for event in commit.events] == ["session_started"]
        await bench.client.publish(message(2, "new"))
        assert (await bench.until_texts(2))[-1] == "new"
