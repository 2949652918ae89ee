"""Commands that are handed over as they are: in one order with all else, and as safe."""

import asyncio
from contextvars import ContextVar

import pytest

import agentbus.workers.session.plan
from agentbus.contracts.commands import AppendMessage, CreateSession
from agentbus.contracts.envelope import Input, InputEnvelope
from agentbus.contracts.errors import AgentBusError, SessionNotFound
from agentbus.contracts.ids import InputId, SessionId, conversation_of
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.session import SessionState
from agentbus.operations.parked import replay_parked
from agentbus.storage.reading import iter_parked
from agentbus.workers.domain.decide import decide
from agentbus.workers.session.config import SessionWorkerConfig
from tests.harness.conversations import address, message
from tests.harness.faults import outage
from tests.unit.workers.session.test_worker import SCOPE, Bench, bench

__all__ = ["bench"]

REQUEST = ContextVar("REQUEST", default="none")


async def a_session(bench: Bench) -> SessionId:
    created = await bench.client.send(CreateSession(address=address()))
    assert created.session_id
    return created.session_id


def text(session: SessionId, said: str) -> AppendMessage:
    return AppendMessage(session_id=session, message=OutboundMessage(content=TextContent(text=said)))


async def test_it_comes_after_what_was_published_before_and_before_what_is_published_after(bench: Bench) -> None:
    """More than a worker takes at a time: some of it still waits in the queue."""
    session = await a_session(bench)
    many = SessionWorkerConfig().prefetch + 50
    said = [f"m{number}" for number in range(many + 50)]
    published = [bench.client.publish(message(number, one)) for number, one in enumerate(said)]
    await asyncio.gather(*published[:many], bench.client.send(text(session, "handed over")), *published[many:])
    assert await bench.until_texts(len(said) + 1) == [*said[:many], "handed over", *said[many:]]


async def test_many_for_one_session_are_all_there_in_order(bench: Bench) -> None:
    session = await a_session(bench)
    replies = await asyncio.gather(*(bench.client.send(text(session, f"m{number}")) for number in range(300)))
    assert await bench.until_texts(300) == [f"m{number}" for number in range(300)]
    assert len({reply.message for reply in replies}) == 300


async def test_it_is_carried_out_once_however_often_it_is_sent(bench: Bench) -> None:
    session = await a_session(bench)
    bench.store.fail_after = outage(1)
    first = await bench.client.send(text(session, "once"), command_id="say")
    again = await bench.client.send(text(session, "once"), command_id="say")
    assert (again.repeated, again.message) == (True, first.message)
    await bench.until_texts(1)
    committed = [one for commit in await bench.log(conversation_of(session)) for one in commit.inputs]
    assert committed.count(InputId("say")) == 1


async def test_who_gives_up_leaves_it_to_be_carried_out(bench: Bench) -> None:
    session = await a_session(bench)
    bench.store.fail_before = outage(1)
    asked = asyncio.create_task(bench.client.send(text(session, "said all the same")))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await bench.until_texts(1) == ["said all the same"]


async def test_a_refused_one_is_told_and_not_parked(bench: Bench) -> None:
    session = await a_session(bench)
    with pytest.raises(SessionNotFound):
        await bench.client.send(text(SessionId(session.replace(".1", ".9")), "to nobody"))
    assert not [parked async for parked in iter_parked(bench.store)]


async def test_one_that_fails_is_told_and_parked_with_bytes_that_can_be_replayed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await a_session(bench)

    def decide_but(state: SessionState, given: Input, now: object, *others: object, **more: object) -> object:
        if given.id == "poison":
            raise ZeroDivisionError("poisoned")
        return decide(state, given, now, *others, **more)  # type: ignore[arg-type]  # what is passed through

    with monkeypatch.context() as patched:
        patched.setattr(agentbus.workers.session.plan, "decide", decide_but)
        with pytest.raises(AgentBusError):
            await bench.client.send(text(session, "in the end"), command_id="poison")
        await bench.client.send(text(session, "its neighbour"))
        (parked,) = await bench.parked()
    assert "ZeroDivisionError" in parked.stack
    assert InputEnvelope.from_bytes(parked.body).data == text(session, "in the end")
    await replay_parked(bench.bus, bench.store, parked.parked_id, scope=SCOPE)
    assert await bench.until_texts(2) == ["its neighbour", "in the end"]


async def test_it_is_carried_out_in_the_workers_context_not_its_senders(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, seen = await a_session(bench), list[str]()

    def decide_and_look(state: SessionState, given: Input, now: object, *others: object, **more: object) -> object:
        seen.append(REQUEST.get())
        return decide(state, given, now, *others, **more)  # type: ignore[arg-type]  # what is passed through

    monkeypatch.setattr(agentbus.workers.session.plan, "decide", decide_and_look)
    token = REQUEST.set("somebody's request")
    await bench.client.send(text(session, "said"))
    REQUEST.reset(token)
    assert seen == ["none"]
