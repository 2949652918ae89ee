"""README and docs say what is so: their code runs, their commands exist, their links, files and settings are right."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Final

import pytest
import typer.main
from structlog.testing import capture_logs

from agentbus.cli import app
from agentbus.sessions.config import ENV_PREFIX as SESSIONS_PREFIX
from agentbus.sessions.config import SessionSystemConfig
from agentbus.settings import CONCERNS, settings_table
from agentbus.variables import ENV_PREFIX
from tests.docs.command_lines import CommandLine, check_agentbus, command_lines
from tests.docs.markdown import DOCS, PAGES, README, ROOT, Block, blocks, links, section, spans
from tests.docs.running import execute, imports_of, whole_agentbus

DOCUMENTS: Final = (README, *PAGES)
TEXTS: Final = {path.stem: path.read_text("utf-8") for path in DOCUMENTS}
PYTHON: Final = [
    pytest.param(block, id=f"{name}-{block}") for name, text in TEXTS.items() for block in blocks(text, "python")
]
RUN: Final = [one for one in PYTHON if isinstance(block := one.values[0], Block) and block.not_run is None]
COMMANDS: Final = [
    command
    for text in TEXTS.values()
    for block in blocks(text, "console", "bash", "sh", "shell")
    for command in command_lines(block.text)
]
SPANS: Final = [
    command
    for text in TEXTS.values()
    for span in spans(text)
    if span.startswith("agentbus ")
    for command in command_lines(span)
]
AGENTBUS: Final = list(
    {str(command): command for command in (*COMMANDS, *SPANS) if command.agentbus is not None}.values()
)
SETTINGS: Final = {f"{ENV_PREFIX}{name.upper()}" for concern in CONCERNS for name in concern.model_fields} | {
    f"{SESSIONS_PREFIX}{field.name.upper()}" for field in fields(SessionSystemConfig)
}
FILE: Final = re.compile(r"(?:agentbus|contracts|deploy|docs|examples|requirements|storage|tests|workers)/[\w./-]+")


@pytest.mark.parametrize("block", PYTHON)
def test_what_python_imports_is_there(block: Block) -> None:
    if block.not_run is None:
        execute(imports_of(block.text))


@pytest.mark.parametrize("block", RUN)
def test_python_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with whole_agentbus(monkeypatch) as seen, capture_logs() as logs:
        execute(block.text)
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    assert "Traceback" not in capsys.readouterr().err
    assert bool(seen.committed) == ("connect()" in block.text)
    assert bool(seen.handled) == (".on(" in block.text or ".on_message(" in block.text)


@pytest.mark.parametrize("command", AGENTBUS, ids=str)
def test_agentbus_understands_the_command(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_agentbus(command.agentbus or [], tmp_path)


def test_every_command_is_told_of() -> None:
    top = {word for command in AGENTBUS for word in (command.agentbus or [])[:1]}
    assert set(getattr(typer.main.get_command(app), "commands", {})) - top == set()


def test_variables_are_settings() -> None:
    variables = {name for command in COMMANDS for name in command.variables if name.startswith(ENV_PREFIX)}
    named = {span.partition("=")[0] for text in TEXTS.values() for span in spans(text) if span.startswith(ENV_PREFIX)}
    assert variables | named <= SETTINGS


def test_the_settings_are_those_that_there_are() -> None:
    assert section(TEXTS["settings"], "settings").strip() == settings_table()


def test_make_has_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8").splitlines()
    targets = {line.partition(":")[0] for line in makefile if ":" in line and not line.startswith(("\t", "#", "."))}
    used = {word for command in COMMANDS if command.words[:1] == ("make",) for word in command.words[1:]}
    spoken = {span.split()[1] for text in TEXTS.values() for span in spans(text) if span.startswith("make ")}
    assert {word for word in used | spoken if "=" not in word} <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_and_files_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    assert [target for target in links(text) if not (document.parent / target).exists()] == []
    assert [span for span in spans(text) if FILE.fullmatch(span) and not (ROOT / span).exists()] == []


def test_decisions_are_listed_by_number_and_title() -> None:
    records = sorted((ROOT / "deploy" / "adr").glob("0*.md"))
    listed = [line for line in (DOCS / "adr" / "index.md").read_text("utf-8").splitlines() if line.startswith("- ")]
    titles = [path.read_text("utf-8").partition("\n")[0].removeprefix("# ") for path in records]
    assert listed == [f"- [{title}]({path.name})" for title, path in zip(titles, records, strict=True)]
    assert [int(title.partition(".")[0]) for title in titles] == [int(path.name[:4]) for path in records]


def test_the_site_is_built_from_them(tmp_path: Path) -> None:
    """In strict mode a link that leads nowhere, or a page that is in no menu, fails."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    missing = [
        page.stem for page in PAGES if not list(tmp_path.glob(f"{page.stem}/index.html")) and page.stem != "index"
    ]
    assert missing == []


def test_there_is_something_to_check() -> None:
    assert len(PYTHON) >= 10
    assert len(AGENTBUS) >= 20
