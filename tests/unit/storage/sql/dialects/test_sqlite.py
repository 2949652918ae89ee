"""A file's connections: one writes and some read, in threads, and what is cancelled writes nothing."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from agentbus.contracts.errors import StoreUnavailable
from agentbus.storage.sql.dialects import sqlite
from agentbus.storage.sql.dialects.sqlite import THREADS, FileConnections, Sqlite
from tests.harness.patience import PATIENCE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.db"


async def opened(file: Path) -> FileConnections:
    made = Sqlite(f"sqlite:///{file}").connections()
    await made.open()
    await made.write(lambda connection: connection.execute(text("CREATE TABLE numbers (number INTEGER)")))
    return made


@pytest.fixture
async def connections(file: Path) -> AsyncIterator[FileConnections]:
    made = await opened(file)
    yield made
    await made.close()


def put(number: int) -> Callable[[Connection], None]:
    return lambda connection: _put(connection, number)


def _put(connection: Connection, number: int) -> None:
    connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})


def numbers(file: Path) -> list[int]:
    with closing(sqlite3.connect(file)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY number")]


class Held:
    """Work that has put a number, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.goes_on = threading.Event()

    def __call__(self, connection: Connection) -> None:
        _put(connection, 1)
        self.begun.set()
        assert self.goes_on.wait(PATIENCE)


async def test_what_is_cancelled_halfway_is_undone_before_its_call_ends(
    connections: FileConnections, file: Path
) -> None:
    held = Held()
    writing = asyncio.create_task(connections.write(held))
    await asyncio.to_thread(held.begun.wait, PATIENCE)
    writing.cancel()
    await asyncio.sleep(0)
    assert not writing.done(), "nothing of it may be written after its end"
    held.goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing

    await connections.write(put(2))
    assert numbers(file) == [2]


async def test_what_is_cancelled_before_its_turn_is_not_begun(connections: FileConnections, file: Path) -> None:
    held = Held()
    first = asyncio.create_task(connections.write(held))
    await asyncio.to_thread(held.begun.wait, PATIENCE)
    second = asyncio.create_task(connections.write(put(2)))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    held.goes_on.set()
    await first
    assert numbers(file) == [1]


async def test_what_raises_writes_nothing_and_lets_the_next_one_write(connections: FileConnections, file: Path) -> None:
    def failing(connection: Connection) -> None:
        _put(connection, 1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await connections.write(failing)
    await connections.write(put(2))
    assert numbers(file) == [2]


async def test_who_writes_keeps_nobody_from_reading(connections: FileConnections) -> None:
    held = Held()
    writing = asyncio.create_task(connections.write(held))
    await asyncio.to_thread(held.begun.wait, PATIENCE)
    counted = await connections.read(lambda connection: connection.scalar(text("SELECT count(*) FROM numbers")))
    assert counted == 0
    held.goes_on.set()
    await writing


async def test_when_all_are_in_use_the_next_one_waits_and_not_for_ever(
    connections: FileConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    reading = [asyncio.create_task(connections.read(lambda _: goes_on.wait(PATIENCE))) for _ in range(THREADS)]
    await asyncio.sleep(0)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "_POOL_TIMEOUT", 0.05)
        with pytest.raises(StoreUnavailable, match="all its connections have been in use for"):
            await connections.read(lambda connection: connection.scalar(text("SELECT 1")))
    waiting = asyncio.create_task(connections.read(lambda connection: connection.scalar(text("SELECT 1"))))
    await asyncio.sleep(0)
    assert not waiting.done()
    goes_on.set()
    assert await waiting == 1
    assert all(await asyncio.gather(*reading))


async def test_closing_waits_for_what_is_under_way(file: Path) -> None:
    connections, held = await opened(file), Held()
    writing = asyncio.create_task(connections.write(held))
    await asyncio.to_thread(held.begun.wait, PATIENCE)
    closing_it = asyncio.create_task(connections.close())
    await asyncio.sleep(0)
    assert not closing_it.done()
    held.goes_on.set()
    await writing
    await closing_it
    assert numbers(file) == [1]
    assert not file.with_name("some.db-wal").exists(), "the last connection of all is closed"


async def test_what_a_statement_carries_is_not_in_its_error(connections: FileConnections) -> None:
    with pytest.raises(DBAPIError) as caught:
        await connections.write(
            lambda connection: connection.execute(text("INSERT INTO nowhere VALUES (:said)"), {"said": "my secret"})
        )
    assert "nowhere" in str(caught.value)
    assert "my secret" not in str(caught.value)
