"""README and the pages about using it, as a new user follows them: every command typed, every script run, in order."""

import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.docs.markdown import DOCS, PAGES, README, ROOT, blocks
from tests.docs.reading import HUNG, Reader, reader
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program

FOLLOWED: Final = (README, *(DOCS / f"{name}.md" for name in ("publish", "subscribe", "sessions", "sync", "expiry")))
NOT_TYPED: Final = {"make test": "this is a part of it"}
PUBLISH: Final = 'agentbus publish "hello" --chat lobby --user ada'


def until_it_replies(somebody: Reader, script: Program) -> None:
    """Publish until a script's reply is among the events: it does not say when it listens."""
    deadline = time.monotonic() + PATIENCE
    while "You told me" not in somebody.output_of("agentbus events tail"):
        assert time.monotonic() < deadline, script.output() + somebody.output_of("agentbus events tail")
        somebody.type(PUBLISH)


def test_no_document_shows_what_nothing_runs() -> None:
    """Commands and scripts are in what is followed here; other pages have Python that test_documents.py runs.

    The page about the broker's rights is run by test_rabbit_permissions.py.
    """
    shown = {
        (path, block.language)
        for path in [*ROOT.glob("*.md"), *PAGES, *(ROOT / "deploy").rglob("*.md")]
        for block in blocks(path.read_text("utf-8"))
        if block.not_run is None
    }
    elsewhere = {(path, language) for path, language in shown if path not in FOLLOWED}
    assert {language for _, language in shown - elsewhere} <= {"console", "python", "mermaid"}
    assert {(path.stem, language) for path, language in elsewhere if language not in {"python", "mermaid"}} == {
        ("broker-permissions", "sh")
    }
    assert {path for path, language in elsewhere if language == "python"} <= set(PAGES)
    assert [block.not_run for path in FOLLOWED for block in blocks(path.read_text("utf-8")) if block.not_run] == []


@pytest.mark.timeout(4 * HUNG)
def test_they_can_be_followed(tmp_path: Path) -> None:
    with reader(tmp_path, NOT_TYPED) as somebody:
        for document in FOLLOWED:
            for block in blocks(document.read_text("utf-8"), "console", "python"):
                somebody.follow(block)
        assert somebody.left_out == list(NOT_TYPED)
        assert "lost 0, duplicated 0, reordered 0" in somebody.shown, "what the demonstration came to"
        assert "hello" in somebody.shown, "what is in the session's history"
        assert "Hello!" in somebody.output_of("agentbus events tail"), "what the script published"
        scripts = [one.program for one in somebody.running if one.line.endswith(".py")]
        assert len(scripts) == 2, "the bots of README and of the page about subscribing"
        until_it_replies(somebody, scripts[0])
    for one in somebody.running:
        assert one.program.process.returncode in {0, 130, -signal.SIGINT}, f"{one.line}: {one.program.output()}"
