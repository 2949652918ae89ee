"""Sessions by HTTP: pages, filters and their negation, ETags, and whose they are."""

from typing import Any

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def published(world: World, **fields: Any) -> str:
    """Publish a message, and return its session."""
    address = {"platform": "web", "chat": "lobby", "user": "ann"} | fields
    async with world.caller() as by:
        answer = await by.post("/v1/messages", json=a_message() | {"address": address})
    session: str = answer.json()["session_id"]
    return session


async def listed(world: World, query: str = "", **caller: Any) -> list[str]:
    """Return the sessions of all pages of a list."""
    found: list[str] = []
    after = ""
    async with world.caller(**caller) as by:
        while True:
            answer = await by.get(f"/v1/sessions?{query}{after}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += [one["session_id"] for one in page["items"]]
            if page["cursor"] is None:
                return found
            after = f"&after={page['cursor']}"


async def test_pages_hold_each_session_once_the_latest_first(world: World) -> None:
    made = [await published(world, chat=f"c{number}") for number in range(7)]
    for limit in (1, 3, 7, 100):
        assert await listed(world, f"limit={limit}") == made[::-1]


async def test_filters_and_what_must_not_be(world: World) -> None:
    web, slack = await published(world), await published(world, platform="slack", user="bob")
    other = await published(world, chat="hall", user="eve")
    cases = {
        "platform=slack": {slack},
        "platform!=slack": {web, other},
        "platform!=slack&platform!=web": set(),
        "chat!=hall": {web, slack},
        "chat=lobby&user!=ann": {slack},
        "owner=eve": {other},
        "owner!=eve&owner!=ann": {slack},
        "status!=active": set(),
        "status!=closed": {web, slack, other},
        "status=active&agent!=x&tag!=y": {web, slack, other},
        "tag=y": set(),
        "conflicts=false": {web, slack, other},
        "conflicts=true": set(),
    }
    for query, expected in cases.items():
        for limit in (1, 50):
            assert set(await listed(world, f"{query}&limit={limit}")) == expected, query


async def test_a_list_shows_nothing_of_what_is_kept_in_a_session(world: World) -> None:
    session = await published(world)
    await world.api.parts.sessions.update_session_metadata(session, {"note": "of ann's"})
    async with world.caller() as by:
        [shown] = (await by.get("/v1/sessions")).json()["items"]
        whole = (await by.get(f"/v1/sessions/{session}")).json()
    assert {"data", "metadata", "shares"} & shown.keys() == set()
    assert whole["metadata"] == {"note": "of ann's"}
    assert shown.items() <= whole.items()


async def test_what_was_not_found_and_what_can_not_be(world: World) -> None:
    await published(world)
    async with world.caller() as by:
        for path in (f"/v1/sessions/{'a' * 26}.1", "/v1/sessions/x", "/v1/sessions/x/messages", "/v1/nothing"):
            answer = await by.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path
        for query in ("after=x", "limit=0", "limit=1001", "status=gone", "platform=X!", "user=%00", "conflicts=7"):
            answer = await by.get(f"/v1/sessions?{query}")
            assert answer.status_code == 422, query
        assert (await by.delete("/v1/sessions")).status_code == 405


async def test_an_etag_says_whether_anything_has_changed(world: World) -> None:
    session = await published(world)
    async with world.caller() as by:
        first = await by.get(f"/v1/sessions/{session}")
        for given in (first.headers["etag"], f'"0", W/{first.headers["etag"]}', "*"):
            unchanged = await by.get(f"/v1/sessions/{session}", headers={"If-None-Match": given})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            assert unchanged.headers["etag"] == first.headers["etag"]
        await published(world)
        changed = await by.get(f"/v1/sessions/{session}", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["message_count"] == 2
    assert changed.headers["etag"] != first.headers["etag"]


async def test_a_user_sees_their_own_sessions_and_no_others(world: World) -> None:
    ann, bob = await published(world, user="ann"), await published(world, user="bob")
    key = await world.key(Role.READ)
    assert await listed(world, key=key, user="ann") == [ann]
    assert await listed(world, "owner=ann", key=key, user="ann") == [ann]
    async with world.caller(key, user="ann") as by:
        assert (await by.get(f"/v1/sessions/{ann}")).status_code == 200
        refused = [await by.get(f"/v1/sessions/{one}") for one in (bob, "x", f"{'a' * 26}.1")]
        refused += [await by.get(f"/v1/sessions/{bob}/messages"), await by.get("/v1/sessions?owner=bob")]
    assert {(one.status_code, one.text) for one in refused} == {(403, refused[0].text)}, "all in the same words"
