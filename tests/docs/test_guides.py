"""The guides and the examples of the session API say what is so: their code runs, with no services."""

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import agentbus.sessions
from agentbus.sessions import SessionManager, SessionSystem
from agentbus.sessions.config import SessionSystemConfig
from tests.docs.command_lines import check_agentbus, command_lines
from tests.docs.markdown import ROOT, Block, blocks, links, spans
from tests.docs.running import execute

GUIDES = sorted((ROOT / "deploy" / "guides").glob("*.md"))
BLOCKS = [
    pytest.param(block, id=f"{guide.stem}-{block}")
    for guide in GUIDES
    for block in blocks(guide.read_text("utf-8"), "python")
    if block.not_run is None
]
MOVING = (ROOT / "deploy" / "guides" / "moving-from-other-session-managers.md").read_text("utf-8")
LATER = {"StateModule", "StateManager", "state_dict", "load_state_dict", "load_if_exists", "delete_if_exists", "exists"}


@pytest.mark.parametrize("block", BLOCKS)
def test_python_runs(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as logs:
        execute(block.text)
    assert [line for line in logs if line["log_level"] in {"warning", "error"}] == []
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_links_and_commands_are_right(guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = guide.read_text("utf-8")
    assert all((guide.parent / target).exists() for target in links(text))
    monkeypatch.chdir(tmp_path)
    for span in spans(text):
        for command in command_lines(span) if span.startswith("agentbus ") else ():
            check_agentbus(command.agentbus or [], tmp_path)


def test_what_a_table_says_is_here_is_here() -> None:
    """A call in the right column is a function, method or setting of ours, unless the row says it comes later."""
    known = {*dir(SessionManager), *dir(SessionSystem), *agentbus.sessions.__all__, *SessionSystemConfig().__dict__}
    known |= {*dir(agentbus.sessions.SessionContext), *LATER, "load"}
    rows = [line.split(" | ", 1)[1] for line in MOVING.splitlines() if line.startswith("| ") and " | " in line]
    called = {span.partition("(")[0].rpartition(".")[2] for row in rows for span in spans(row) if "(" in span}
    assert len(called) >= 15
    assert called - known == set()


def test_what_a_table_says_is_the_same_is_there() -> None:
    rows = [line.split(" | ", 1) for line in MOVING.splitlines() if line.startswith("| ") and " | " in line]
    same = {
        span.partition("(")[0].rpartition(".")[2].partition("[")[0]
        for left, right in rows
        if right.startswith(("the same", "a page"))
        for span in spans(left)
    }
    known = {*dir(SessionSystem), *agentbus.sessions.__all__, *dir(agentbus.sessions.SessionStore)}
    assert len(same) > 30
    assert same - known == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sessions_basic.py",
            ("after a restart: ['Hello!', 'Hello again!'] {'greetings': 2}", "refused: ", "deleted: None"),
        ),
        ("sessions_sharing.py", ("bob is refused", "bob may read, not write", "carol reads: ['Where", "2 messages")),
        ("agent_sessions.py", ("restored: {'step': 1}", "one at a time", "too late", "['helper-2', 'helper-3']")),
    ],
)
def test_an_example_runs_with_no_services(name: str, said: tuple[str, ...], tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for words in said:
        assert words in ran.stdout
