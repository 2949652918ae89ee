"""The archive as an operator asks for it: what is there, what is damaged, what is not there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentbus.composition.app import App, make_bus, make_clock
from agentbus.contracts.errors import (
    AgentBusError,
    ArchiveDamaged,
    ArchiveNotFound,
    ConfigurationError,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.contracts.history import Page
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionStatus
from agentbus.operations.archive import (
    list_archived,
    read_archived,
    restore_archived,
    verify_archive,
    verify_archived,
)
from agentbus.operations.paging import InvalidCursor
from agentbus.settings import load_settings
from agentbus.storage.archive import ArchiveStore, open_archive
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.records import MemoryRecords
from agentbus.workers.archive.index import archived_session, put_index
from agentbus.workers.archive.storing import write_archive
from tests.harness.builders import a_commit, a_conversation, a_head, appended

NOBODY = SessionId("a" * 26 + ".1")


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveStore:
    return open_archive(f"file://{tmp_path}/archive")


@pytest.fixture
async def archived(store: MemoryStore, archive: ArchiveStore) -> SessionId:
    """Put a session that has ended into the archive, and return its id."""
    conversation = a_conversation()
    await store.log.append([a_commit(conversation, 1, events=[appended(conversation, 1, "m")])])
    head = a_head(conversation, status=SessionStatus.EXPIRED).model_copy(update={"sequence": 1, "message_count": 1})
    await store.heads.save([head])
    await put_index(store, archived_session(head, await write_archive(store, archive, head)))
    return head.session_id


def file_of(folder: Path) -> Path:
    (file,) = (one for one in (folder / "archive").rglob("*") if one.is_file())
    return file


async def test_what_is_archived_is_listed_read_and_whole(
    store: MemoryStore, archive: ArchiveStore, archived: SessionId
) -> None:
    (listed,) = (await list_archived(store)).items
    entry, contents = await read_archived(archive, archived)
    verified = await verify_archived(archive, archived)
    assert listed.session_id == entry.session_id == contents.head.session_id == verified.session_id == archived
    assert (verified.messages, verified.damage) == (contents.messages, None) == (1, None)
    assert [one async for one in verify_archive(archive)] == [verified]


async def test_a_damaged_file_is_told_and_not_read(archive: ArchiveStore, archived: SessionId, tmp_path: Path) -> None:
    file = file_of(tmp_path)
    file.write_bytes(file.read_bytes()[:-9])
    verified = await verify_archived(archive, archived)
    assert verified.damage
    assert verified.messages is None
    assert [one.damage async for one in verify_archive(archive)] == [verified.damage]
    with pytest.raises(ArchiveDamaged):
        await read_archived(archive, archived)


@pytest.mark.parametrize("operation", [read_archived, verify_archived])
async def test_what_is_not_in_the_archive_is_said(
    operation: Callable[[ArchiveStore, SessionId], Awaitable[object]], archive: ArchiveStore
) -> None:
    with pytest.raises(ArchiveNotFound):
        await operation(archive, NOBODY)


async def test_a_cursor_of_another_list_is_refused(store: MemoryStore) -> None:
    with pytest.raises(InvalidCursor):
        await list_archived(store, cursor="!")


class RecordsThatAreDown(MemoryRecords):
    async def page(self, *what: Any, **how: Any) -> Page[Record]:
        raise StoreUnavailable(f"nobody lists {what} {how}")


async def test_a_store_that_is_down_is_said() -> None:
    async with MemoryStore() as store:
        store.records = RecordsThatAreDown()
        with pytest.raises(StoreUnavailable):
            await list_archived(store)


@pytest.mark.parametrize(("url", "error"), [(None, ConfigurationError), ("archive", SessionNotFound)])
async def test_nothing_is_restored_without_an_archive_or_a_session(
    store: MemoryStore, tmp_path: Path, url: str | None, error: type[AgentBusError]
) -> None:
    settings = load_settings(amqp_url="memory://", archive_url=url and f"file://{tmp_path}/{url}")
    app = App(settings=settings, bus=make_bus(settings), store=store, clock=make_clock())
    with pytest.raises(error):
        await restore_archived(app, NOBODY)
