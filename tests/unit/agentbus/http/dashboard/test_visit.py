"""What pages say gives the same: a call that there is, and a command that takes what stands there."""

import html
import re
import shlex
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from agentbus.http.app import make_app
from tests.harness.cli import whole_command_line
from tests.harness.dashboard import a_desk, fill, looked_at


async def test_what_gives_the_same_is_there() -> None:
    api, line = make_app().openapi()["paths"], whole_command_line()
    calls = commands = 0
    async with a_desk() as desk:
        filled = await fill(desk.app, harm="I moved")
        for path in looked_at(filled):
            page = (await desk.get(path)).text
            for call in re.findall(r"<dt>API</dt><dd><code>(\w+ [^<]+)</code>", page):
                calls += 1
                method, target = html.unescape(call).split(" ", 1)
                where = urlsplit(target)
                [known] = [_asked(one[method.lower()]) for name, one in api.items() if _is(name, where.path)]
                assert {name for name, _ in parse_qsl(where.query)} <= known, (path, call)
            for command in re.findall(r"<dt>Terminal</dt><dd><code>([^<]+)</code>", page):
                commands += 1
                _understood(line, shlex.split(html.unescape(command))[1:], path)
    assert calls >= 5
    assert commands >= 10


def _is(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) is not None


def _asked(operation: Any) -> set[str]:
    """Return what may stand in a call's query."""
    return {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}


def _understood(command: Any, words: list[str], path: str) -> None:
    while hasattr(command, "get_command"):  # a group, of whichever release of click
        command = command.get_command(None, words.pop(0))
        assert command, (path, words)
    given = {f"--{name}" for name, _ in re.findall(r"--([a-z-]+)( |$)", " ".join(words))}
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert given <= known, (path, given - known)
