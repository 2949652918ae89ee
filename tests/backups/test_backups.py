"""A slice of `make backups`: few sessions, killed once; and what counts as a good run."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from agentbus.storage.factory import open_store
from tests.backups.__main__ import judged
from tests.backups.run import Command, Figures, filled, killed, same_as_in
from tests.harness.backups import backups_in, faults_of
from tests.harness.builders import a_commit, a_conversation, begun
from tests.harness.cli import called

SESSIONS = 60
FEW, COMMITS = 12, 8
"""Sessions that come back through their owners, and commits of each."""

FULL = Command(told={"written": 1000, "items": []}, seconds=100.0, processor=100.0, peak_mb=100.0)
RUN = Figures(
    sessions=10,
    messages=200,
    came_in=5,
    full=FULL,
    incremental=Command(told={"written": 49}, seconds=4.9, processor=4.9, peak_mb=100.0),
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
    assert killed(15, "create", *where, SMALL="yes")
    (begun,) = (tmp_path / "backups" / "begun").glob("*.json")
    assert json.loads(begun.read_text())["groups"], "it was noted how far it was"
    assert not (tmp_path / "backups" / "backups").exists(), "it is no backup yet"
    made = json.loads(called("backup", "create", *where, "--json").stdout)
    assert made["backup_id"] == begun.stem
    assert made["conversations"] == SESSIONS
    assert asyncio.run(same_as_in(store, place, made["backup_id"]))
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert len(files) > 15
    asyncio.run(flipped_bytes_are_found(tmp_path / "backups", files))
    assert called("backup", "verify", "--to", place).returncode == 0

    target = f"sqlite:///{tmp_path}/restored.db"
    assert killed(COMMITS, "restore", "latest", "--store", target, "--to", place)
    assert not asyncio.run(same_as_in(target, place, made["backup_id"]))
    assert called("backup", "restore", "latest", "--store", target, "--to", place).returncode == 0
    assert asyncio.run(same_as_in(target, place, made["backup_id"]))


async def flipped_bytes_are_found(folder: Path, files: Sequence[Path]) -> None:
    """Flip a byte of each file of the backups in turn: verifying names that file, and no other."""
    place = backups_in(folder)
    for number, file in enumerate(files):
        sound = file.read_bytes()
        flipped = bytearray(sound)
        flipped[Random(number).randrange(len(sound))] ^= 0x01
        file.write_bytes(flipped)
        assert list(await faults_of(place)) == [str(file.relative_to(folder))]
        file.write_bytes(sound)


def test_one_that_goes_through_the_owners_is_gone_on_with_wherever_it_was_killed(tmp_path: Path) -> None:
    """The store is in use, by others' sessions: the process that restores is the owner of all."""
    source, store = (f"sqlite:///{tmp_path}/{name}.db" for name in ("source", "store"))
    place = f"file://{tmp_path}/backups"
    asyncio.run(filled(source, FEW))
    made = json.loads(called("backup", "create", "--store", source, "--to", place, "--json").stdout)
    asyncio.run(somebody_writes_to(store))
    random = Random()
    for append in (random.randrange(1, 4), random.randrange(1, 4)):  # all take COMMITS, if a round takes all sessions
        assert killed(append, "restore", "latest", "--store", store, "--to", place), append
        assert not asyncio.run(same_as_in(store, place, made["backup_id"])), append
    done = called("backup", "restore", "latest", "--store", store, "--to", place, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["epoch"]) == (0, 1)
    assert asyncio.run(same_as_in(store, place, made["backup_id"]))
    again = json.loads(called("backup", "restore", "latest", "--store", store, "--to", place, "--json").stdout)
    assert again["outcomes"] == {"same": FEW}


async def somebody_writes_to(url: str) -> None:
    async with open_store(url) as store:
        one = a_conversation("of somebody else")
        await store.log.append([a_commit(one, 1, events=[begun(one)])])


def test_what_is_not_as_it_has_to_be_is_told() -> None:
    assert all(judged(RUN, RUN).values())
    costly = replace(RUN, incremental=replace(RUN.incremental, processor=5.1))
    assert [one for one, well in judged(RUN, costly).items() if not well] == ["quick"]
    for name, wrong in {
        "same": replace(RUN, same=False),
        "flat": replace(RUN, full=replace(FULL, peak_mb=121.0)),
        "small": replace(RUN, incremental=replace(RUN.incremental, told={"written": 51})),
        "quick": replace(RUN, incremental=replace(RUN.incremental, seconds=5.1)),
        "killed_and_gone_on_with": replace(RUN, killed_once=False),
        "verified": replace(RUN, verified=replace(FULL, told={"items": [{"file": "x"}]})),
    }.items():
        assert [one for one, well in judged(RUN, wrong).items() if not well] == [name]
