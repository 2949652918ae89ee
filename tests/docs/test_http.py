"""The page about the HTTP API: what its `curl` lines would send is sent, and answered."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import httpx

from agentbus.http.app import make_app
from agentbus.http.calls import FOR_USERS, ROLE
from agentbus.operations.api_keys import Role
from tests.docs.markdown import DOCS, blocks
from tests.harness.api import a_message, api_world
from tests.harness.following import called

PAGE: Final = DOCS / "http.md"


def requests(key: str, *, lasting: bool = False) -> Iterator[httpx.Request]:
    """Yield what each `curl` line sends, of those alone whose answers last (`-N`), or do not."""
    for block in blocks(PAGE.read_text("utf-8"), "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.replace("$KEY", key))
            if words[:1] != ["curl"]:
                continue
            headers: dict[str, str] = {}
            method, url, body = "GET", "", None
            if ("-N" in words) is not lasting:
                continue
            rest = iter(word for word in words[1:] if word != "-N")
            for word in rest:
                match word:
                    case "-H":
                        name, _, value = next(rest).partition(": ")
                        headers[name] = value
                    case "-d":
                        method, body = "POST", next(rest).encode()
                    case "-X":
                        method = next(rest)
                    case _:
                        assert not word.startswith("-"), word
                        url = word
            yield httpx.Request(method, url, headers=headers, content=body)


async def test_what_the_page_sends_is_answered() -> None:
    async with api_world() as world:
        key = await world.key(*Role)
        async with world.caller() as client:
            answers = [await client.send(request) for request in requests(key)]
    assert len(answers) >= 3
    assert {answer.status_code for answer in answers} <= {200, 202}, [one.text for one in answers]


async def test_what_the_page_follows_is_told() -> None:
    async with api_world() as world:
        key = await world.key(*Role)
        await world.api.parts.streams.start()
        asked = list(requests(key, lasting=True))
        assert len(asked) >= 3
        async with world.caller(key) as client:
            session = (await client.post("/v1/messages", json=a_message())).json()["session_id"]
            for request in asked:
                headers = {name: value for name, value in request.headers.items() if name != "host"}
                path = request.url.path.replace("SESSION", session)
                async with called(world.api.app, path, request.url.query.decode(), **headers) as call:
                    assert call.status in (200, 410), call.body
                    assert call.status == 200 or "last-event-id" in headers
        await world.api.parts.streams.close()


def test_the_page_knows_the_roles() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE) == [role.value for role in Role]


def test_the_page_lists_the_calls_that_there_are() -> None:
    listed = re.findall(r"^\| `(\w+ /v1\S*)` \| `(\w+)` \| (yes)? ?\| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    paths = make_app().openapi()["paths"]
    assert listed == [
        (f"{method.upper()} {path}", call[ROLE], "yes" if call[FOR_USERS] else "", call["summary"])
        for path, calls in paths.items()
        for method, call in calls.items()
    ]
