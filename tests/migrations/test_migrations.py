"""A short journey, killed on the way; and what counts as a good one."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.harness.cli import called
from tests.migrations.__main__ import is_flat
from tests.migrations.run import Journey, Move, embedded, kill_halfway, prepare

MOVE = Move(source="SQLite", target="files", killed=False, seconds=1.0, peak_mb=100.0, digest="a")
JOURNEY = Journey(sessions=10, messages=200, digest="a", moves=[MOVE, MOVE], end="a")


def _told(*arguments: str) -> dict[str, Any]:
    done = called("store", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_sessions_come_back_as_they_were_though_a_move_was_killed(tmp_path: Path) -> None:
    first, files, last = embedded(tmp_path)
    asyncio.run(prepare(first, 66))
    before = _told("info", first.url)
    assert (before["sessions"], before["messages"], before["parked"]) == (66, 66 * 20, 1)

    kill_halfway(first, last)
    halfway = called("store", "migrate", last.url, files.url)
    assert "the source is itself half a copy of" in halfway.stderr
    moved = _told("migrate", first.url, last.url)

    assert {name: before[name] for name in moved} == moved


def test_another_digest_anywhere_is_told() -> None:
    assert JOURNEY.same
    assert not replace(JOURNEY, end="b").same
    assert not replace(JOURNEY, moves=[MOVE, replace(MOVE, digest="b")]).same


def test_memory_that_grows_is_told() -> None:
    assert is_flat(JOURNEY, replace(JOURNEY, moves=[MOVE, replace(MOVE, peak_mb=119.0)]))
    assert not is_flat(JOURNEY, replace(JOURNEY, moves=[MOVE, replace(MOVE, peak_mb=121.0)]))
