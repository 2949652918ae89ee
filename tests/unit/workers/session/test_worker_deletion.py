"""Deleting an earlier session through a worker: its head changes with a commit that belongs to another one."""

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.commands import CreateSession, DeleteSession, ExpireSession, ResetSession, SetData
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.events import Commit, SessionDeleted
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, SessionId, conversation_of, session_id_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.bus.port import Message
from agentbus.workers.domain.decide import decide
from tests.harness.conversations import NOW, address, message
from tests.harness.faults import FaultyStore, outage
from tests.unit.workers.session.test_worker import running


async def two_sessions(client: AgentBus) -> tuple[SessionId, SessionId]:
    """Start a session with data, and after it a second one of the same conversation."""
    first = await client.send(CreateSession(address=address(), data={"secret": 1}, metadata={"m": 1}))
    second = await client.send(ResetSession(address=address()))
    assert first.session_id
    assert second.session_id
    return first.session_id, second.session_id


async def head_of(store: FaultyStore, session: SessionId) -> SessionState:
    head = await store.heads.get(session)
    assert head is not None
    return head


async def append_unseen(
    store: FaultyStore,
    conversation: ConversationId,
    given: Input,
    earlier: Mapping[SessionId, SessionState] = MappingProxyType({}),
) -> Commit:
    """Append what a worker would that dies right after: the heads stay behind the log."""
    state = (await store.log.load([conversation]))[conversation].head
    assert state is not None
    commit = Commit(
        conversation_id=conversation,
        version=state.version + 1,
        epoch=state.epoch,
        at=NOW,
        inputs=(given.id,),
        events=decide(state, given, NOW, (), earlier),
    )
    assert await store.log.append([commit]) == [None]
    return commit


async def checkpoint(store: FaultyStore, *sessions: SessionId) -> None:
    """Keep a checkpoint and a state of components of each session."""
    for session in sessions:
        await store.records.put(Record(kind=RecordKind.COMPONENTS, key=session, created_at=NOW, data={"pin": 1}))
        kept = Record(kind=RecordKind.CHECKPOINT, key=f"of {session}", group=session, created_at=NOW, data={"pin": 1})
        await store.records.put(kept)


async def checkpoints(store: FaultyStore, *sessions: SessionId) -> list[str]:
    """Return the checkpoints that are left of sessions; the states of components go with them."""
    pages = [await store.records.page(RecordKind.CHECKPOINT, session) for session in sessions]
    states = [await store.records.get(RecordKind.COMPONENTS, session) for session in sessions]
    left = [record.key for page in pages for record in page.items]
    assert len([state for state in states if state]) == len(left)
    return left


def assert_buried(head: SessionState, version: int) -> None:
    assert (head.status, head.data, head.metadata) == (SessionStatus.DELETED, {}, {})
    assert head.version == version


async def test_deleting_an_earlier_session_buries_it_and_the_current_one_goes_on() -> None:
    async with running() as bench:
        first, second = await two_sessions(bench.client)
        reply = await bench.client.send(DeleteSession(session_id=first))
        assert reply.session_id == second
        assert_buried(await head_of(bench.store, first), reply.version)
        await bench.client.send(SetData(session_id=second, values={"a": 1}))
        current = await head_of(bench.store, second)
        assert (current.status, current.data) == (SessionStatus.ACTIVE, {"a": 1})
        listed = await bench.store.heads.page(SessionFilter(conversation_id=conversation_of(first)))
        assert [head.session_id for head in listed.items] == [second]
        await bench.until(lambda bench: any(isinstance(event.data, SessionDeleted) for event in bench.events))
        (event,) = [event.data for event in bench.events if isinstance(event.data, SessionDeleted)]
        assert (event.session_id, event.deleted) == (second, first)


@pytest.mark.parametrize("rule", [False, True], ids=["by a command", "by a rule"])
@pytest.mark.parametrize("which", [0, 1], ids=["an earlier one", "the current one"])
async def test_the_checkpoints_of_a_deleted_session_go_whoever_deletes_it(which: int, *, rule: bool) -> None:
    async with running() as bench:
        sessions = await two_sessions(bench.client)
        await checkpoint(bench.store, *sessions)
        gone, other = sessions[which], sessions[1 - which]
        seen = (await head_of(bench.store, gone)).sequence
        step = ExpireSession(session_id=gone, rule_id="r", step=0, action=CleanupAction.DELETE, seen=seen)
        await bench.client.send(step if rule else DeleteSession(session_id=gone))
        assert (await head_of(bench.store, gone)).status is SessionStatus.DELETED
        assert await checkpoints(bench.store, *sessions) == [f"of {other}"]


async def test_deleting_it_again_changes_nothing_about_it() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench.client)
        reply = await bench.client.send(DeleteSession(session_id=first), command_id="delete")
        again = await bench.client.send(DeleteSession(session_id=first), command_id="delete")
        assert (again.repeated, again.version) == (True, reply.version)
        assert_buried(await head_of(bench.store, first), reply.version)


async def test_deleting_it_once_more_is_refused_as_for_any_other() -> None:
    async with running() as bench:
        first, second = await two_sessions(bench.client)
        version = (await bench.client.send(DeleteSession(session_id=first))).version
        with pytest.raises(SessionNotFound):
            await bench.client.send(DeleteSession(session_id=first))
        assert (await head_of(bench.store, second)).version == version


async def test_a_session_of_another_conversation_can_not_be_deleted_through_ones_own() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench.client)
        victim = await bench.client.send(CreateSession(address=address(user="grace")))
        assert victim.session_id
        with pytest.raises(SessionNotFound):
            await bench.client.send(DeleteSession(session_id=victim.session_id), to=conversation_of(first))
        assert (await head_of(bench.store, victim.session_id)).status is SessionStatus.ACTIVE


async def test_a_reset_and_the_deletion_of_what_it_ended_can_be_one_commit() -> None:
    """The same commit writes the ended session's head, and buries it."""
    async with running() as bench:
        receipt = await bench.client.publish(message(1))
        await bench.until_texts(1)
        first = session_id_for(receipt.conversation_id, 1)
        bench.store.fail_before = outage(2)  # while the worker tries again, the two commands gather
        await bench.client.publish(message(2))
        for data in (ResetSession(), DeleteSession(session_id=first)):
            envelope = InputEnvelope(id=data.kind, partitionkey=receipt.conversation_id, data=data)
            outgoing = Message(body=envelope.to_bytes(), message_id=data.kind)
            await bench.bus.publish(bench.bus.topology.inbound, str(receipt.partition), outgoing)
        await bench.until(lambda bench: any(isinstance(event.data, SessionDeleted) for event in bench.events))
        last = (await bench.log(receipt.conversation_id))[-1]
        assert last.inputs[-2:] == ("reset_session", "delete_session")
        assert_buried(await head_of(bench.store, first), last.version)
        assert (await head_of(bench.store, session_id_for(receipt.conversation_id, 2))).is_live


async def test_an_outage_while_heads_are_written_does_not_leave_it_unburied() -> None:
    async with running() as bench:
        first, _ = await two_sessions(bench.client)
        bench.store.fail_heads = outage(3)
        reply = await bench.client.send(DeleteSession(session_id=first))
        assert_buried(await head_of(bench.store, first), reply.version)


async def test_a_deletion_whose_worker_died_before_the_heads_is_made_up_for() -> None:
    store = FaultyStore()
    async with running(store) as bench:
        first, second = await two_sessions(bench.client)
    await checkpoint(store, first, second)
    delete = Input(InputId("delete"), DeleteSession(session_id=first))
    commit = await append_unseen(store, conversation_of(first), delete, {first: await head_of(store, first)})
    assert (await head_of(store, first)).status is SessionStatus.CLOSED
    async with running(store) as bench:
        reply = await bench.client.send(DeleteSession(session_id=first), command_id="delete")
        assert reply.repeated
    assert_buried(await head_of(store, first), commit.version)
    current = await head_of(store, second)
    assert (current.status, current.version) == (SessionStatus.ACTIVE, commit.version)
    assert await checkpoints(store, first, second) == [f"of {second}"]
