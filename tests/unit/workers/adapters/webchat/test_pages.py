"""What a gateway serves for web chats by plain requests: who may ask from where, and what strangers learn."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agentbus.workers.adapters.webchat.tokens import visitor_of
from agentbus.workers.adapters.webchat.visits import Limits
from tests.harness.webchat import HOST, ORIGIN, SECRET, House, Window, house, token

SHOP = "/channels/webchat/shop"
FROM_THE_SHOP = {"origin": ORIGIN}
FROM_ELSEWHERE = {"origin": "https://evil.example"}
MESSAGE = {"id": "m1", "text": "hello"}


@pytest.fixture
async def home() -> AsyncIterator[House]:
    async with house() as built:
        yield built


@pytest.fixture
async def http(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with client(home) as made:
        yield made


def client(home: House) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(home.gateways[0].app), base_url=f"http://{HOST}")


def bearer(given: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer {token() if given is None else given}"}


async def test_the_page_holds_nothing_but_the_window_and_lets_in_nothing_else(http: httpx.AsyncClient) -> None:
    page = await http.get(SHOP)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'src="shop/widget.js"' in page.text
    assert "The &lt;Shop&gt;" in page.text
    assert "<Shop>" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert f"frame-ancestors 'self' {ORIGIN}" in policy


async def test_the_script_may_be_taken_by_any_page_and_is_known_again(http: httpx.AsyncClient) -> None:
    script = await http.get(f"{SHOP}/widget.js", headers=FROM_ELSEWHERE)
    assert (script.status_code, script.headers["access-control-allow-origin"]) == (200, "*")
    assert script.headers["content-type"].startswith("text/javascript")
    again = await http.get(f"{SHOP}/widget.js", headers={"if-none-match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_is_posted_is_taken_and_the_page_may_read_so(http: httpx.AsyncClient) -> None:
    answered = await http.post(SHOP, json=MESSAGE, headers={**bearer(), **FROM_THE_SHOP})
    assert answered.status_code == 200
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert answered.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, MESSAGE, 401),
        (bearer(""), MESSAGE, 401),
        (bearer("x.y.z"), MESSAGE, 401),
        ({"authorization": token()}, MESSAGE, 401),
        (bearer(token(seconds=-1)), MESSAGE, 401),
        ({**bearer(), **FROM_ELSEWHERE}, MESSAGE, 403),
        ({**bearer(), "origin": "null"}, MESSAGE, 403),
        ({**bearer(), "origin": "http://[x"}, MESSAGE, 403),
        ({**bearer(), "origin": f"http://{HOST}"}, MESSAGE, 200),
        (bearer(), {}, 400),
        (bearer(), [MESSAGE], 400),
        (bearer(), {**MESSAGE, "text": "x" * 16_385}, 400),
        (bearer(), {**MESSAGE, "more": "x" * 65_536}, 400),
        (bearer(), {**MESSAGE, "more": "x" * 2_000_000}, 413),
    ],
)
async def test_what_is_not_a_visitors_message_is_refused(
    http: httpx.AsyncClient, headers: dict[str, str], body: Any, status: int
) -> None:
    assert (await http.post(SHOP, content=json.dumps(body), headers=headers)).status_code == status


@pytest.mark.parametrize("path", ["", "/visitor", "/events"])
async def test_browsers_are_told_what_they_ask_before(http: httpx.AsyncClient, path: str) -> None:
    asked = await http.options(f"{SHOP}{path}", headers=FROM_THE_SHOP)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "authorization" in asked.headers["access-control-allow-headers"]
    refused = await http.options(f"{SHOP}{path}", headers=FROM_ELSEWHERE)
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)


@pytest.mark.parametrize("path", ["", "/widget.js", "/visitor", "/events"])
async def test_of_an_account_that_there_is_not_nothing_is_told(http: httpx.AsyncClient, path: str) -> None:
    asked = f"/channels/webchat/other{path}"
    answered = await (http.post if path == "/visitor" else http.get)(asked, headers=bearer())
    assert (answered.status_code, answered.content) == (404, b"unknown")


async def test_who_has_no_token_is_given_one_and_keeps_who_they_are(home: House, http: httpx.AsyncClient) -> None:
    async def given(**headers: str) -> str:
        answered = await http.post(f"{SHOP}/visitor", headers=headers)
        assert (answered.status_code, answered.headers["cache-control"]) == (200, "no-store")
        made = str(answered.json()["token"])
        found = visitor_of(made, SECRET, account="shop", now=home.app.clock.now())
        assert found.anonymous
        return f"{found.visitor} {made}"

    first = await given()
    who, made = first.split()
    assert (await given(**bearer(made))).startswith(who)
    assert not (await given()).startswith(who)
    assert not (await given(**bearer(token("ann")))).startswith("ann ")  # whom the site's server names, it names again


async def test_no_more_tokens_are_given_than_there_is_room_for() -> None:
    async with house(limits=Limits(newcomers=0.001)) as home, client(home) as http:
        first = await http.post(f"{SHOP}/visitor")
        second = await http.post(f"{SHOP}/visitor")
        assert (first.status_code, second.status_code, second.headers["retry-after"]) == (200, 429, "5")
        renewed = await http.post(f"{SHOP}/visitor", headers=bearer(first.json()["token"]))
        assert renewed.status_code == 200


async def test_a_visitor_who_posts_too_much_is_to_come_back() -> None:
    async with house(limits=Limits(rate=0.001)) as home, client(home) as http:
        statuses = [(await http.post(SHOP, json=MESSAGE, headers=bearer())).status_code for _ in range(2)]
        assert statuses == [200, 429]
        other = await http.post(SHOP, json=MESSAGE, headers=bearer(token("bob")))
        assert other.status_code == 200


async def test_a_stream_takes_its_token_as_a_bearers_or_in_the_address(home: House, http: httpx.AsyncClient) -> None:
    for headers in ({}, bearer("x"), bearer(token(seconds=-1))):
        assert (await http.get(f"{SHOP}/events", headers=headers)).status_code == 401
    async with Window(home.gateways[0].app, "events", query=f"token={token()}") as stream:
        assert await stream.until("opening")
        assert stream.status == 200


@pytest.mark.parametrize("path", ["socket", "events"])
async def test_pages_of_other_sites_get_no_connection(home: House, path: str) -> None:
    told = {**bearer(), **FROM_ELSEWHERE}
    async with Window(home.gateways[0].app, path, headers=told) as refused:
        assert await refused.next() == {}
        assert (refused.code or refused.status) in {1000, 403}
    async with Window(home.gateways[0].app, path, headers={**bearer(), **FROM_THE_SHOP}) as window:
        if path == "socket":
            window.send({"token": token()})
        assert await window.until("opening")
