"""The client of the HTTP API: what it hands out, what it raises, and what it tries again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.errors import (
    AccessDenied,
    AgentBusError,
    RequestReused,
    SchemaViolation,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.contracts.jobs import JobNotFound
from agentbus.contracts.messages import TextContent
from agentbus.http import Client, ServerUnavailable
from agentbus.http import client as client_module
from agentbus.http.problems import NotAuthenticated, PreconditionFailed, ServerFault
from agentbus.operations.api_keys import Role
from tests.harness.api import HERE, World, api_world
from tests.harness.builders import a_parked
from tests.harness.patience import PATIENCE

WHERE = Address(platform=Platform.WEB, chat="lobby", user="ann")


async def client(world: World, user: str | None = None) -> Client:
    transport = httpx.ASGITransport(world.api.app)
    return Client(HERE, key=await world.key(*Role), user=user, transport=transport)


async def test_what_it_publishes_it_finds_and_reads(world: World) -> None:
    async with await client(world) as api:
        first = await api.publish(WHERE, "hello", message_id="m1", sender_name="Ann")
        assert (first.committed, first.repeated) == (True, False)
        assert (await api.publish(WHERE, TextContent(text="hello"), message_id="m1")).repeated
        with pytest.raises(RequestReused):
            await api.publish(WHERE, "another", message_id="m1")
        session = first.session_id
        assert session
        for number in range(3):
            await api.publish(WHERE, f"more {number}")
        said = await api.say(session, "Hi!", key="r-1")
        assert (await api.say(session, "Hi!", key="r-1")).message == said.message
        texts = [one.message.content.text async for one in api.messages(session) if one.message.content.kind == "text"]
        assert texts == ["Hi!", "more 2", "more 1", "more 0", "hello"]
        assert len([one async for one in api.messages(session, limit=2)]) == 2
        assert [one.session_id async for one in api.sessions(owner="ann", not_status=["closed", "deleted"])] == [
            session
        ]
        assert [one async for one in api.sessions(not_platform="web")] == []


async def test_sessions_are_created_changed_and_ended(world: World) -> None:
    async with await client(world) as api:
        made = await api.create_session(user_id="ann", tags=["a"], data={"n": 1}, key="c")
        assert (
            await api.create_session(user_id="ann", tags=["a"], data={"n": 1}, key="c")
        ).session_id == made.session_id
        changed = await api.change_session(made, data={"n": 2}, add_tags=["b"])
        assert (changed.data, changed.tags) == ({"n": 2}, ("a", "b"))
        with pytest.raises(PreconditionFailed):
            await api.change_session(made, data={"n": 3})
        assert (await api.change_session(made.session_id, metadata={"m": 1})).metadata == {"m": 1}
        assert (await api.close_session(made.session_id, reason="done")).status == "closed"
        await api.delete_session(made.session_id)
        with pytest.raises(SessionNotFound):
            await api.session(made.session_id)
        with pytest.raises(SchemaViolation):
            await api.create_session(chat_id="a chat without a user")


async def test_it_speaks_for_a_user_and_hides_from_them_what_is_not_theirs(world: World) -> None:
    async with await client(world) as app, await client(world, "Zoë") as api:
        published = await app.publish(WHERE, "hello")
        with pytest.raises(AccessDenied):
            await api.session(str(published.session_id))
        for odd in ("..", "../workers", "a/b", "x?y", "", "%2e", "ä"):
            with pytest.raises(AgentBusError):
                await app.session(odd)


async def test_parked_inputs_and_workers(world: World) -> None:
    parked = a_parked()
    await world.app.store.parked.put(parked)
    async with await client(world) as api:
        assert [one.parked_id async for one in api.parked(limit=5)] == [parked.parked_id]
        assert (await api.parked_input(parked.parked_id)).size == len(parked.body)
        await api.discard(parked.parked_id)
        assert [one async for one in api.parked()] == []
        assert await api.workers() == ()


def answering(*answers: httpx.Response | Exception) -> tuple[Callable[[httpx.Request], httpx.Response], list[Any]]:
    """Return a server that gives these answers in their order, and what it was sent."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        given = answers[min(len(sent), len(answers) - 1)]
        sent.append(request)
        if isinstance(given, Exception):
            raise given
        return given

    return answer, sent


def problem(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "title": "t", "status": status, "type": "x"})


PUBLISHED = httpx.Response(200, json={"committed": True, "input_id": "i", "conversation_id": "c"})


async def test_what_may_pass_is_tried_again_with_the_same_key() -> None:
    answer, sent = answering(
        httpx.ConnectError("x"), problem(503, "store_unavailable"), problem(429, "too_many_calls"), PUBLISHED
    )
    async with Client(transport=httpx.MockTransport(answer)) as api:
        assert (await api.publish(WHERE, "hello")).committed
    assert len(sent) == 4
    assert len({request.headers["idempotency-key"] for request in sent}) == 1
    assert len({request.content for request in sent}) == 1


async def test_what_does_not_pass_is_raised_as_what_it_is() -> None:
    cases: list[tuple[httpx.Response | Exception, type[AgentBusError], float]] = [
        (problem(401, "not_authenticated"), NotAuthenticated, 30),
        (problem(418, "no_kind_of_today"), AgentBusError, 30),
        (httpx.Response(502, text="<html>"), ServerFault, 30),
        (httpx.Response(200, text="<html>"), ServerFault, 30),
        (httpx.Response(500, content=b"[" * 100_000), ServerFault, 30),
        (httpx.Response(400, json=["code"]), ServerFault, 30),
        (httpx.ReadTimeout("x"), ServerUnavailable, 0),
        (problem(503, "store_unavailable"), StoreUnavailable, 0),
    ]
    for given, kind, patience in cases:
        answer, _ = answering(given)
        async with Client(patience=patience, transport=httpx.MockTransport(answer)) as api:
            with pytest.raises(AgentBusError) as raised:
                await api.publish(WHERE, "hello")
            assert type(raised.value) is kind, given


async def test_a_backup_is_started_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_LOOK_AGAIN", 0.01)
    async with api_world(backup_url=f"file://{tmp_path}") as world, await client(world) as api:
        world.api.parts.jobs._beat = 0.02
        session = (await api.publish(WHERE, "Hello!")).session_id or ""
        await api.append(session, "tool", "42", message_id="m1")
        assert [one.message.role async for one in api.messages(session)] == ["tool", "user"]
        made = await api.finished(await api.start_backup(description="mine"), within=PATIENCE)
        assert (made.state, made.result and made.result["damaged"]) == ("done", 0)
        started = await api.start_restore("latest", dry_run=True)
        assert (await api.finished(started, within=PATIENCE)).state == "done"
        await api.cancel_job(started.job_id)
        with pytest.raises(JobNotFound):
            await api.job("nowhere")
        await world.api.parts.jobs.close()
