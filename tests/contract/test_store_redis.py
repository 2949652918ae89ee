"""What the Redis store says of a server that is away, refuses, would lose what it has, or fails in the middle."""

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_py
from pydantic import JsonValue
from redis import exceptions
from structlog.testing import capture_logs

from agentbus.contracts.errors import StoreDamaged, StoreRejected, StoreUnavailable, VersionConflict
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.records import RecordKind
from agentbus.operations.doctor import Finding, Health, _examine_store
from agentbus.settings import load_settings
from agentbus.storage.factory import open_store
from agentbus.storage.port import LISTED_BODY
from agentbus.storage.redis import RedisStore
from agentbus.storage.redis.address import address_of
from agentbus.storage.redis.client import Client, OneServer
from agentbus.storage.redis.errors import store_errors
from agentbus.storage.redis.layout import Layout
from agentbus.testing.conformance.store_heads_suite import a_session, idle_after
from agentbus.testing.conformance.store_records_suite import a_record
from tests.chaos.system.proxy import Proxy
from tests.contract.store_inside import connections_in_use, held_by
from tests.harness.builders import a_commit, a_conversation, a_head, a_moment, a_parked, appended, begun, data_set
from tests.harness.patience import PATIENCE
from tests.services import LOOPBACK, LocalRedis, RedisServer, private_redis

HIDDEN = "s3cret"
KEEPING = {"appendonly": "yes", "appendfsync": "always", "maxmemory": "0", "maxmemory-policy": "noeviction"}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    async with open_store(url) as store:
        assert isinstance(store, RedisStore)
        yield store


@pytest.fixture(scope="module")
def own() -> Iterator[LocalRedis]:
    """Start a server whose settings these tests change, which they put back."""
    with LocalRedis(**KEEPING) as server:
        yield server


@pytest.fixture
def url(own: LocalRedis) -> Iterator[str]:
    with own.fresh_database() as url:
        yield url


@contextmanager
def told(server: RedisServer, **settings: str) -> Iterator[Any]:
    """Change settings of a server, and give a client of it; afterwards all is as it was."""
    with server.client() as client:
        try:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)
            yield client
        finally:
            for name, value in KEEPING.items():
                client.config_set(name, value)


# Away, or refusing


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster"])
async def test_server_that_is_not_there(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        port = taken.getsockname()[1]
        store = open_store(f"{scheme}://ann:{HIDDEN}@{LOOPBACK}:{port}/0?prefix={HIDDEN}", connect_timeout=0.3)

        with capture_logs() as logs, pytest.raises(StoreUnavailable, match="running, and are host and port right") as e:
            await store.start()

    assert f"no answer from {scheme}://ann:***@{LOOPBACK}:{port}/0 in 0.3 s" in str(e.value)
    assert HIDDEN not in str(e.value) + str(logs)
    assert {entry["event"] for entry in logs} <= {"store_waiting"}
    await store.close()
    gc.collect()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_server_that_accepts_and_says_nothing(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.redis.client.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("agentbus.storage.redis.client.ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen(16)
        with pytest.raises(StoreUnavailable, match=r"(?i)time"):
            await open_store(f"{scheme}://{LOOPBACK}:{silent.getsockname()[1]}", connect_timeout=0.3).start()
    gc.collect()


async def test_server_that_does_not_know_the_user(url: str) -> None:
    stranger = url.replace("redis://", f"redis://ann:{HIDDEN}@")

    with pytest.raises(StoreRejected, match="check user and password in the URL") as caught:
        await open_store(stranger).start()

    assert HIDDEN not in str(caught.value)


async def test_server_that_is_no_cluster(url: str) -> None:
    with pytest.raises(StoreRejected, match=r"is no cluster: write redis:// "):
        await open_store(url.replace("redis://", "redis+cluster://")).start()


async def test_user_who_may_do_little_more_than_read_and_write_his_keys(own: LocalRedis, url: str) -> None:
    prefix = url.rpartition("=")[2]
    login = f"redis://ann:{HIDDEN}@"
    with own.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "ann", "on", f">{HIDDEN}", f"~{prefix}:*", "+@all", "-@dangerous", "+info"
        )
        async with opened(url.replace("redis://", login)) as store:
            await store.heads.save([head := a_head(a_conversation())])
            assert await store.heads.get(head.session_id) == head
            await store.log.replace([])
            assert (await store.info()).risks == ()
        with pytest.raises(StoreRejected, match=r"give the user the keys of this prefix"):
            await open_store(url.replace("redis://", login).replace(prefix, "other")).start()
        client.execute_command("ACL", "SETUSER", "ann", "-info")
        with pytest.raises(StoreRejected, match="this user may not ask whether it writes to its disk: allow INFO"):
            await open_store(url.replace("redis://", login)).start()
        client.execute_command("ACL", "DELUSER", "ann")


# What may be lost

LOSSES = [
    ({"appendonly": "no"}, "does not append what is written to a file: set appendonly yes"),
    ({"appendfsync": "no"}, "leaves it to the system when its file reaches the disk: set appendfsync everysec"),
    (
        {"maxmemory_policy": "allkeys-lru"},
        r"deletes keys when its memory is full \(allkeys-lru\): set maxmemory-policy",
    ),
]


@pytest.mark.parametrize(("settings", "what"), LOSSES)
async def test_server_that_may_lose_what_it_has_is_refused(
    own: LocalRedis, url: str, settings: dict[str, str], what: str
) -> None:
    with told(own, **settings), pytest.raises(StoreRejected, match=f"may lose what is kept there: it {what}"):
        await open_store(url).start()


async def test_server_that_may_lose_what_it_has_is_used_if_the_url_says_so(own: LocalRedis, url: str) -> None:
    with told(own, appendonly="no", maxmemory_policy="volatile-ttl"), capture_logs() as logs:
        async with opened(f"{url}&durability=warn") as store:
            await store.parked.put(a_parked())
            findings: list[Finding] = [one async for one in _examine_store(store, load_settings(partitions=1))]
            await store.log.replace([])

    risks = [one for one in findings if one.check == "durability"]
    assert [one.health for one in risks] == [Health.WARNING] * 2
    assert risks[0].advice == "It does not append what is written to a file: set appendonly yes."
    [line] = [entry for entry in logs if entry["event"] == "store_not_durable"]
    assert "set appendonly yes; it deletes keys when its memory is full" in line["reason"]


async def test_what_was_replaced_leaves_the_files(own: LocalRedis, url: str) -> None:
    one = a_conversation()
    async with opened(url) as store:
        await store.log.append([a_commit(one, events=[data_set(one, 1, {"words": HIDDEN})])])
        assert written(own, HIDDEN)
        await store.log.replace([a_commit(one)])
        for _ in range(2):  # The second waits for the end of the first.
            await store.log.replace([])
        async with asyncio.timeout(PATIENCE):
            while written(own, HIDDEN):
                await asyncio.sleep(0.02)


def written(server: LocalRedis, words: str) -> list[str]:
    """Return the files of a server that hold some words."""
    files = [path for path in server.folder.rglob("*") if path.is_file() and path.name != "pid"]
    return [str(path) for path in files if words.encode() in read_bytes(path)]


def read_bytes(path: Any) -> bytes:
    try:
        found: bytes = path.read_bytes()
    except FileNotFoundError:  # One that was written anew takes its place in this moment.
        return b""
    return found


async def test_files_that_are_written_anew_all_the_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.redis.wiping.PATIENCE", 0.1)
    async with opened(url) as store:
        ask_all = store._database.ask_all

        async def busy(*command: Any) -> list[Any]:
            return (
                [{"aof_enabled": 1, "aof_rewrite_in_progress": 1}] if command[0] == "INFO" else await ask_all(*command)
            )

        monkeypatch.setattr(store._database, "ask_all", busy)
        with pytest.raises(StoreUnavailable, match="make the same call again"):
            await store.log.replace([])


# Failing in the middle


async def test_scripts_that_a_server_has_forgotten_are_told_anew(own: LocalRedis, url: str) -> None:
    async with opened(url) as store:
        with own.client() as client:
            client.script_flush()
        assert await store.log.append([a_commit(a_conversation())]) == [None]


async def test_full_server_takes_nothing_and_gives_what_it_has(own: LocalRedis, url: str) -> None:
    one = a_conversation()
    async with opened(url) as store:
        assert await store.log.append([a_commit(one)]) == [None]
        with told(own, maxmemory="1"):
            with pytest.raises(StoreUnavailable, match="when used memory >"):
                await store.log.append([a_commit(one, 2)])
            with pytest.raises(StoreUnavailable, match="when used memory >"):
                await store.heads.save([a_head(one)])
            assert await store.log.read(one, limit=10) == [a_commit(one)]
            assert (await store.heads.page(SessionFilter())).items == ()
        assert await store.log.append([a_commit(one, 2)]) == [None]


async def test_server_that_becomes_a_replica_takes_no_writes(own: LocalRedis, url: str) -> None:
    one = a_conversation()
    async with opened(url) as store:
        with own.client() as client:
            try:
                client.execute_command("REPLICAOF", LOOPBACK, "1")
                with pytest.raises(StoreUnavailable, match="read only replica"):
                    await store.log.append([a_commit(one)])
            finally:
                client.execute_command("REPLICAOF", "NO", "ONE")
        assert await store.log.append([a_commit(one)]) == [None]


async def test_server_that_is_a_replica_for_a_moment_is_asked_again(
    own: LocalRedis, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url) as store:
        with own.client() as client:
            of_store = store._database.opened()
            let_go = of_store.let_go

            async def promoted() -> None:
                client.execute_command("REPLICAOF", "NO", "ONE")
                await let_go()

            monkeypatch.setattr(of_store, "let_go", promoted)
            client.execute_command("REPLICAOF", LOOPBACK, "1")
            assert await store.log.append([a_commit(a_conversation())]) == [None]
            assert client.info("replication")["role"] == "master"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ResponseError("BUSY Redis is busy running a script."), StoreUnavailable),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file: No space left"), StoreUnavailable),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), StoreUnavailable),
        (exceptions.ResponseError("ERR Error running script: @user_script:1: -READONLY You can't"), StoreUnavailable),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (exceptions.MasterDownError("Link with MASTER is down"), StoreUnavailable),
        (exceptions.ClusterDownError("The cluster is down"), StoreUnavailable),
        (exceptions.AskError("1 127.0.0.1:1"), StoreUnavailable),
        (exceptions.ClusterError("TTL exhausted."), StoreUnavailable),
        (exceptions.SlotNotCoveredError("Command could not be executed"), StoreUnavailable),
        (exceptions.RedisClusterException("Redis Cluster cannot be connected."), StoreUnavailable),
        (exceptions.MaxConnectionsError("Too many connections"), StoreUnavailable),
        (exceptions.MovedError("1 127.0.0.1:1"), StoreRejected),
        (exceptions.NoPermissionError("this user has no permissions"), StoreRejected),
        (exceptions.AuthenticationError("invalid username-password pair"), StoreRejected),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), StoreRejected),
        (exceptions.DataError("Invalid input of type"), StoreRejected),
    ],
)
def test_errors_are_told_apart(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected, match=r"^redis://host"), store_errors("redis://host"):
        raise error


def test_certificate_that_is_not_trusted_is_not_waited_for() -> None:
    lost = exceptions.ConnectionError("connection lost")
    lost.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")

    with pytest.raises(StoreRejected, match=r"name the authority that signed"), store_errors("rediss://host"):
        raise lost


def test_what_says_how_to_trust_a_server_reaches_the_client() -> None:
    address = address_of("rediss://ann:a%2Fb@host:1/2?ssl_ca_certs=/ca.pem&ssl_check_hostname=no&prefix=mine")

    pool = OneServer(address)._pool
    assert (address.user, address.password, address.name) == ("ann", "a/b", "2/mine")
    connection: Any = pool.connection_class(**pool.connection_kwargs)
    assert (connection.ca_certs, connection.check_hostname, connection.db) == ("/ca.pem", False, 2)


async def test_outages_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    one, head = a_conversation(), a_head(a_conversation())
    kept = [a_commit(one, version) for version in range(1, 8)]
    with private_redis() as server, server.fresh_database() as url:
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
            await asyncio.to_thread(server.pause)
            with answering_within(0.2, store._database.opened()), pytest.raises(StoreUnavailable, match="Timeout"):
                await store.log.append(kept[2:3])
            monkeypatch.setattr("agentbus.storage.redis.client.ANSWER_SECONDS", 0.2)
            with pytest.raises(StoreUnavailable, match="Timeout"):
                await open_store(url, connect_timeout=0.2).start()
            monkeypatch.undo()
            await asyncio.to_thread(server.resume)
            [again] = await answered(lambda: store.log.append(kept[2:3]))
            assert again is None or isinstance(again, VersionConflict)
            assert await other.log.read(one, limit=10) == kept[:3]
            assert await other.heads.get(head.session_id) == head


@contextmanager
def answering_within(seconds: float, client: Client) -> Iterator[None]:
    """Let the connections that there are wait so long for an answer."""
    assert isinstance(client, OneServer)
    connections = [*client._pool._available_connections]
    assert connections
    before = connections[0].socket_timeout
    for one in connections:
        one.socket_timeout = seconds
    yield
    for one in connections:
        one.socket_timeout = before


async def answered(call: Callable[[], Any]) -> Any:
    """Make a call until it is answered: the server may need a moment."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def test_commit_whose_answer_is_lost(own: LocalRedis, url: str) -> None:
    one = a_conversation()
    async with Proxy((LOOPBACK, own.port)) as proxy, opened(at_port(url, proxy.port)) as store, opened(url) as other:
        assert await store.log.append([a_commit(a_conversation())]) == [None]  # The server has the script now.
        proxy.deaf = True
        appending = asyncio.create_task(store.log.append([a_commit(one)]))
        await answered_by(lambda: other.log.read(one, limit=2), [a_commit(one)])
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            await appending

        proxy.deaf = False
        assert [type(error) for error in await store.log.append([a_commit(one)])] == [VersionConflict]
        assert await store.log.read(one, limit=2) == [a_commit(one)]
        assert held_by(store) == []


async def answered_by(call: Callable[[], Any], expected: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while await call() != expected:
            await asyncio.sleep(0.01)


def at_port(url: str, port: int) -> str:
    return urlsplit(url)._replace(netloc=f"{LOOPBACK}:{port}").geturl()


async def test_answer_that_ends_in_the_middle() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()) and not line.startswith(b"GET"):
            if answer := {b"PING": b"+PONG", b"CLIENT": b"+OK"}.get(line.strip()):
                writer.write(answer + b"\r\n")
        writer.write(b"$10\r\nhalf")
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK)
    async with server:
        client = OneServer(address_of(f"redis://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"))
        with pytest.raises(StoreUnavailable, match="closed"), store_errors("redis://host"):
            await client.ask("GET", "a")
        await client.close()


async def test_connection_that_was_ended_while_nobody_used_it(own: LocalRedis, url: str) -> None:
    async with opened(url) as store:
        await store.parked.put(a_parked())
        with own.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        client_of_store = store._database.opened()
        assert isinstance(client_of_store, OneServer)
        [idle] = client_of_store._pool._available_connections
        async with asyncio.timeout(PATIENCE):
            while not await idle.can_read():  # Until its end is seen.
                await asyncio.sleep(0.01)

        await store.parked.put(a_parked())
        assert len((await store.parked.page()).items) == 1


# Cancelled


@asynccontextmanager
async def a_client(port: int) -> AsyncIterator[Client]:
    client = OneServer(address_of(f"redis://{LOOPBACK}:{port}"))
    try:
        yield client
    finally:
        await client.close()


async def test_cancelled_call_leaves_no_answer_to_the_next(own: LocalRedis) -> None:
    async with a_client(own.port) as client:
        for turns in range(30):  # Those of connecting first, then those of a call.
            asking = asyncio.create_task(client.ask("ECHO", "the first"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            answers = await asyncio.gather(*(client.ask("ECHO", str(number)) for number in range(3)))
            assert answers == [b"0", b"1", b"2"], f"after {turns} turns of the loop"
            assert connections_in_use(client) == 0


async def test_call_cancelled_while_its_answer_is_on_its_way(own: LocalRedis) -> None:
    async with Proxy((LOOPBACK, own.port)) as proxy, a_client(proxy.port) as client, a_client(own.port) as other:
        await client.ask("PING")
        proxy.deaf = True
        asking = asyncio.create_task(client.ask("INCR", "asked"))
        await answered_by(lambda: other.ask("GET", "asked"), b"1")
        proxy.freeze()
        proxy.deaf = False
        second = asyncio.create_task(client.ask("ECHO", "the first"))
        async with asyncio.timeout(PATIENCE):
            while connections_in_use(client) < 2:
                await asyncio.sleep(0)
        asking.cancel()
        second.cancel()
        proxy.thaw()
        await asyncio.wait({asking, second})

        assert asking.cancelled()
        assert await client.ask("ECHO", "the second") == b"the second"
        await other.ask("DEL", "asked")


async def test_answer_that_comes_too_late_is_nobodys(own: LocalRedis) -> None:
    async with Proxy((LOOPBACK, own.port)) as proxy, a_client(proxy.port) as client:
        await client.ask("PING")
        proxy.freeze()
        with answering_within(0.05, client), pytest.raises(exceptions.TimeoutError):
            await client.ask("ECHO", "the first")
        proxy.thaw()

        assert await client.ask("ECHO", "the second") == b"the second"


async def test_calls_wait_for_their_turn_with_an_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(url) as store:
        monkeypatch.setattr("agentbus.storage.redis.base.ANSWER_SECONDS", 0.05)
        monkeypatch.setattr(store._database, "_turns", asyncio.Semaphore(0))
        with pytest.raises(StoreUnavailable, match="those who asked before"):
            await store.info()


# How it is laid out


async def test_prefixes_and_databases_keep_stores_apart(own: LocalRedis) -> None:
    head = a_head(a_conversation())
    with own.fresh_database() as one, own.fresh_database() as two:
        other_database = one.replace("/0?", "/3?")
        async with opened(one) as store, opened(two) as other, opened(other_database) as third:
            await store.heads.save([head])
            await store.locks.acquire("lock", ttl=60)
            for stranger in (other, third):
                assert await stranger.heads.get(head.session_id) is None
                assert (await stranger.heads.page(SessionFilter())).items == ()
                assert await stranger.locks.acquire("lock", ttl=60)
            assert (await third.info()).name == f"3/{one.rpartition('=')[2]}"
        with redis_py.Redis(port=own.port, db=3) as client:
            assert client.dbsize() > 0
            client.flushdb()


async def test_number_of_shards_is_that_of_whoever_came_first(url: str) -> None:
    heads = [a_head(a_conversation(), active=second) for second in range(20)]
    async with opened(f"{url}&shards=5") as store, opened(f"{url}&shards=2") as other:
        assert other._database.layout == store._database.layout == Layout(url.rpartition("=")[2], 5)
        await store.heads.save(heads)
        assert list((await other.heads.page(SessionFilter())).items) == heads[::-1]


async def test_layout_of_a_later_release_is_refused(own: LocalRedis, url: str) -> None:
    with own.client() as client:
        client.hset(f"{url.rpartition('=')[2]}:layout", mapping={"version": "2", "shards": "1"})
    with pytest.raises(StoreRejected, match="laid out as version 2, this release knows 1"):
        await open_store(url).start()


async def test_all_keys_of_a_store_have_its_prefix_and_those_of_a_script_one_shard(own: LocalRedis, url: str) -> None:
    prefix = url.rpartition("=")[2]
    async with opened(f"{url}&shards=3") as store:
        one = a_conversation()
        await store.log.append([a_commit(one, events=[begun(one), appended(one, 2, "m")])])
        await store.heads.save([idle_after(60), a_head(one)])
        await store.parked.put(a_parked(body=b"x" * (LISTED_BODY + 1), conversation=one))
        await store.records.put(a_record(due=1))
        await store.locks.acquire("lock", ttl=60)
        await store.members.take_epoch("group", 1)  # type: ignore[arg-type]  # a partition
    with own.client() as client:
        keys = [key.decode() for key in client.keys("*")]
    assert {key for key in keys if not key.startswith(f"{prefix}:{{")} == {f"{prefix}:layout"}
    assert {key.partition("}")[0].rpartition("{")[2] for key in keys} <= {"0", "1", "2", f"{prefix}:layout"}


# In parts


@pytest.mark.parametrize("shards", [1, 3])
async def test_long_lists_and_logs_are_put_together(url: str, shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"documents.LOOKED_AT": 3, "documents._TAKEN": 2, "log._LOADED": 2, "base.BATCH": 2}.items():
        monkeypatch.setattr(f"agentbus.storage.redis.{name}", value)
    one = a_conversation()
    commits = [a_commit(one, version, events=[appended(one, version, str(version))]) for version in range(1, 8)]
    heads = [a_session(active=second, messages=1) for second in range(12)]
    async with opened(f"{url}&shards={shards}") as store:
        for commit in commits:
            await store.log.append([commit])
        await store.heads.save([*heads, a_head(one, version=1, address=None)])
        assert (await store.log.load([one]))[one].commits == tuple(commits[1:])
        assert [
            *(await store.log.commits_of_inputs(one, [InputId(f"input-{n}") for n in range(9)])).values()
        ] == commits
        some = SessionFilter(status=heads[0].status)
        found = await store.heads.page(some, limit=5)
        rest = await store.heads.page(some, limit=50, cursor=found.cursor)
        assert {head.session_id for head in (*found.items, *rest.items)} >= {head.session_id for head in heads}
        assert (await store.heads.statistics(SessionFilter())).total == 13
        records = [a_record(f"k{n}", kind=RecordKind.DEADLINE, due=n, group=str(n % 2)) for n in range(9)]
        await store.records.put_many(records)
        assert await store.records.due(RecordKind.DEADLINE, a_moment(9), groups=["1"], limit=3) == records[1:6:2]
        assert await store.records.delete_group(RecordKind.DEADLINE, "0") == 5
        assert await store.records.due(RecordKind.DEADLINE, a_moment(9), limit=9) == records[1::2]


async def test_much_is_read_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.redis.log.PART_BYTES", 1000)
    one = a_conversation()
    commits = [a_commit(one, version, events=[data_set(one, 1, {"x": "x" * 400})]) for version in range(1, 8)]
    async with opened(url) as store:
        for commit in commits:
            await store.log.append([commit])
        assert await store.log.read(one, limit=7) == commits
        assert await store.log.read(one, first=2, last=6, limit=4, newest=True) == commits[5:1:-1]


async def test_what_is_too_large_leaves_its_neighbours_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.redis.base.LARGEST", 10_000)
    fine, large = a_conversation(), a_conversation()
    huge: dict[str, JsonValue] = {"x": "é" * 6_000}
    async with opened(url) as store:
        outcome = await store.log.append([a_commit(large, events=[data_set(large, 1, huge)]), a_commit(fine)])
        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        assert "the limit is 10000" in str(outcome[0])
        outcome = await store.heads.save([a_head(large, data=huge), a_head(fine)])
        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        with pytest.raises(StoreRejected, match="a commit of"):
            await store.log.replace([a_commit(fine, events=[data_set(fine, 1, huge)])])
        with pytest.raises(StoreRejected, match="a record of"):
            await store.records.put(a_record(data="x" * 10_000))


async def test_racing_replacements_of_a_commit_leave_one_of_them_whole(url: str) -> None:
    one = a_conversation()
    async with opened(url) as store, opened(url) as other:
        await store.log.append([a_commit(one, inputs=["first"])])
        for turn in range(5):
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


async def test_commit_that_others_replace_all_the_time(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = a_conversation()
    async with opened(url) as store:
        await store.log.append([a_commit(one)])
        run = store._database.run

        async def meanwhile(name: str, *given: Any) -> Any:
            return [2] if name == "replace" else await run(name, *given)

        monkeypatch.setattr(store._database, "run", meanwhile)
        with pytest.raises(StoreUnavailable, match="others replace the same commits all the time"):
            await store.log.replace([a_commit(one, epoch=2)])


async def test_parked_body_that_is_not_whole_is_not_given(own: LocalRedis, url: str) -> None:
    parked = a_parked(body=b"x" * (LISTED_BODY + 10))
    async with opened(url) as store:
        await store.parked.put(parked)
        with own.client() as client:
            assert client.delete(f"{url.rpartition('=')[2]}:{{0}}:parked:rest:{parked.parked_id}")

        with pytest.raises(StoreDamaged, match=r"65536 of 65546 bytes are left: restore"):
            await store.parked.get(parked.parked_id)


async def test_input_parked_and_deleted_by_others_meanwhile_is_parked_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked = a_parked(body=b"x" * (LISTED_BODY + 10))
    async with opened(url) as store, opened(url) as other:
        keep = store.parked._keep_rest  # type: ignore[attr-defined]  # a RedisParked
        turns = iter([True, False])

        async def disturbed(*given: Any) -> None:
            await keep(*given)
            if next(turns):
                await other.parked.put(parked)
                await other.parked.delete(parked.parked_id)

        monkeypatch.setattr(store.parked, "_keep_rest", disturbed)
        await store.parked.put(parked)
        assert await store.parked.get(parked.parked_id) == parked


def test_conversations_are_spread_over_shards() -> None:
    layout = Layout("agentbus", 8)
    counts = [0] * 8
    for number in range(800):
        conversation: ConversationId = a_conversation(str(number))
        counts[layout.shard_of(conversation)] += 1
        keys = layout.of_conversation(conversation, "log", "inputs")
        assert {key.partition("{")[2].partition("}")[0] for key in keys} == {str(layout.shard_of(conversation))}
    assert min(counts) > 50
