"""What is particular to the file store: its layout, and what several processes, crashes and damage do to it."""

import asyncio
import errno
import fcntl
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from agentbus.contracts.errors import DuplicateInput, StoreDamaged, StoreRejected, StoreUnavailable, VersionConflict
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import InputId, Partition
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage import private
from agentbus.storage.factory import open_store
from agentbus.storage.files import FileStore, disk, reading
from agentbus.storage.files.layout import file_name
from agentbus.storage.port import Store, attempt_at
from agentbus.testing.conformance.store_scans_suite import gone_through
from tests.contract.store_inside import age_heartbeat
from tests.harness.builders import (
    NOON,
    a_commit,
    a_conversation,
    a_head,
    a_key,
    a_member,
    a_parked,
    deleted,
)
from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT, started

ENV: Final = {"PYTHONPATH": str(ROOT)}
HOUR: Final = 3600.0

WRITER: Final = """
import asyncio, sys
from agentbus.storage.factory import open_store
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked

async def main(url, name, count):
    one = a_conversation("shared")
    async with open_store(url) as store:
        version = 1
        for number in range(int(count)):
            while (await store.log.append([a_commit(one, version, inputs=[f"{name}-{number}"])]))[0]:
                version += 1
            print(version, f"{name}-{number}", flush=True)
            await store.heads.save([a_head(one, generation=number % 3 + 1, version=version)])
            await store.parked.put(a_parked("same"))
    print("all done", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""

DIES_AT: Final = """
import asyncio, os, signal, sys
from pathlib import Path
from agentbus.storage.factory import open_store
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, deleted

async def main(url, call, what):
    one = a_conversation("shared")
    async with open_store(url) as store:
        setattr(Path, call, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        if what == "commit":
            await store.log.append([a_commit(one, 1, inputs=["lost"], events=[deleted(one, 1, "m")])])
        elif what == "replace":
            await store.log.replace([a_commit(one, 2, inputs=["new"])])
        elif what == "parked":
            await store.parked.delete(a_parked().parked_id)
        else:
            await store.heads.save([a_head(one, generation=2, version=2)])

asyncio.run(main(*sys.argv[1:]))
"""

SHARED: Final = a_conversation("shared")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
async def store(url: str) -> AsyncIterator[FileStore]:
    async with open_store(url) as store:
        assert isinstance(store, FileStore)
        yield store


def root_of(store: FileStore) -> Path:
    return store._folder.layout.root


# The layout


async def test_everything_is_readable_json(store: FileStore) -> None:
    one = a_conversation()
    await store.log.append([a_commit(one, 1, inputs=["in/../put"]), a_commit(a_conversation())])
    await store.log.append([a_commit(one, 1000, inputs=[], events=[deleted(one, 1, "m")])])
    await store.heads.save([a_head(one, version=2)])
    await store.parked.put(a_parked(body=b"the body"))
    await store.members.heartbeat("group", a_member("W"), ttl=HOUR)
    await store.members.take_epoch("group", Partition(3))
    await store.members.begin_trial(attempt_at("key", "first"))
    record = Record(kind=RecordKind.TEMPLATE, key="key", group="../x", created_at=NOON, data={"a": 1})
    await store.records.put(record)
    await store.locks.acquire("lock", ttl=HOUR)

    files = {str(path.relative_to(root_of(store))) for path in root_of(store).rglob("*") if not path.is_dir()}

    ours = f"conversations/{one[:2]}/{one}"
    parked = f"parked/{a_parked(body=b'the body').parked_id}"
    assert {path for path in files if path.startswith(ours)} == {
        f"{ours}/log/000000/000000001.json",
        f"{ours}/log/000001/000001000.json",
        f"{ours}/inputs/in%2f..%2fput",
        f"{ours}/amends/{file_name(a_key('m'))}/000001000",
        f"{ours}/latest",
    }
    assert {path for path in files if not path.startswith("conversations")} == {
        "store.json",
        f"heads/{one}.1.json",
        f"{parked}/details.json",
        f"{parked}/body",
        "members/group/%57.json",
        "epochs/group/3.json",
        "trials/key.json",
        "records/template/key.json",
        "groups/template/%2e.%2fx/key.json",
        "locks/lock.json",
    }
    for name in files - {f"{parked}/body"}:
        text = (root_of(store) / name).read_text("utf-8")
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert json.loads((root_of(store) / ours / "inputs/in%2f..%2fput").read_text())["version"] == 1
    assert json.loads((root_of(store) / ours / "latest").read_text())["version"] == 2
    assert (root_of(store) / parked / "body").read_bytes() == b"the body"


def test_file_names_differ_and_stay_in_their_folder() -> None:
    long = "x" * 300
    texts = ["", ".", "..", "a", "A", "%41", "%", "a/b", "a%2fb", "~", ".a", "%2ea", "é", "e\u0301", "😀", "\0", long]
    texts += [long + "y", "é" * 100, "É" * 100, long.upper(), "\ud800"]

    names = [file_name(text) for text in texts]

    assert len({name.lower() for name in names}) == len(texts)
    assert all(name.isascii() and 0 < len(name) < 200 and "/" not in name and name[0] != "." for name in names)
    assert file_name(SHARED) == SHARED
    assert file_name(f"{SHARED}.12") == f"{SHARED}.12"


async def test_ids_that_are_paths_lead_nowhere(store: FileStore) -> None:
    path: Any = "../../store"

    assert await store.heads.get(path) is None
    assert (await store.log.load([path]))[path].commits == ()
    assert await store.parked.get(path) is None
    assert await store.records.get(RecordKind.TEMPLATE, path) is None


async def test_batch_may_hold_a_conversation_twice(store: FileStore) -> None:
    one, two = a_conversation(), a_conversation()

    outcome = await store.log.append([a_commit(one, 1), a_commit(two), a_commit(one, 2), a_commit(one, 2)])

    assert [type(error) for error in outcome] == [type(None), type(None), type(None), VersionConflict]


async def test_list_reads_again_only_what_changed(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = [a_head(a_conversation(), active=second) for second in range(3)]
    await store.heads.save(heads)
    for path in (root_of(store) / "heads").iterdir():
        os.utime(path, (1, 1))  # As if it were written long ago.
    read: list[str] = []
    original = reading._read

    def counted(path: Any, kind: Any) -> Any:
        read.append(Path(path).name)
        return original(path, kind)

    monkeypatch.setattr(reading, "_read", counted)
    first = await store.heads.page(SessionFilter())
    second = await store.heads.page(SessionFilter())
    changed = heads[0].model_copy(update={"version": 2})
    async with open_store(f"file://{root_of(store)}") as other:
        await other.heads.save([changed])
    read.clear()
    third = await store.heads.page(SessionFilter())

    assert first == second
    assert third.items == (heads[2], heads[1], changed)
    assert read == [f"{changed.session_id}.json"]


async def test_going_through_all_lists_a_folder_once_unless_it_changes(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = sorted((a_head(a_conversation()) for _ in range(4)), key=lambda head: head.session_id)
    await store.heads.save(heads[:3])
    folder = root_of(store) / "heads"
    os.utime(folder, (1, 1))  # As if it had changed long ago.
    listings: list[Path] = []
    listed = os.listdir

    def counted(path: Any) -> list[str]:
        listings.append(Path(path))
        return listed(path)

    monkeypatch.setattr(os, "listdir", counted)
    assert await gone_through(store.heads.scan, 1) == heads[:3]
    assert listings.count(folder) == 1
    for _ in range(3):
        assert await store.log.conversations(limit=9) == [head.conversation_id for head in heads[:3]]
    assert listings.count(folder) == 2

    async with open_store(f"file://{root_of(store)}") as other:
        await other.heads.save(heads)
    assert await gone_through(store.heads.scan, 1) == heads
    assert await store.log.conversations(limit=9) == [head.conversation_id for head in heads]


async def test_what_goes_away_while_all_is_gone_through_ends_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [Record(kind=RecordKind.TEMPLATE, key=key, created_at=NOON, data={}) for key in "adz"]
    await store.records.put_many(records)
    listed = os.listdir
    gone = ["b.json", "c.json"]
    monkeypatch.setattr(os, "listdir", lambda path: listed(path) + gone * (Path(path).name == "template"))

    assert await gone_through(partial(store.records.scan, RecordKind.TEMPLATE), 1) == records


async def test_next_heartbeat_forgets(store: FileStore) -> None:
    for name, age in (("gone", 1010), ("old", 990)):
        await store.members.heartbeat("one", a_member(name), ttl=10)
        await age_heartbeat(store, "one", name, age)

    await store.members.heartbeat("one", a_member("me"), ttl=10)

    assert sorted(path.name for path in (root_of(store) / "members/one").iterdir()) == ["me.json", "old.json"]


# Several processes


async def test_two_processes_append_to_one_conversation(url: str, tmp_path: Path) -> None:
    with (
        started("-c", WRITER, url, "a", "40", folder=tmp_path, env=ENV) as one,
        started("-c", WRITER, url, "b", "40", folder=tmp_path, env=ENV) as two,
    ):
        one.until_printed("all done")
        two.until_printed("all done")

    async with open_store(url) as store:
        log = await store.log.read(SHARED, limit=100)
        told = [line.split() for program in (one, two) for line in program.output().splitlines()[:-1]]
        assert [commit.version for commit in log] == list(range(1, 81))
        assert sorted((int(version), name) for version, name in told) == [(c.version, c.inputs[0]) for c in log]
        assert [head.version for head in (await store.heads.page(SessionFilter())).items if head.version > 78] != []
        kept = await store.parked.get(a_parked("same").parked_id)
        assert kept is not None
        assert kept.attempts == 80
        assert list((tmp_path / "store/tmp").iterdir()) == []


async def test_lock_of_a_stopped_process_is_not_waited_for_forever(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LOCK_TIMEOUT", 0.05)
    one = a_conversation()
    await store.log.append([a_commit(one)])
    held = os.open(root_of(store) / "conversations" / one[:2] / one, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)

    with pytest.raises(StoreUnavailable, match="another process holds the lock"):
        await store.log.append([a_commit(one, 2)])
    assert len(await store.log.read(one, limit=10)) == 1
    os.close(held)

    assert await store.log.append([a_commit(one, 2)]) == [None]


async def test_lock_of_a_stopped_process_is_not_waited_for_by_one_call_after_the_other(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "LOCK_TIMEOUT", 0.3)
    monkeypatch.setattr("agentbus.storage.files.base.TURN_TIMEOUT", 0.1)
    held = os.open(root_of(store) / "locks", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    calls = [store.locks.acquire(f"lock{number}", ttl=1.0) for number in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    os.close(held)

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert sum("the calls before this one" in str(answer) for answer in answers) >= 12  # All but one a thread.
    assert await store.locks.acquire("lock", ttl=1.0)


# Crashes


async def test_killed_in_the_middle_of_writing(url: str, tmp_path: Path) -> None:
    told: dict[int, str] = {}
    for number in range(4):
        with started("-c", WRITER, url, f"w{number}", "100000", folder=tmp_path, env=ENV) as writer:
            writer.until_printed(f"w{number}-{7 + 3 * number}")
            writer.kill()
        lines = [line.split() for line in writer.output().splitlines() if line.count("-") == 1]
        told |= {int(version): name for version, name in lines}

        async with open_store(url) as store:
            log = await store.log.read(SHARED, limit=1000)
            assert [commit.version for commit in log] == list(range(1, len(log) + 1))
            assert {version: log[version - 1].inputs[0] for version in told} == told
            inputs = [name for commit in log for name in commit.inputs]
            assert len(set(inputs)) == len(inputs)
            assert set(await store.log.commits_of_inputs(SHARED, inputs)) == set(inputs)
            loaded = (await store.log.load([SHARED]))[SHARED]
            assert loaded.head is not None
            assert loaded.commits == tuple(log[loaded.head.version :])
            assert len((await store.parked.page()).items) == 1
            assert (await store.heads.page(SessionFilter())).items


@pytest.mark.parametrize("call", ["symlink_to", "hardlink_to"])
async def test_killed_before_its_commit_is_there(url: str, tmp_path: Path, call: str) -> None:
    with started("-c", DIES_AT, url, call, "commit", folder=tmp_path, env=ENV) as writer:
        assert writer.process.wait(30) == -signal.SIGKILL

    async with open_store(url) as store:
        lost, target = InputId("lost"), a_key("m")
        assert (await store.log.load([SHARED]))[SHARED].commits == ()
        assert await store.log.commits_of_inputs(SHARED, [lost]) == {}
        assert await store.log.commits_amending(SHARED, [target]) == []
        # Its links now lead to another commit, which neither holds the input nor amends the message.
        assert await store.log.append([a_commit(SHARED, 1, inputs=["other"])]) == [None]
        assert await store.log.commits_of_inputs(SHARED, [lost]) == {}
        assert await store.log.commits_amending(SHARED, [target]) == []
        again = a_commit(SHARED, 2, inputs=["lost"], events=[deleted(SHARED, 1, "m")])
        assert await store.log.append([again]) == [None]
        assert await store.log.commits_of_inputs(SHARED, [lost]) == {lost: again}
        assert await store.log.commits_amending(SHARED, [target]) == [again]
        assert isinstance((await store.log.append([a_commit(SHARED, 3, inputs=["lost"])]))[0], DuplicateInput)


@pytest.mark.parametrize(("call", "version"), [("rename", 1), ("symlink_to", 2)])
async def test_killed_before_its_head_is_there(url: str, tmp_path: Path, call: str, version: int) -> None:
    first, second = a_head(SHARED, version=1), a_head(SHARED, generation=2, version=2)
    async with open_store(url) as store:
        await store.log.append([a_commit(SHARED, 1)])
        await store.log.append([a_commit(SHARED, 2)])
        await store.heads.save([first])

    with started("-c", DIES_AT, url, call, "head", folder=tmp_path, env=ENV) as writer:
        assert writer.process.wait(30) == -signal.SIGKILL

    async with open_store(url) as store:
        listed = (await store.heads.page(SessionFilter())).items
        loaded = (await store.log.load([SHARED]))[SHARED]
        assert max(head.version for head in listed) == version
        assert (loaded.head, len(loaded.commits)) == (first, 1)
        await store.heads.save([second])
        loaded = (await store.log.load([SHARED]))[SHARED]
        assert (loaded.head, loaded.commits) == (second, ())


@pytest.mark.parametrize(("call", "replaced"), [("rename", False), ("unlink", True)])
async def test_killed_while_it_replaces_a_commit(url: str, tmp_path: Path, call: str, replaced: bool) -> None:
    old = a_commit(SHARED, 2, inputs=["old"], events=[deleted(SHARED, 1, "m")])
    new = a_commit(SHARED, 2, inputs=["new"])
    async with open_store(url) as store:
        await store.log.append([a_commit(SHARED, 1)])
        await store.log.append([old])

    with started("-c", DIES_AT, url, call, "replace", folder=tmp_path, env=ENV) as writer:
        assert writer.process.wait(30) == -signal.SIGKILL

    folder = tmp_path / "store/conversations" / SHARED[:2] / SHARED
    inputs = [InputId("old"), InputId("new")]
    async with open_store(url) as store:
        kept = new if replaced else old
        assert await store.log.read(SHARED, first=2, limit=2) == [kept]
        assert await store.log.commits_of_inputs(SHARED, inputs) == {kept.inputs[0]: kept}
        assert await store.log.commits_amending(SHARED, [a_key("m")]) == ([] if replaced else [old])

        await store.log.replace([new])

        assert await store.log.read(SHARED, first=2, limit=2) == [new]
        assert await store.log.commits_of_inputs(SHARED, inputs) == {InputId("new"): new}
        assert sorted(os.listdir(folder / "inputs")) == ["input-1", "new"]
        assert os.listdir(folder / "amends") == []


async def test_killed_while_it_deletes_what_is_parked(url: str, tmp_path: Path) -> None:
    async with open_store(url) as store:
        await store.parked.put(a_parked())

    with started("-c", DIES_AT, url, "unlink", "parked", folder=tmp_path, env=ENV) as writer:
        writer.process.wait(30)

    async with open_store(url) as store:
        assert (await store.parked.page()).items == ()
        assert not await store.parked.delete(a_parked().parked_id)
    for path in (tmp_path / "store/tmp").iterdir():
        os.utime(path, (1, 1))
    async with open_store(url):
        assert list((tmp_path / "store/tmp").iterdir()) == []


async def test_left_overs_are_removed_when_old(url: str, tmp_path: Path) -> None:
    async with open_store(url):
        pass
    old, new = tmp_path / "store/tmp/old", tmp_path / "store/tmp/new"
    old.write_text('{"half": ')
    new.write_text('{"half": ')
    folder = tmp_path / "store/tmp/folder"
    folder.mkdir()
    (folder / "body").write_text("half")
    for path in (old, folder):
        os.utime(path, (1, 1))

    async with open_store(url) as store:
        assert await store.log.append([a_commit(SHARED)]) == [None]

    assert not old.exists()
    assert not folder.exists()
    assert new.exists()


# Damage


async def test_damaged_commit_is_named(store: FileStore) -> None:
    one, fine = a_conversation(), a_conversation()
    await store.log.append([a_commit(one, inputs=["a"])])
    path = root_of(store) / "conversations" / one[:2] / one / "log/000000/000000001.json"
    path.write_bytes(path.read_bytes()[:40])

    for reads in (store.log.read(one, limit=1), store.log.commits_of_inputs(one, [InputId("a")])):
        with pytest.raises(StoreDamaged, match=rf"{path} is damaged: .*: restore it from a backup"):
            await reads
    assert str(path) in str((await store.log.load([one]))[one].damage)
    outcome = await store.log.append([a_commit(one, 2, inputs=["a"]), a_commit(fine)])
    assert [type(error) for error in outcome] == [StoreDamaged, type(None)]


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b'{"conversation_id": "x"}', b"\0" * 400])
async def test_damaged_head_is_named(store: FileStore, text: bytes) -> None:
    head = a_head(a_conversation())
    await store.heads.save([head])
    path = root_of(store) / "heads" / f"{head.session_id}.json"
    path.write_bytes(text)

    with pytest.raises(StoreDamaged, match=rf"{path} is damaged: .*: `agentbus store check --repair` rebuilds it"):
        await store.heads.get(head.session_id)


async def test_link_to_the_latest_head_that_leads_nowhere_is_damage(store: FileStore) -> None:
    one = a_conversation()
    await store.heads.save([head := a_head(one)])
    (root_of(store) / "heads" / f"{head.session_id}.json").unlink()

    assert (await store.log.load([one]))[one].damage

    latest = root_of(store) / "conversations" / one[:2] / one / "latest"
    latest.unlink()
    latest.symlink_to("elsewhere")
    assert await store.heads.save([head]) == [None]
    assert (await store.log.load([one]))[one].head == head


async def test_damaged_epoch_and_trial_begin_anew(store: FileStore) -> None:
    trial = attempt_at("key", "one")
    await store.members.begin_trial(trial)
    assert await store.members.take_epoch("group", Partition(3), above=8) == 9
    for path in [*(root_of(store) / "epochs").rglob("*.json"), *(root_of(store) / "trials").rglob("*.json")]:
        path.write_bytes(b"")

    assert await store.members.take_epoch("group", Partition(3)) == 1
    assert await store.members.take_epoch("group", Partition(3), above=9) == 10
    assert await store.members.begin_trial(trial) == 1


async def test_damaged_lock_is_given_to_nobody(store: FileStore) -> None:
    await store.locks.acquire("a", ttl=60)
    (root_of(store) / "locks" / "a.json").write_bytes(b"")

    with pytest.raises(StoreDamaged, match="restore it from a backup"):
        await store.locks.acquire("a", ttl=60)
    assert await store.locks.acquire("b", ttl=60)


@pytest.mark.parametrize("unlisted", [[1], [2], [2, 3], [1, 2, 3]])
@pytest.mark.parametrize("newest", [False, True])
async def test_commits_that_a_folders_list_lacks_are_read(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, unlisted: list[int], newest: bool
) -> None:
    """A list made while others write can lack what was there before something that it holds."""
    one = a_conversation()
    commits = [a_commit(one, version) for version in range(1, 5)]
    for commit in commits:
        await store.log.append([commit])
    listed = os.listdir
    lacking = {f"{version:09}.json" for version in unlisted}
    monkeypatch.setattr(os, "listdir", lambda path: [name for name in listed(path) if name not in lacking])

    assert (await store.log.load([one]))[one].commits == tuple(commits)
    expected = commits[::-1] if newest else commits
    assert await store.log.read(one, limit=10, newest=newest) == expected


async def test_versions_far_from_each_other_are_not_looked_for_one_by_one(store: FileStore) -> None:
    one = a_conversation()
    commits = [a_commit(one, version) for version in (1, 900_000_000)]
    for commit in commits:
        await store.log.append([commit])

    async with asyncio.timeout(PATIENCE):
        assert await store.log.read(one, limit=10) == commits


async def test_parked_body_that_is_not_whole_is_not_given(store: FileStore) -> None:
    parked = a_parked(body=b"x" * 100)
    await store.parked.put(parked)
    (root_of(store) / "parked" / parked.parked_id / "body").write_bytes(b"x" * 40)

    with pytest.raises(StoreDamaged, match="40 of 100 bytes are left: restore"):
        await store.parked.get(parked.parked_id)
    assert (await store.parked.page()).items == ()


# Folders that can't be used


@pytest.fixture
def shown_folder() -> Iterator[Path]:
    """Give a folder that other users may look into, which pytest's own, and those of its processes, are not."""
    with tempfile.TemporaryDirectory() as name:
        closed = [folder for folder in (Path(name), *Path(name).parents) if not folder.stat().st_mode & 0o001]
        for folder in closed:
            folder.chmod(0o711)
        yield Path(name)
        for folder in closed:
            folder.chmod(0o700)


async def test_folder_that_may_only_be_read(shown_folder: Path) -> None:
    url = f"file://{shown_folder}/store"
    async with open_store(url) as store:
        await store.log.append([a_commit(SHARED)])
        folders = [shown_folder / "store", *(path for path in (shown_folder / "store").rglob("*") if path.is_dir())]
        for file in (path for path in (shown_folder / "store").rglob("*") if path.is_file()):
            file.chmod(0o644)
        for folder in folders:
            folder.chmod(0o555)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)  # To root, everything is writable.
        try:
            assert len(await store.log.read(SHARED, limit=1)) == 1
            for writes in (store.log.append([a_commit(SHARED, 2)]), store.log.append([a_commit(a_conversation())])):
                with pytest.raises(StoreRejected, match="give this user the right to write the folder"):
                    await writes
            with pytest.raises(StoreRejected, match="give this user the right to write the folder"):
                await open_store(url).start()
        finally:
            os.seteuid(was)
            for folder in folders:
                folder.chmod(0o755)


async def test_folder_in_one_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreRejected, match="check that the folder above it exists"):
        await open_store(f"file://{tmp_path}/missing/store").start()


async def test_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("Dear diary")

    with pytest.raises(StoreRejected, match="is a file: choose another folder"):
        await open_store(f"file://{tmp_path}/store").start()


async def test_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("Dear diary")

    for _ in range(2):
        with pytest.raises(StoreRejected, match=r"is no store, and holds diary\.txt: choose an empty or a new folder"):
            await open_store(f"file://{tmp_path}").start()


async def test_layout_of_another_version(url: str, tmp_path: Path) -> None:
    async with open_store(url):
        pass
    (tmp_path / "store/store.json").write_text('{"layout": 99}')

    with pytest.raises(StoreRejected, match="has layout 99, this release has layout 1"):
        await open_store(url).start()


async def test_folder_that_went_away(store: FileStore, tmp_path: Path) -> None:
    await store.log.append([a_commit(SHARED)])
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").mkdir()

    with pytest.raises(StoreRejected, match="is a store no more: is its disk mounted"):
        await store.log.load([SHARED])
    with pytest.raises(StoreRejected, match="is a store no more"):
        await store.log.append([a_commit(SHARED, 2)])


@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.ENOSPC, StoreUnavailable, "make room on its disk"),
        (errno.EIO, StoreUnavailable, "look after its disk"),
        (errno.EROFS, StoreRejected, "mount it for writing"),
        (errno.EINVAL, StoreRejected, "the operating system refuses"),
    ],
)
async def test_disk_that_takes_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], advice: str
) -> None:
    def fails(_path: Path) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(private, "sync", fails)
        for call in (
            store.log.append([a_commit(SHARED)]),
            store.heads.save([a_head(SHARED)]),
            store.parked.put(a_parked()),
            store.members.take_epoch("group", Partition(0)),
        ):
            with pytest.raises(kind, match=rf"folder .*/store.*{os.strerror(number)}.*: {advice}"):
                await call
    assert list((root_of(store) / "tmp").iterdir()) == []
    await works(store)


async def works(store: Store) -> None:
    assert await store.log.read(SHARED, limit=1) == []
    assert await store.heads.get(a_head(SHARED).session_id) is None
    assert await store.log.append([a_commit(SHARED)]) == [None]
    await store.parked.put(a_parked(attempts=2))
    kept = await store.parked.get(a_parked().parked_id)
    assert kept is not None
    assert kept.attempts == 2
    assert await store.members.take_epoch("group", Partition(0)) == 1
