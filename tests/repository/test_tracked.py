"""What is kept in the repository is what we wrote: nothing that a tool left behind while it ran."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.harness.processes import ROOT

HIDDEN: Final = {".ci", ".dockerignore", ".gitignore"}
"""All that has a hidden name and is ours; a tool's cache has one too, and came in so once with 29 crashes of a test."""


def test_no_cache_of_a_tool_is_kept() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no repository: nothing says what is kept")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split("\0")
    hidden = {part for path in tracked for part in Path(path).parts if part.startswith(".")}
    assert hidden == HIDDEN
