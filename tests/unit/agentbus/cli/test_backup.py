"""`agentbus backup`, as an operator uses it, on a store and a folder of this machine."""

import asyncio
import json
from pathlib import Path

import pytest

from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.factory import open_store
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, begun
from tests.harness.cli import called

ONE, TWO = a_conversation("one"), a_conversation("two")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    async def fill() -> None:
        async with open_store(f"file://{tmp_path}/store") as store:
            for one in (ONE, TWO):
                await store.log.append([a_commit(one, 1, events=[begun(one)])])
                await store.heads.save([a_head(one, version=1)])
            await store.records.put(Record(kind=RecordKind.TEMPLATE, key="t", created_at=NOON, data={}))

    asyncio.run(fill())
    return {"AGENTBUS_STORE_URL": f"file://{tmp_path}/store", "AGENTBUS_BACKUP_URL": f"file://{tmp_path}/backups"}


def test_one_is_made_shown_verified_and_removed(env: dict[str, str], tmp_path: Path) -> None:
    made = called("backup", "create", "--tag", "weekly", "--description", "before the move", "--json", env=env)
    assert made.returncode == 0, made.stderr
    first = json.loads(made.stdout)
    assert (first["kind"], first["conversations"], first["format"], first["tags"]) == ("full", 2, "json", ["weekly"])
    second = json.loads(called("backup", "create", "--incremental", "--json", env=env).stdout)
    assert (second["kind"], second["base"], second["written"]) == ("incremental", first["backup_id"], 0)

    listed = json.loads(called("backup", "list", "--json", env=env).stdout)["items"]
    assert listed == [second, first]
    assert json.loads(called("backup", "show", "latest", "--json", env=env).stdout) == second
    assert "all as they were written" in called("backup", "verify", env=env).stderr

    dry = called("backup", "prune", "--last", "1", "--dry-run", env=env)
    assert f"would remove {first['backup_id']}" in dry.stdout
    assert json.loads(called("backup", "prune", "--last", "1", "--json", env=env).stdout)["backups"] == [
        first["backup_id"]
    ]
    assert called("backup", "verify", env=env).returncode == 0
    assert json.loads(called("backup", "list", "--json", env=env).stdout)["items"] == [second]
    called("backup", "prune", "--remove", second["backup_id"], env=env)
    assert [path for path in (tmp_path / "backups").rglob("*") if path.is_file()] == []


def test_a_fault_is_named_and_the_exit_status_says_so(env: dict[str, str], tmp_path: Path) -> None:
    called("backup", "create", env=env)
    file = next(path for path in (tmp_path / "backups" / "files").rglob("*.json"))
    file.write_bytes(file.read_bytes()[:-1])
    verified = called("backup", "verify", "--json", env=env)
    assert verified.returncode == 1
    (fault,) = json.loads(verified.stdout)["items"]
    assert fault["file"] == str(file.relative_to(tmp_path / "backups"))


def test_what_it_needs_is_said(env: dict[str, str], tmp_path: Path) -> None:
    for arguments, words in (
        (("create", "--format", "pickle"), "AGENTBUS_BACKUP_KEY"),
        (("show", "20260101t000000000z-00000000"), "there is no backup"),
        (("prune", "--remove", "20260101t000000000z-00000000"), "there is no backup"),
        (("verify", "x"), "there is no backup"),
    ):
        done = called("backup", *arguments, env=env)
        assert done.returncode != 0
        assert words in done.stderr + done.stdout, done
    del env["AGENTBUS_BACKUP_URL"]
    assert "--to" in called("backup", "list", env=env).stderr
    assert not (tmp_path / "backups" / "files").exists()


def test_a_damaged_session_is_named_and_the_others_are_backed_up(env: dict[str, str], tmp_path: Path) -> None:
    (log,) = (tmp_path / "store" / "conversations").glob(f"*/{ONE}/log/*/*.json")
    log.write_text("{")
    record = next((tmp_path / "store" / "records" / "template").glob("*.json"))
    record.write_text("{")
    made = called("backup", "create", "--json", env=env)
    assert made.returncode == 1
    found = json.loads(made.stdout)
    assert (found["conversations"], found["damaged"]) == (1, 2)
    incomplete = f"backup {found['backup_id']} lacks 2 things that were damaged"
    for words in (ONE, record.name, incomplete):
        assert words in made.stderr
    assert json.loads(called("backup", "list", "--json", env=env).stdout)["items"][0]["damaged"] == 2
    restored = called("backup", "restore", "latest", "--store", f"sqlite:///{tmp_path}/other.db", env=env)
    assert restored.returncode == 0, restored.stderr
    assert incomplete in restored.stderr


def test_an_empty_store_does_not_take_the_place_of_a_full_one(env: dict[str, str], tmp_path: Path) -> None:
    called("backup", "create", env=env)
    (tmp_path / "store").rename(tmp_path / "lost")
    refused = called("backup", "create", env=env)
    assert refused.returncode != 0
    assert "holds no conversation any more" in refused.stderr
    assert len(json.loads(called("backup", "list", "--json", env=env).stdout)["items"]) == 1
