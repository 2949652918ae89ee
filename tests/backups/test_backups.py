"""A slice of `make backups`: few sessions, killed once; and what counts as a good run."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

from tests.backups.__main__ import judged
from tests.backups.restoring import main as restore
from tests.backups.run import Command, Figures, filled, killed, restoring_killed, same_as_in
from tests.harness.cli import called

SESSIONS = 60

FULL = Command(told={"written": 1000, "items": []}, seconds=100.0, peak_mb=100.0)
RUN = Figures(
    sessions=10,
    messages=200,
    came_in=5,
    full=FULL,
    incremental=Command(told={"written": 49}, seconds=4.9, peak_mb=100.0),
    verified=FULL,
    resumed=FULL,
    restored=FULL,
    killed_once=True,
    same=True,
)


def test_one_that_was_killed_is_gone_on_with_and_all_digests_are_the_same(tmp_path: Path) -> None:
    store, place = f"sqlite:///{tmp_path}/sessions.db", f"file://{tmp_path}/backups"
    asyncio.run(filled(store, SESSIONS))
    where = ("--store", store, "--to", place)
    assert killed(15, *where, SMALL="yes")
    (begun,) = (tmp_path / "backups" / "begun").glob("*.json")
    assert json.loads(begun.read_text())["groups"], "it was noted how far it was"
    assert not (tmp_path / "backups" / "backups").exists(), "it is no backup yet"
    made = json.loads(called("backup", "create", *where, "--json").stdout)
    assert made["backup_id"] == begun.stem
    assert made["conversations"] == SESSIONS
    assert asyncio.run(same_as_in(store, place, made["backup_id"]))
    assert called("backup", "verify", "--to", place).returncode == 0

    target = f"sqlite:///{tmp_path}/restored.db"
    assert restoring_killed(SESSIONS // 2, target, place, made["backup_id"])
    assert not asyncio.run(same_as_in(target, place, made["backup_id"]))
    asyncio.run(restore(target, place, made["backup_id"], None))
    assert asyncio.run(same_as_in(target, place, made["backup_id"]))


def test_what_is_not_as_it_has_to_be_is_told() -> None:
    assert all(judged(RUN, RUN).values())
    for name, wrong in {
        "same": replace(RUN, same=False),
        "flat": replace(RUN, full=replace(FULL, peak_mb=121.0)),
        "small": replace(RUN, incremental=replace(RUN.incremental, told={"written": 51})),
        "quick": replace(RUN, incremental=replace(RUN.incremental, seconds=5.1)),
        "killed_and_gone_on_with": replace(RUN, killed_once=False),
        "verified": replace(RUN, verified=replace(FULL, told={"items": [{"file": "x"}]})),
    }.items():
        assert [one for one, well in judged(RUN, wrong).items() if not well] == [name]
