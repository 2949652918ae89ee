"""What a restore brings through a worker: commits one to one, nothing announced again, repeats known as such."""

from typing import Any

import pytest

from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    CreateSession,
    EditMessage,
    ResetSession,
    RestoreCommit,
    RestoreContent,
)
from agentbus.contracts.errors import EditConflict
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId, InputId, conversation_of, session_id_for
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.history import iter_history
from tests.harness.conversations import address, message
from tests.harness.faults import FaultyStore, outage
from tests.unit.workers.session.test_worker import Bench, running
from tests.unit.workers.session.test_worker_deletion import head_of


async def made(bench: Bench, *commands: AnyCommand) -> tuple[ConversationId, list[Commit]]:
    """Return the conversation that commands made, and its log."""
    replies = [await bench.client.send(command) for command in commands]
    assert replies[0].session_id
    conversation = conversation_of(replies[0].session_id)
    return conversation, await bench.log(conversation)


def said(text: str, **fields: Any) -> AppendMessage:
    return AppendMessage(address=address(), message=OutboundMessage(content=TextContent(text=text), **fields))


async def bring(bench: Bench, log: list[Commit], **changes: Any) -> None:
    after: InputId | None = None
    for commit in log:
        command = RestoreCommit(restore="r", commit=commit, after=after)
        await bench.client.send(command.model_copy(update=changes), to=commit.conversation_id)
        after = commit.inputs[-1] if commit.inputs else after


async def source() -> tuple[ConversationId, list[Commit], list[SessionState]]:
    """Return a conversation of two sessions as another installation has it: its log, and its heads."""
    async with running() as bench:
        conversation, log = await made(
            bench, CreateSession(address=address(), data={"a": 1}), said("one"), ResetSession(address=address())
        )
        await bench.client.publish(message(7, "two"))
        await bench.until_texts(2)
        log = await bench.log(conversation)
        heads = [await head_of(bench.store, session_id_for(conversation, number)) for number in (1, 2)]
        return conversation, log, heads


async def test_a_conversation_comes_back_commit_for_commit_and_is_not_announced() -> None:
    conversation, log, heads = await source()
    async with running() as bench:
        await bring(bench, log)
        await bring(bench, log)  # as whoever goes on after a crash would
        back = await bench.log(conversation)
        assert [one.model_copy(update={"restored": None}) for one in back] == [
            one.model_copy(update={"epoch": back[0].epoch}) for one in log
        ]
        assert {one.restored for one in back} == {"r"}
        for head in heads:
            assert await head_of(bench.store, head.session_id) == head.model_copy(update={"epoch": back[0].epoch})
        await bench.client.publish(message(7, "two"))  # which was applied before the backup
        await bench.client.publish(message(8, "three"))
        assert await bench.until_texts(1) == ["three"]
        assert len(await bench.log(conversation)) == len(log) + 1


async def test_a_worker_that_dies_before_it_has_written_the_heads_leaves_nothing_to_announce() -> None:
    conversation, log, heads = await source()
    store = FaultyStore()
    async with running(store) as bench:
        await bring(bench, log[:-1])
    for commit in log[-1:]:
        kept = commit.model_copy(update={"restored": "r"})
        assert await store.log.append([kept]) == [None]
    async with running(store) as bench:
        await bring(bench, log)
        await bench.client.publish(message(8, "three"))
        assert await bench.until_texts(1) == ["three"]
        assert (await head_of(store, heads[-1].session_id)).message_count == heads[-1].message_count + 1
        assert len(await bench.log(conversation)) == len(log) + 1


async def test_what_happens_meanwhile_is_never_in_between() -> None:
    conversation, log, _ = await source()
    async with running() as bench:
        await bring(bench, log[:2])
        await bench.client.publish(message(9, "here"))
        await bench.until_texts(1)
        with pytest.raises(EditConflict):
            await bring(bench, log)
        assert [len(commit.inputs) for commit in await bench.log(conversation)][:2] == [len(c.inputs) for c in log[:2]]
        assert len(await bench.log(conversation)) == 3


async def test_a_commit_with_an_input_that_another_one_holds_is_refused() -> None:
    conversation, log, _ = await source()
    async with running() as bench:
        await bring(bench, log)
        twice = log[-1].model_copy(update={"version": len(log) + 1, "events": ()})
        command = RestoreCommit(restore="r", commit=twice, after=log[-1].inputs[-1])
        with pytest.raises(EditConflict):
            await bench.client.send(command, to=conversation)
        assert len(await bench.log(conversation)) == len(log)


async def test_heads_that_their_events_no_longer_tell_come_along() -> None:
    conversation, log, heads = await source()
    # The first session's events left the log, as those of what is archived do.
    bare = [
        one.model_copy(
            update={"events": tuple(event for event in one.events if event.session_id != heads[0].session_id)}
        )
        for one in log
    ]
    archived = heads[0].model_copy(update={"status": SessionStatus.ARCHIVED, "data": {}, "erased": False})
    async with running() as bench:
        after: InputId | None = None
        for commit in bare:
            along = (archived,) if commit.version == archived.version else ()
            command = RestoreCommit(restore="r", commit=commit, after=after, heads=along)
            await bench.client.send(command, to=conversation)
            after = commit.inputs[-1]
        back = await bench.log(conversation)
        assert [len(one.events) for one in back] == [len(one.events) for one in bare]
        kept = await head_of(bench.store, heads[0].session_id)
        assert kept == archived.model_copy(update={"epoch": back[0].epoch, "version": archived.version})
        now = await head_of(bench.store, heads[1].session_id)
        assert (now.version, now.generation) == (len(log), 2)


async def test_messages_that_are_there_are_not_brought_twice() -> None:
    async with running() as bench:
        conversation, log = await made(bench, CreateSession(address=address()), said("one", message_id="m1"))
        await bench.client.publish(message(7, "two"))
        await bench.until_texts(2)
        log = await bench.log(conversation)
        there = [event for commit in log for event in commit.events if isinstance(event, MessageAppended)]
        more = there[0].model_copy(
            update={"message": there[0].message.model_copy(update={"message_id": "m0", "key": "m0"})}
        )
        command = RestoreContent(restore="r", session_id=there[0].session_id, messages=(more, *there))
        await bench.client.send(command)
        await bench.client.send(command)  # another command with the same messages
        head = await head_of(bench.store, there[0].session_id)
        read = [item.message.message_id async for item in iter_history(bench.store, head)]
        assert read == ["m1", "7", "m0"]
        await bench.client.send(said("m0 again", message_id="m0"))
        assert (await head_of(bench.store, head.session_id)).message_count == 3
        assert bench.texts() == ["one", "two"]


async def test_what_takes_the_place_of_all_reads_as_it_did_whatever_was_edited_since() -> None:
    async with running() as bench:
        conversation, log = await made(bench, CreateSession(address=address()), said("one", message_id="m1"))
        (there,) = (event for one in log for event in one.events if isinstance(event, MessageAppended))
        session = there.session_id
        await bench.client.send(EditMessage(session_id=session, target=there.message.key, text="changed"))
        parts: dict[str, Any] = {"restore": "r", "session_id": session, "replace": True}
        await bench.client.send(RestoreContent(**parts, begins=True, messages=(there,)), command_id="1")
        await bench.client.send(RestoreContent(**parts, status=SessionStatus.ACTIVE, data={"b": 2}), command_id="2")
        await bench.client.send(RestoreContent(**parts, begins=True, messages=(there,)), command_id="1")
        head = await head_of(bench.store, session)
        assert head.data == {"b": 2}
        assert [item.message.content async for item in iter_history(bench.store, head)] == [TextContent(text="one")]
        assert conversation == conversation_of(session)
        assert bench.texts() == ["one"]


async def test_an_outage_of_the_store_is_waited_out() -> None:
    conversation, log, _ = await source()
    async with running() as bench:
        bench.store.fail_before.extend(outage(1))
        bench.store.fail_after.extend(outage(1))  # it was written all the same
        await bring(bench, log)
        assert len(await bench.log(conversation)) == len(log)
