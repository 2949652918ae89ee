"""Whatever a call returned from has its names on the disk: of files and folders made on the way, and moved."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.errors import BackupNotFound, BackupUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import Partition
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.archive import open_archive
from agentbus.storage.factory import open_store
from agentbus.storage.folder import Folder, Kind
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_parked, appended

BACKUP = Kind("place of the backups", BackupNotFound, BackupUnavailable, full=BackupUnavailable)


class Unsynced:
    """The folders in which a name was made, and that were not synced since: a loss of power may take the name back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._unsynced: set[str] = set()
        self._all: set[str] = set()
        for name, where in (("mkdir", 0), ("rename", 1), ("replace", 1), ("link", 1), ("symlink", 1)):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name), where))
        monkeypatch.setattr(os, "fsync", self._syncing(os.fsync))

    def _noting(self, call: Callable[..., Any], where: int) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            folder = os.path.dirname(os.path.abspath(os.fsdecode(args[where])))
            self._unsynced.add(folder)
            self._all.add(folder)
            return result

        return noted

    def _syncing(self, call: Callable[[int], None]) -> Callable[[int], None]:
        def synced(descriptor: int) -> None:
            call(descriptor)
            self._unsynced.discard(os.readlink(f"/proc/self/fd/{descriptor}"))

        return synced

    def seen(self, folder: Path) -> bool:
        """Whether any name was made in a folder: how that is watched depends on how it is made."""
        return str(folder) in self._all

    def left(self) -> set[str]:
        """Return where a name may be lost."""
        return set(self._unsynced)


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> Unsynced:
    return Unsynced(monkeypatch)


async def test_an_archived_session_and_the_folders_above_it(tmp_path: Path, unsynced: Unsynced) -> None:
    one = a_conversation("archived")
    head = a_head(one, version=1, status=SessionStatus.EXPIRED).model_copy(update={"sequence": 1})

    async def commits() -> AsyncIterator[Commit]:
        yield a_commit(one, 1, events=[appended(one, 1, "m")])

    await open_archive((tmp_path / "deep" / "archive").as_uri()).write(head, commits())
    assert unsynced.seen(tmp_path)
    assert unsynced.left() == set()


async def test_a_small_file_of_a_backup(tmp_path: Path, unsynced: Unsynced) -> None:
    await Folder((tmp_path / "above").as_uri(), {}, BACKUP).write("manifests/one.json", b"{}")
    assert unsynced.seen(tmp_path)
    assert unsynced.left() == set()


async def test_what_the_file_store_keeps(tmp_path: Path, unsynced: Unsynced) -> None:
    folder = tmp_path / "store"
    one = a_conversation("kept")
    async with open_store(folder.as_uri()) as store:
        assert unsynced.left() == set()
        await store.log.append([a_commit(one, 1, inputs=["a"])])
        assert unsynced.left() == set()
        await store.heads.save([a_head(one, version=1)])
        assert unsynced.left() == set()
        record = Record(kind=RecordKind.CHECKPOINT, key="k", group="g", created_at=NOON, data={})
        await store.records.put(record)
        await store.records.put_many([record.model_copy(update={"key": "other", "group": "another"})])
        assert unsynced.left() == set()
        await store.parked.put(a_parked("p"))
        assert unsynced.left() == set()
        await store.members.take_epoch("group", Partition(1))
        assert unsynced.left() == set()
