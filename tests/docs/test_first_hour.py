"""The README from top to bottom, as a new user follows it: every command typed, every script run, in order."""

import signal
import time
from pathlib import Path

import pytest

from tests.docs.markdown import README, ROOT, blocks
from tests.docs.reading import HUNG, Reader, reader
from tests.processes import PATIENCE, Program

NOT_TYPED = {"make test": "this is a part of it"}
PUBLISH = 'agentbus publish "hello" --chat lobby --user ada'


def until_it_replies(somebody: Reader, script: Program) -> None:
    """Publish until the script's reply is among the events: it does not say when it listens."""
    deadline = time.monotonic() + PATIENCE
    while "Message 0000" not in somebody.output_of("agentbus events tail"):
        assert time.monotonic() < deadline, script.output() + somebody.output_of("agentbus events tail")
        somebody.type(PUBLISH)


def test_no_document_shows_what_nothing_runs() -> None:
    """README's commands and scripts are run here, the guides' Python in test_guides.py; elsewhere is none.

    The guide about the broker is run by test_rabbit_permissions.py.
    """
    shown = {
        (path.relative_to(ROOT).parts[0], block.language)
        for path in [*ROOT.glob("*.md"), *(ROOT / "deploy").rglob("*.md")]
        for block in blocks(path.read_text("utf-8"))
        if block.not_run is None
    }
    readme = {("README.md", language) for language in ("console", "python", "mermaid")}
    assert shown == readme | {("deploy", "python"), ("deploy", "sh")}
    assert [block.not_run for block in blocks(README.read_text("utf-8")) if block.not_run] == []


@pytest.mark.timeout(4 * HUNG)
def test_the_readme_can_be_followed(tmp_path: Path) -> None:
    document = blocks(README.read_text("utf-8"), "console", "python")
    with reader(tmp_path, NOT_TYPED) as somebody:
        for block in document:
            somebody.follow(block)
        assert somebody.left_out == list(NOT_TYPED)
        assert "lost 0, duplicated 0, reordered 0" in somebody.shown, "what the demonstration came to"
        assert "hello" in somebody.shown, "what is in the session's history"
        assert "Hello!" in somebody.output_of("agentbus events tail"), "what the script published"
        (script,) = [one.program for one in somebody.running if one.line.endswith(".py")]
        until_it_replies(somebody, script)
    for one in somebody.running:
        assert one.program.process.returncode in {0, 130, -signal.SIGINT}, f"{one.line}: {one.program.output()}"
