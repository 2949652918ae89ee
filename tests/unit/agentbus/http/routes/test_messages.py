"""Publishing by HTTP: once, however often it is sent, and never two things as one."""

import asyncio

import pytest

from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import ReplyTimeout
from agentbus.operations.api_keys import Role
from agentbus.workers.delivery.inputs import Inputs
from tests.harness.api import World, a_message

AT = "/v1/messages"


async def history(world: World, session: str) -> list[str]:
    async with world.caller() as by:
        answer = await by.get(f"/v1/sessions/{session}/messages")
    return [one["message"]["content"]["text"] for one in answer.json()["items"]]


async def test_what_is_answered_is_committed(world: World) -> None:
    async with world.caller() as by:
        answer = await by.post(AT, json=a_message("hello", message_id="m1", sender_name="Ann"))
    published = answer.json()
    assert answer.status_code == 200
    assert (published["committed"], published["repeated"], published["version"]) == (True, False, 1)
    assert await history(world, published["session_id"]) == ["hello"]


@pytest.mark.parametrize("known_by", ["key", "message_id", "both"])
async def test_it_is_there_once_however_often_it_is_sent(world: World, known_by: str) -> None:
    headers = {} if known_by == "message_id" else {"Idempotency-Key": "k-1"}
    body = a_message("hello", **({} if known_by == "key" else {"message_id": "m1"}))
    async with world.caller() as by:
        answers = [(await by.post(AT, json=body, headers=headers)).json() for _ in range(3)]
        together = await asyncio.gather(*(by.post(AT, json=body, headers=headers) for _ in range(5)))
    assert [one["repeated"] for one in answers] == [False, True, True]
    assert {one.status_code for one in together} == {200}
    assert {one["session_id"] for one in answers} == {one.json()["session_id"] for one in together}
    assert await history(world, answers[0]["session_id"]) == ["hello"]


async def test_the_same_key_with_another_body_is_refused_and_changes_nothing(world: World) -> None:
    headers = {"Idempotency-Key": "k-1"}
    others = [
        a_message("another"),
        a_message("hello", message_id="m2"),
        a_message() | {"content": {"kind": "delete", "target": "k-1"}},
    ]
    async with world.caller() as by:
        first = await by.post(AT, json=a_message("hello"), headers=headers)
        for other in others:
            answer = await by.post(AT, json=other, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "request_reused"), other
        assert (await by.post(AT, json=a_message("hello"), headers=headers)).json()["repeated"]
    assert await history(world, first.json()["session_id"]) == ["hello"]


async def test_an_edit_is_known_again_too(world: World) -> None:
    edit = a_message() | {"content": {"kind": "edit", "target": "m1", "text": "hallo"}}
    async with world.caller() as by:
        first = await by.post(AT, json=a_message("hello", message_id="m1"))
        for repeated in (False, True):
            answer = await by.post(AT, json=edit, headers={"Idempotency-Key": "e"})
            assert (answer.status_code, answer.json()["repeated"]) == (200, repeated)
        reused = await by.post(AT, json=a_message("new"), headers={"Idempotency-Key": "e"})
    assert reused.status_code == 422
    assert await history(world, first.json()["session_id"]) == ["hallo"]


async def test_who_does_not_wait_is_told_that_the_broker_keeps_it(world: World) -> None:
    async with world.caller() as by:
        answer = await by.post(AT, params={"wait": 0}, json=a_message("hello", message_id="m1"))
        assert (answer.status_code, answer.json()["committed"]) == (202, False)
        again = await by.post(AT, json=a_message("hello", message_id="m1"))
    assert again.json()["input_id"] == answer.json()["input_id"]
    assert await history(world, again.json()["session_id"]) == ["hello"]


async def test_a_commit_that_takes_longer_is_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: Inputs, _envelope: InputEnvelope, *, timeout: float) -> None:
        assert timeout == 3
        raise ReplyTimeout

    monkeypatch.setattr(Inputs, "request", silent)
    async with world.caller() as by:
        answer = await by.post(AT, params={"wait": 3}, json=a_message())
    assert (answer.status_code, answer.json()["committed"]) == (202, False)


async def test_a_user_speaks_as_nobody_else(world: World) -> None:
    key = await world.key(Role.PUBLISH)
    about_bob = {"content": {"kind": "edit", "target": "m1", "target_user": "bob", "text": "x"}}
    async with world.caller(key, user="ann") as by:
        assert (await by.post(AT, json=a_message(user="ann"))).status_code == 200
        for other in (a_message(user="bob"), a_message(user="ann") | about_bob):
            answer = await by.post(AT, json=other)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


async def test_what_can_not_be_is_said_field_by_field(world: World) -> None:
    wrong = {
        "body.address.platform": a_message() | {"address": {"platform": "Web!", "chat": "c", "user": "u"}},
        "body.sent_at": a_message(sent_at="2026-11-27T12:00:00"),
        "body.content": a_message() | {"content": {"kind": "poem"}},
        "body.message_id": a_message(message_id=""),
    }
    async with world.caller() as by:
        for at, body in wrong.items():
            answer = await by.post(AT, json=body)
            assert answer.status_code == 422
            assert [one["at"] for one in answer.json()["errors"]] == [at]
        for key in (b"a b", b"\xe4", b"x" * 256):
            answer = await by.post(AT, json=a_message(), headers={b"Idempotency-Key": key})
            assert answer.status_code == 422, key
        for wait in ("-1", "26", "nan", "inf", "x"):
            assert (await by.post(AT, params={"wait": wait}, json=a_message())).status_code == 422, wait
