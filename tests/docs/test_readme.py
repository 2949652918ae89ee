"""The README says what is so: its code runs, its commands exist, its settings and links are right."""

import asyncio
from pathlib import Path

import pytest
import typer.main
from structlog.testing import capture_logs

from agentbus.cli import app
from agentbus.sessions import SessionContext, SessionSystem
from agentbus.sessions.config import make_config
from agentbus.settings import CONCERNS, settings_table
from agentbus.variables import ENV_PREFIX
from tests.docs.command_lines import CommandLine, check_agentbus, command_lines
from tests.docs.markdown import README, ROOT, Block, blocks, links, section, spans
from tests.docs.running import execute, imports_of, many_at_once, whole_agentbus

TEXT = README.read_text("utf-8")
PYTHON = blocks(TEXT, "python")
COMMANDS = [
    command for block in blocks(TEXT, "console", "bash", "sh", "shell") for command in command_lines(block.text)
]
SPANS = [command for span in spans(TEXT) if span.startswith("agentbus ") for command in command_lines(span)]
AGENTBUS = [command for command in (*COMMANDS, *SPANS) if command.agentbus is not None]
SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for concern in CONCERNS for name in concern.model_fields}


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_what_python_imports_is_there(block: Block) -> None:
    execute(imports_of(block.text))


@pytest.mark.parametrize("block", [block for block in PYTHON if block.not_run is None], ids=str)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with whole_agentbus(monkeypatch) as seen, capture_logs() as logs:
        execute(block.text)
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    assert bool(seen.committed) == ("connect(" in block.text)
    assert bool(seen.handled) == (".on(" in block.text)


def test_the_first_example_works_with_many_requests_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = next(block.text for block in PYTHON if "session_context(" in block.text)
    execute(many_at_once(example, "session_context", times=20))
    assert f"{['Hello!'] * 20}\n" in capsys.readouterr().out

    async def kept() -> SessionContext | None:
        async with SessionSystem(make_config(storage_type="DATABASE", storage_config={"db_path": "sessions.db"})) as s:
            return await s.get_user_session("ann", "42", "telegram")

    session = asyncio.run(kept())
    assert session is not None
    assert (session.message_count, session.data) == (20, {"step": 20})


@pytest.mark.parametrize("command", AGENTBUS, ids=str)
def test_agentbus_understands_the_command(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_agentbus(command.agentbus or [], tmp_path)


def test_variables_are_settings() -> None:
    variables = {name for command in COMMANDS for name in command.variables if name.startswith(ENV_PREFIX)}
    named = {span.partition("=")[0] for span in spans(TEXT) if span.startswith(ENV_PREFIX)}
    assert variables | named <= SETTINGS


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").splitlines()
    targets = {line.partition(":")[0] for line in makefile if ":" in line and not line.startswith(("\t", "#", "."))}
    used = {word for command in COMMANDS if command.words[:1] == ("make",) for word in command.words[1:]}
    spoken = {span.split()[1] for span in spans(TEXT) if span.startswith("make ")}
    assert {word for word in used | spoken if "=" not in word} <= targets


def test_every_command_is_told_of() -> None:
    top = {word for command in AGENTBUS for word in (command.agentbus or [])[:1]}
    assert set(getattr(typer.main.get_command(app), "commands", {})) - top == set()


def test_the_settings_are_those_that_there_are() -> None:
    assert section(TEXT, "settings").strip() == settings_table()


@pytest.mark.parametrize("target", sorted(set(links(TEXT))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_there_is_something_to_check() -> None:
    assert len(PYTHON) >= 2
    assert len(AGENTBUS) >= 5
