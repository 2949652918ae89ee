"""The page about moving over names what there is, and the examples of the session API run, with no services."""

import subprocess
import sys
from pathlib import Path

import pytest

import agentbus.sessions
from agentbus.sessions import SessionManager, SessionSystem
from agentbus.sessions.config import SessionSystemConfig
from tests.docs.markdown import DOCS, ROOT, spans

MOVING = (DOCS / "moving-over.md").read_text("utf-8")
LATER = {"StateModule", "StateManager", "state_dict", "load_state_dict", "load_if_exists", "delete_if_exists", "exists"}


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
