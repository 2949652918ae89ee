"""Changing sessions by HTTP: all or nothing, once, on whose behalf, and only what was seen."""

import asyncio
from typing import Any

import httpx
import pytest

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


@pytest.fixture
async def session(world: World) -> str:
    """Publish a message of ann's, and give its session."""
    async with world.caller() as by:
        answer = await by.post("/v1/messages", json=a_message(message_id="m1"))
    made: str = answer.json()["session_id"]
    return made


async def test_a_session_is_created_once_and_has_what_was_given(world: World) -> None:
    given = {"user_id": "ann", "tags": ["a"], "data": {"n": 1}, "metadata": {"m": 2}, "expires_in": 60}
    async with world.caller() as by:
        answers = [await by.post("/v1/sessions", json=given, headers={"Idempotency-Key": "c-1"}) for _ in range(2)]
        shown = (await by.get(answers[0].headers["location"])).json()
        other = await by.post("/v1/sessions", json=given)
        wrong = await by.post("/v1/sessions", json={"chat_id": "lobby"})
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json()["session_id"] == answers[1].json()["session_id"] == shown["session_id"]
    assert other.json()["session_id"] != shown["session_id"]
    assert (shown["owner"], shown["tags"], shown["data"], shown["metadata"]) == ("ann", ["a"], {"n": 1}, {"m": 2})
    assert shown["expires_at"]
    assert wrong.status_code == 422


async def test_several_things_are_changed_at_once_or_none(world: World, session: str) -> None:
    at = f"/v1/sessions/{session}"
    changes = {
        "data": {"set": {"a": 1, "b": {"c": [True]}}, "increment": {"n": 2}},
        "metadata": {"set": {"note": "x"}},
        "add_tags": ["vip"],
        "ai_model": "m-1",
    }
    async with world.caller() as by:
        first = await by.patch(at, json=changes)
        second = await by.patch(
            at, json={"data": {"remove": ["a"], "increment": {"n": 1}}, "ai_model": None, "remove_tags": ["vip"]}
        )
        wrong = await by.patch(at, json={"data": {"set": {"z": 1}, "increment": {"b": 1}}})
        unknown = await by.patch(at, json={"data": {"z": 1}})
        now = (await by.get(at)).json()
    assert first.status_code == 200, first.text
    shown = first.json()
    assert (shown["data"], shown["tags"], shown["ai_model"]) == ({"a": 1, "b": {"c": [True]}, "n": 2}, ["vip"], "m-1")
    assert second.json()["data"] == {"b": {"c": [True]}, "n": 3}
    assert (second.json()["ai_model"], second.json()["tags"]) == (None, [])
    assert (wrong.status_code // 100, unknown.status_code) == (4, 422)
    assert now["data"] == second.json()["data"]


async def test_of_two_who_change_what_they_saw_one_is_refused(world: World, session: str) -> None:
    at = f"/v1/sessions/{session}"
    async with world.caller() as by:
        seen = (await by.get(at)).headers["etag"]
        changes = [{"data": {"set": {"who": name}}} for name in "abcd"]
        answers = await asyncio.gather(*(by.patch(at, json=one, headers={"If-Match": seen}) for one in changes))
        stale = await by.patch(at, json=changes[0], headers={"If-Match": seen})
        now = await by.get(at)
        fresh = await by.patch(at, json={"data": {"set": {"who": "e"}}}, headers={"If-Match": now.headers["etag"]})
        anyone = await by.patch(at, json={"ai_model": "m"}, headers={"If-Match": "*"})
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert now.json()["data"]["who"] == next(one.json()["data"]["who"] for one in answers if one.status_code == 200)
    assert (fresh.status_code, anyone.status_code) == (200, 200)


async def test_its_life(world: World, session: str) -> None:
    at = f"/v1/sessions/{session}"

    async def post(by: httpx.AsyncClient, what: str, **body: Any) -> httpx.Response:
        return await by.post(f"{at}/{what}", json=body or None)

    async with world.caller() as by:
        extended = await post(by, "extend", seconds=60)
        assert extended.json()["expires_at"]
        assert (await post(by, "refresh")).status_code == 200
        suspended = await post(by, "state", state="suspended", reason="a look")
        assert suspended.json()["status"] == "suspended"
        assert (await post(by, "state", state="nowhere")).status_code == 409
        assert (await post(by, "unblock")).status_code == 200
        closed = await post(by, "close", reason="done")
        assert closed.json()["status"] == "closed"
        assert (await by.delete(at)).status_code == 204
        assert [(await by.delete(at)).status_code, (await by.get(at)).status_code] == [404, 404]


async def test_what_a_bot_says_is_said_once(world: World, session: str) -> None:
    at = f"/v1/sessions/{session}/replies"
    async with world.caller() as by:
        said = [(await by.post(at, json={"text": "Hi!"}, headers={"Idempotency-Key": "r-1"})).json() for _ in range(2)]
        items = (await by.get(f"/v1/sessions/{session}/messages")).json()["items"]
    assert [one["repeated"] for one in said] == [False, True]
    assert [one["message"]["role"] for one in items] == ["user", "assistant"]


async def test_who_may_what_on_behalf_of_users_and_who_did_it(world: World, session: str) -> None:
    at = f"/v1/sessions/{session}"
    key = await world.key(*Role)
    async with world.caller(key, user="ann") as ann, world.caller(key, user="bob") as bob, world.caller(key) as app:
        hidden = [
            await bob.get(at),
            await bob.patch(at, json={"add_tags": ["x"]}),
            await bob.post(f"{at}/close"),
            await bob.put(f"{at}/shares/bob", json={"permission": "write"}),
            await bob.put(f"{at}/visibility", json={"visibility": "public"}),
            await bob.post(f"{at}/replies", json={"text": "x"}),
            await bob.get(f"{at}/audit"),
            await bob.post(f"{at}/checkpoints"),
            await bob.delete(at),
            await bob.post("/v1/sessions", json={"user_id": "ann"}),
        ]
        assert {one.status_code for one in hidden} == {403}
        shared = await ann.put(f"{at}/shares/bob", json={"permission": "read"})
        assert shared.json()["shares"] == {"bob": "read"}
        assert (await bob.get(at)).status_code == 200
        assert (await bob.patch(at, json={"add_tags": ["x"]})).status_code == 403
        assert (await ann.put(f"{at}/shares/bob", json={"permission": "write"})).status_code == 200
        assert (await bob.patch(at, json={"add_tags": ["x"]})).status_code == 200
        assert (await ann.delete(f"{at}/shares/bob")).json()["shares"] == {}
        assert (await bob.get(at)).status_code == 403
        assert (await app.patch(at, json={"add_tags": ["y"]})).status_code == 200
        page = (await ann.get(f"{at}/audit", params={"limit": 3})).json()
        rest = (await ann.get(f"{at}/audit", params={"after": page["cursor"]})).json()
    did = [(one["action"], one["actor"], one["target"]) for one in page["items"] + rest["items"]]
    assert did[:5] == [
        ("updated", None, None),
        ("revoked", "ann", "bob"),
        ("updated", "bob", None),
        ("shared", "ann", "bob"),
        ("shared", "ann", "bob"),
    ]
