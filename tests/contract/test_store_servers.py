"""What the SQL store says of a server that is away, that refuses, that does not answer or that is killed."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types
import pytest
from pydantic import JsonValue
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from agentbus.contracts.errors import StoreRejected, StoreUnavailable, VersionConflict
from agentbus.contracts.ids import InputId
from agentbus.storage.factory import open_store
from agentbus.storage.sql import SqlStore
from agentbus.storage.sql.dialects import dialect_of
from agentbus.storage.sql.dialects import servers as server_dialect
from agentbus.storage.sql.errors import store_errors
from tests.contract.servers import server_of, servers
from tests.harness.builders import a_commit, a_conversation, a_head, a_key, a_parked, data_set, edited
from tests.harness.patience import PATIENCE
from tests.services import SqlServer, private_mariadb, private_postgresql
from tests.services.service import wait_until

HIDDEN = "s3cret"
PRIVATE: dict[str, Callable[[], SqlServer]] = {"postgresql": private_postgresql, "mariadb": private_mariadb}


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: str) -> Iterator[str]:
    with server_of(request, kind).emptied_database() as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlStore]:
    async with open_store(url) as store:
        assert isinstance(store, SqlStore)
        yield store


def connections_of(store: SqlStore) -> server_dialect.ServerConnections:
    connections = store._database.opened()
    assert isinstance(connections, server_dialect.ServerConnections)
    return connections


@asynccontextmanager
async def writing(store: SqlStore) -> AsyncIterator[AsyncConnection]:
    """Give a connection in a transaction; errors are the store's."""
    with store_errors(store._database.dialect):
        async with connections_of(store).writing() as connection:
            yield connection


# Away, or refusing


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "mysql", "mariadb"])
async def test_server_that_is_not_there(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        store = open_store(f"{scheme}://ann:{HIDDEN}@127.0.0.1:{port}/db", connect_timeout=0.5)

        with capture_logs() as logs, pytest.raises(StoreUnavailable, match="running, and are host and port right") as e:
            await store.start()

    assert f"no answer from {scheme}://ann:***@127.0.0.1:{port}/db in 0.5 s" in str(e.value)
    assert HIDDEN not in str(e.value) + str(logs)
    assert [entry["event"] for entry in logs] == ["store_waiting"]
    await store.close()
    gc.collect()


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
async def test_server_that_accepts_and_says_nothing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("postgresql", "mysql"):
        monkeypatch.setattr(f"agentbus.storage.sql.dialects.{module}.CONNECT_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        url = f"{scheme}://ann:{HIDDEN}@127.0.0.1:{silent.getsockname()[1]}/db"

        with pytest.raises(StoreUnavailable, match="it took too long"):
            await open_store(url, connect_timeout=0.3).start()
    gc.collect()


@servers
async def test_server_that_does_not_know_the_user(kind: str, url: str) -> None:
    place = urlsplit(url).netloc.rpartition("@")[2]
    stranger = open_store(f"{kind}://ann:{HIDDEN}@{place}/db")

    with pytest.raises(StoreRejected, match="check user and password in the URL") as caught:
        await stranger.start()

    assert HIDDEN not in str(caught.value)


@servers
async def test_server_that_does_not_know_the_database(url: str) -> None:
    with pytest.raises(StoreRejected, match="make the database first: CREATE DATABASE"):
        await open_store(f"{url}_unknown").start()


@pytest.mark.parametrize(
    "url", [f"postgresql://ann:{HIDDEN}@h/db?sslmode={HIDDEN}", f"mysql://ann:{HIDDEN}@h/db?{HIDDEN}=1"]
)
async def test_options_that_can_not_be_used(url: str) -> None:
    with pytest.raises(StoreRejected, match=r"can't be used|does not know") as caught:
        await open_store(url).start()

    assert HIDDEN not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["postgresql://h/db", "mysql://h/db"])
def test_certificate_that_is_not_trusted_is_not_waited_for(url: str) -> None:
    lost = OSError("connection lost")
    lost.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")

    with (
        pytest.raises(StoreRejected, match="name the authority that signed its certificate"),
        store_errors(dialect_of(url)),
    ):
        raise lost
    with pytest.raises(StoreUnavailable), store_errors(dialect_of(url)):
        raise OSError("connection lost")


OF_PGBOUNCER = {"application_name", "client_encoding", "datestyle", "standard_conforming_strings", "timezone"}
"""What PgBouncer lets a connection ask for at its start."""


async def test_connection_begins_as_pgbouncer_wants_it_and_has_its_settings(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    connect = asyncpg.connect

    async def connecting(*arguments: Any, server_settings: dict[str, str], **settings: Any) -> Any:
        asked.extend(server_settings)
        return await connect(*arguments, server_settings=server_settings, **settings)

    monkeypatch.setattr(asyncpg, "connect", connecting)
    async with opened(postgresql_url) as store, connections_of(store).reading() as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "10s"
        assert await connection.scalar(text("SHOW lock_timeout")) == "5s"
    assert set(asked) <= OF_PGBOUNCER
    assert asked


# Colliding


DEADLOCK = {
    "postgresql": "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END $$",
    "mariadb": "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
}
"""What fails as a statement does that a server undoes to end a deadlock."""


@servers
async def test_call_that_was_undone_to_end_a_deadlock_is_made_again(kind: str, url: str) -> None:
    head = a_head(a_conversation())
    undone: list[str] = []

    def undo(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO heads") and len(undone) < 3:
            undone.append(statement)
            connection.exec_driver_sql(DEADLOCK[kind])

    async with opened(url) as store:
        event.listen(store._database.opened().engine, "before_cursor_execute", undo)
        assert await store.heads.save([head]) == [None]
        assert len(undone) == 3
        assert await store.heads.get(head.session_id) == head


@servers
async def test_call_that_is_undone_each_time_ends(kind: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.sql.again.ATTEMPTS", 3)

    def undo(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO heads"):
            connection.exec_driver_sql(DEADLOCK[kind])

    async with opened(url) as store:
        event.listen(store._database.opened().engine, "before_cursor_execute", undo)
        with pytest.raises(StoreUnavailable, match="others change the same just now"):
            await store.heads.save([a_head(a_conversation())])


async def touch(connection: AsyncConnection, session: str) -> None:
    await connection.execute(
        text("UPDATE heads SET message_count = message_count + 1 WHERE session_id = :it"), {"it": session}
    )


@servers
async def test_call_does_not_wait_forever_for_another_program(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = a_head(a_conversation())
    async with opened(url) as store, opened(url) as other:
        await store.heads.save([head])
        monkeypatch.setattr(store._database.dialect, "answer_seconds", 0.5)
        async with writing(other) as connection:
            await touch(connection, head.session_id)
            with pytest.raises(StoreUnavailable):
                await store.heads.save([head.model_copy(update={"version": 5})])

        monkeypatch.undo()
        assert await store.heads.save([head.model_copy(update={"version": 6})]) == [None]


STILL = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", "15s", "SET idle_in_transaction_session_timeout = '1s'"),
    "mariadb": ("SELECT @@idle_transaction_timeout", 15, "SET SESSION idle_transaction_timeout = 1"),
}
"""What asks for how long a client may stand still in a transaction, the answer, and what makes it shorter."""


@servers
async def test_client_that_stands_still_in_a_transaction_does_not_keep_its_locks(kind: str, url: str) -> None:
    head = a_head(a_conversation())
    ask, seconds, shorten = STILL[kind]
    async with opened(url) as store, opened(url) as still:
        await store.heads.save([head])
        with pytest.raises(StoreUnavailable):  # noqa: PT012 - what is begun has to end
            async with writing(still) as connection:
                assert await connection.scalar(text(ask)) == seconds
                await touch(connection, head.session_id)
                await connection.execute(text(shorten))
                assert await answered(lambda: store.heads.save([head.model_copy(update={"version": 5})])) == [None]
        kept = await store.heads.get(head.session_id)
        assert kept is not None
        assert (kept.version, kept.message_count) == (5, 0)


# More than there is


@servers
async def test_connections_that_are_all_in_use_are_waited_for_but_not_forever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_dialect, "POOL", {**server_dialect.POOL, "pool_size": 1, "max_overflow": 0})
    async with opened(url) as store:
        async with connections_of(store).reading():
            with monkeypatch.context() as patched:
                patched.setattr(server_dialect, "CONNECTION_SECONDS", 0.1)
                with pytest.raises(StoreUnavailable, match="it took too long"):
                    await store.info()
            waiting = asyncio.create_task(store.info())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert (await waiting).name
        assert store._database.opened().engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # pools that queue have it


async def test_number_that_no_column_holds_is_refused_not_waited_for(postgresql_url: str) -> None:
    async with opened(postgresql_url) as store:
        with pytest.raises(StoreRejected, match="out of int64 range"):
            await store.log.read(a_conversation(), first=2**70, limit=1)


# Larger than the server takes


async def test_mariadb_keeps_the_neighbours_of_what_is_too_large(mariadb_url: str) -> None:
    fine, large = a_conversation(), a_conversation()
    huge: dict[str, JsonValue] = {str(number): "x" * 250_000 for number in range(70)}
    async with opened(mariadb_url) as store:
        outcome = await store.log.append([a_commit(large, events=[data_set(large, 1, huge)]), a_commit(fine)])
        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        assert "max_allowed_packet" in str(outcome[0])

        outcome = await store.heads.save([a_head(large, data=huge), a_head(fine)])
        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        with pytest.raises(StoreRejected, match="max_allowed_packet"):
            await store.log.replace([a_commit(fine, events=[data_set(fine, 1, huge)])])


# Killed and frozen


@servers
async def test_outages_of_a_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, head = a_conversation(), a_head(a_conversation())
    kept = [a_commit(one, version) for version in range(1, 8)]
    with PRIVATE[kind]() as server, server.fresh_database() as url:
        async with opened(url) as store, opened(url) as other:
            assert await store.log.append(kept[:1]) == [None]
            await other.heads.save([head])

            # Killed, what was reported done is there afterwards, and connections are made anew.
            await asyncio.to_thread(server.kill)
            with pytest.raises(StoreUnavailable):
                await store.log.append(kept[1:2])
            with pytest.raises(StoreUnavailable):
                await other.log.read(one, limit=10)
            await asyncio.to_thread(server.start)
            assert await answered(lambda: other.log.read(one, limit=10)) == kept[:1]
            assert await answered(lambda: store.log.append(kept[1:2])) == [None]

            # Frozen, it is not waited for longer than said; what it was asked then, it may do once it goes on.
            monkeypatch.setattr(store._database.dialect, "answer_seconds", 0.5)
            await asyncio.to_thread(server.pause)
            with pytest.raises(StoreUnavailable, match="it took too long"):
                await store.log.append(kept[2:3])
            # A connection that was idle is tried first, and a new one is made: neither is waited for longer.
            monkeypatch.setattr("agentbus.storage.sql.dialects.servers.IDLE_SECONDS", 0.0)
            monkeypatch.setattr("agentbus.storage.sql.dialects.servers.CONNECTION_SECONDS", 0.5)
            for call in (other.log.read(one, limit=1), store.info(), open_store(url, connect_timeout=0.2).start()):
                with pytest.raises(StoreUnavailable, match="it took too long"):
                    await call
            await asyncio.to_thread(server.resume)
            monkeypatch.undo()
            [again] = await answered(lambda: store.log.append(kept[2:3]))
            assert again is None or isinstance(again, VersionConflict)
            assert await other.log.read(one, limit=10) == kept[:3]


async def answered(call: Callable[[], Any]) -> Any:
    """Make a call until it is answered: the server may need a moment."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


@servers
async def test_commit_whose_outcome_is_not_known(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = a_conversation()
    async with opened(url) as store:
        engine = store._database.opened().engine
        commit = engine.dialect.do_commit

        def answer_lost(connection: Any) -> None:
            commit(connection)
            raise ConnectionResetError("the answer is lost")

        with monkeypatch.context() as patched:
            patched.setattr(engine.dialect, "do_commit", answer_lost)
            with pytest.raises(StoreUnavailable):
                await store.log.append([a_commit(one)])

        assert await store.log.read(one, limit=2) == [a_commit(one)]
        assert [type(error) for error in await store.log.append([a_commit(one)])] == [VersionConflict]
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # pools that queue have it


@servers
async def test_connection_that_was_ended_while_nobody_used_it(
    request: pytest.FixtureRequest, kind: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_of(request, kind)
    end = {
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
        "mariadb": "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{name}'",
    }[kind].format(name=url.rpartition("/")[2])
    monkeypatch.setattr("agentbus.storage.sql.dialects.servers.IDLE_SECONDS", 0.0)
    async with opened(url) as store:
        await store.parked.put(a_parked())
        [found] = server.execute(server.maintenance, end)
        assert found
        if kind == "mariadb":
            server.execute(server.maintenance, *(f"KILL {number}" for [number] in found))

        await store.parked.put(a_parked())
        assert len((await store.parked.page()).items) == 1


READ_ONLY = {
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


@servers
async def test_connection_to_a_server_that_only_reads_now_is_used_no_more(kind: str, url: str) -> None:
    parked = a_parked()
    async with opened(url) as store:
        async with connections_of(store).reading() as connection:
            await connection.execute(text(READ_ONLY[kind]))
        with pytest.raises(StoreUnavailable, match=r"(?i)read.only"):
            await store.parked.put(parked)

        await store.parked.put(parked)
        assert await store.parked.get(parked.parked_id) == parked


KILL = {"postgresql": "SELECT pg_terminate_backend({})", "mariadb": "KILL {}"}
CONNECTIONS = {
    "postgresql": "SELECT pid FROM pg_stat_activity",
    "mariadb": "SELECT ID FROM information_schema.PROCESSLIST",
}


class Killer:
    """Kills the connection of the n-th statement, commit or rollback, just before the server gets that."""

    def __init__(self, server: SqlServer, kind: str, at: int) -> None:
        self._server = server
        self._kind = kind
        self._left = at

    @property
    def has_killed(self) -> bool:
        return self._left == 0

    def __call__(self, connection: Any, *_: Any) -> None:
        if not self._left:
            return
        self._left -= 1
        if not self._left:
            self._kill(connection.connection.driver_connection)

    def _kill(self, driver: Any) -> None:
        number = driver.get_server_pid() if self._kind == "postgresql" else driver.thread_id()
        self._ask(KILL[self._kind].format(number))
        wait_until(
            lambda: [number] not in self._ask(CONNECTIONS[self._kind]), what="the end of a connection", seconds=PATIENCE
        )

    def _ask(self, statement: str) -> list[Any]:
        [found] = self._server.execute(self._server.maintenance, statement)
        return found


@servers
async def test_connection_killed_before_any_statement_leaves_nothing_half_done(
    request: pytest.FixtureRequest, kind: str, url: str
) -> None:
    taken = a_conversation()
    async with opened(url) as store:
        engine = store._database.opened().engine
        await store.log.append([a_commit(taken)])
        for at in count(1):
            one = a_conversation()
            # One of them is refused, so that each is tried by itself.
            batch = [a_commit(one, events=[edited(one, 1, "m", "n")]), a_commit(taken)]
            killer = Killer(server_of(request, kind), kind, at)
            for name in ("before_cursor_execute", "commit", "rollback"):
                event.listen(engine, name, killer)
            try:
                await store.log.append(batch)
            except StoreUnavailable:
                assert killer.has_killed
                assert await store.log.read(one, limit=2) == []
                assert await store.log.commits_amending(one, [a_key("m")]) == []
                assert await store.log.append(batch[:1]) == [None]
            finally:
                for name in ("before_cursor_execute", "commit", "rollback"):
                    event.remove(engine, name, killer)
            assert await store.log.commits_amending(one, [a_key("m")]) == batch[:1]
            assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # pools that queue have it
            if not killer.has_killed:
                break
        assert at > 10


@servers
async def test_racing_replacements_of_a_commit_leave_one_of_them_whole(url: str) -> None:
    one = a_conversation()
    async with opened(url) as store, opened(url) as other:
        await store.log.append([a_commit(one, inputs=["first"])])
        for turn in range(10):
            names = [f"{turn}-{number}" for number in range(4)]
            await asyncio.gather(
                *(
                    (store if number % 2 else other).log.replace([a_commit(one, inputs=[name])])
                    for number, name in enumerate(names)
                )
            )
            [kept] = await store.log.read(one, limit=2)
            assert len(kept.inputs) == 1
            assert set(kept.inputs) <= set(names)
            found = await store.log.commits_of_inputs(one, [InputId(name) for name in ("first", *names)])
            assert found == {kept.inputs[0]: kept}
