"""The checks of documents find what is wrong in them."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

import agentbus.client
from agentbus.client import AgentBus
from tests.docs.command_lines import check_agentbus, command_lines
from tests.docs.markdown import blocks, links, section, spans
from tests.docs.running import execute, imports_of, whole_agentbus

DOCUMENT = """\
See [there](docs/a.md#b), [out](https://example.org/) and `agentbus doctor`.

```python
print("`no span`, [no link](x)")
```

<!-- not run: it takes an hour -->
```python
wait()
```

<!-- table -->
| a |
<!-- /table -->
"""

SUBSCRIBER = """\
from agentbus.client import connect

async with connect() as bus:
    @bus.on("session.#")
    async def handle(event):
        {body}
    await bus.run()
"""


def test_reading_markdown() -> None:
    first, second = blocks(DOCUMENT, "python")
    assert (first.line, first.not_run) == (4, None)
    assert (second.text, second.not_run) == ("wait()\n", "it takes an hour")
    assert spans(DOCUMENT) == ["agentbus doctor"]
    assert links(DOCUMENT) == ["docs/a.md"]
    assert section(DOCUMENT, "table") == "| a |\n"
    with pytest.raises(AssertionError, match="no section 'other'"):
        section(DOCUMENT, "other")


def test_reading_command_lines() -> None:
    session = (
        "$ A=1 agentbus demo  # shows it\noutput\nexport B='2 3'\n$ cd x && python -m agentbus \\\n  doctor --json\n"
    )
    first, second, third, fourth = command_lines(session)
    assert (first.agentbus, first.variables) == (["demo"], {"A": "1"})
    assert (second.agentbus, second.variables) == (None, {"B": "2 3"})
    assert (third.agentbus, third.words) == (None, ("cd", "x"))
    assert fourth.agentbus == ["doctor", "--json"]
    assert [one.words for one in command_lines("a b\nc\n")] == [("a", "b"), ("c",)]


@pytest.mark.parametrize(
    "line",
    [
        "doctor",
        "replay some/history.json --format auto",
        "sessions list --platform telegram --limit 5 --json",
        "worker session --http-port 9100 --amqp amqp://host/",
    ],
)
def test_a_right_command_passes_without_being_run(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_agentbus(line.split(), tmp_path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("dance", "dance"),
        ("worker dance", "dance"),
        ("doctor --loud", "--loud"),
        ("sessions show", "session_id"),
        ("sessions list --platform Pigeon", "Pigeon"),
        ("worker session --http-port many", "integer"),
        ("doctor now", "now"),
    ],
)
def test_a_wrong_command_is_found(line: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=complaint) as caught:
        check_agentbus(line.split(), tmp_path)
    assert type(caught.value).__module__.startswith("typer")


def test_an_import_that_is_gone_is_found() -> None:
    execute(imports_of("from agentbus.client import connect\nundefined()"))
    with pytest.raises(ImportError, match="disconnect"):
        execute(imports_of("def f():\n    from agentbus.client import disconnect"))


def test_code_that_fails_is_found() -> None:
    with pytest.raises(NameError):
        execute("undefined()")
    with pytest.raises(NameError):
        execute("import asyncio\nawait asyncio.sleep(0)\nundefined()")


def test_a_subscriber_gets_something_to_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    with whole_agentbus(monkeypatch) as seen, capture_logs() as logs:
        execute(SUBSCRIBER.format(body="assert event.sequence"))
    assert (len(seen.handled), len(seen.committed)) == (2, 1)
    assert "error" not in {line["log_level"] for line in logs}


def test_a_handler_that_fails_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.workers.reactive.handler.HANDLER_ATTEMPTS", 1)
    with whole_agentbus(monkeypatch), capture_logs() as logs:
        execute(SUBSCRIBER.format(body="event.unknown"))
    assert "handler_failed" in {line["event"] for line in logs}


def test_nothing_stays_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    before = vars(agentbus.client).copy(), AgentBus.run
    with whole_agentbus(monkeypatch):
        assert (vars(agentbus.client), AgentBus.run) != before
    assert (vars(agentbus.client), AgentBus.run) == before
