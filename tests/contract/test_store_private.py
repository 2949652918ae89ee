"""What a store or an archive keeps on this machine is its owner's alone."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.storage import private
from agentbus.storage.archive import open_archive
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, appended

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")


@pytest.fixture(autouse=True)
def a_generous_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    """Return what somebody else may read, write or enter, at any depth; links have no rights of their own."""
    found = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    assert len(found) > 1
    return {str(path): oct(path.stat().st_mode) for path in found if path.stat().st_mode & 0o077}


async def read(store: Store, conversation: ConversationId) -> AsyncIterator[Commit]:
    for commit in await store.log.read(conversation, limit=10):
        yield commit


async def use(store: Store, archive: str | None = None) -> None:
    one = a_conversation()
    await store.log.append([a_commit(one, 1, events=[appended(one, 1, "m")])])
    head = a_head(one).model_copy(update={"sequence": 1, "message_count": 1})
    await store.heads.save([head])
    await store.parked.put(a_parked())
    if archive:
        await open_archive(archive).write(head, read(store, one))


@pytest.mark.parametrize("url", ["sqlite:///{}/store.db", "file://{}/store"])
async def test_a_new_store_is_its_owners_alone(url: str, tmp_path: Path) -> None:
    os.chmod(tmp_path, private.FOLDER)
    async with open_store(url.format(tmp_path)) as store:
        await use(store, f"file://{tmp_path}/kept/archive")
        assert open_to_others(tmp_path) == {}


@pytest.mark.parametrize("url", ["sqlite:///{}/store", "file://{}/store"])
async def test_a_store_of_an_earlier_release_is_closed_to_others(url: str, tmp_path: Path) -> None:
    async with open_store(url.format(tmp_path)) as store:
        await use(store)
        beside = beginning_with_store(tmp_path)
        for path in beside:
            path.chmod(0o755)
        async with open_store(url.format(tmp_path)):
            assert [path for path in beside if path.stat().st_mode & 0o077] == []


def beginning_with_store(folder: Path) -> list[Path]:
    """Return the store, and what is kept beside it."""
    return list(folder.glob("store*"))


async def test_what_was_opened_to_a_group_on_purpose_stays_so(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    async with open_store(url):
        os.chmod(tmp_path / "store", 0o750)  # noqa: S103 - for a group, on purpose
    async with open_store(url):
        assert os.stat(tmp_path / "store").st_mode & 0o777 == 0o750
