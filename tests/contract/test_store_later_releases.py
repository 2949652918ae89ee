"""What a later release wrote is read: fields that this one does not know are passed over, at any depth.

Values that it does not know (a status, a kind of event) are damage of what they stand in, and of nothing else.
"""

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import redis
from pymongo import MongoClient

from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import AnyEvent
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId, session_id_for
from agentbus.contracts.members import WorkerId, WorkerStatus
from agentbus.contracts.messages import Attachment, TextContent
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.operations.doctor import Health, _examine_store
from agentbus.settings import load_settings
from agentbus.storage.factory import open_store
from agentbus.storage.port import MongoDriver, Store
from agentbus.testing.conformance.store_records_suite import a_record
from agentbus.testing.conformance.store_shared_suite import a_conflict, a_stamp, an_archive, odd_events
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import (
    a_commit,
    a_conversation,
    a_head,
    a_member,
    a_moment,
    a_parked,
    an_address,
    appended,
    begun,
    data_set,
)
from tests.harness.conversations import message
from tests.harness.patience import PATIENCE

HOUR: Final = 3600.0
FREE: Final = {"_id", "data", "metadata", "values", "shares", "stamps", "bases", "value"}
"""Fields that are an identity, or whose keys users choose: nothing may be added to them."""

JSON_COLUMNS: Final = {"commits": "body", "heads": "body", "parked": "details", "members": "body", "records": "body"}
Change = Callable[[Any], Any]

COLLECTIONS: Final = ("log", "heads", "parked", "members", "records")
REDIS_HASHES: Final = re.compile("(heads|records|parked|log:.*|members:.*)$")


def from_later_release(value: Any) -> Any:
    """Return a document with a field more in each object of it."""
    if isinstance(value, list):
        return [from_later_release(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: item if name in FREE else from_later_release(item) for name, item in value.items()}
    return kept | {"later": {"kind": "unknown", "values": [1]}}


def rewrite_sqlite(place: Path, change: Change = from_later_release) -> None:
    with closing(sqlite3.connect(place)) as connection, connection:
        for table, column in JSON_COLUMNS.items():
            for row_id, text in connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall():  # noqa: S608 - constants
                document = json.dumps(change(json.loads(text)))
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (document, row_id))  # noqa: S608 - the same


def rewrite_files(folder: Path, change: Change = from_later_release) -> None:
    for path in folder.rglob("*.json"):
        if not path.is_symlink():
            path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))))


def rewrite_mongo(url: str, change: Change = from_later_release) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(url, tz_aware=True)
    with client:
        database = client.get_default_database()
        for name in COLLECTIONS:
            for document in database[name].find().to_list():
                database[name].replace_one({"_id": document["_id"]}, change(document))


def rewrite_redis(url: str, change: Change = from_later_release) -> None:
    with redis.Redis.from_url(url.partition("?")[0], decode_responses=True) as client:
        for key in client.scan_iter(f"{url.rpartition('prefix=')[2]}:*"):
            if REDIS_HASHES.match(key.partition("}:")[2]):
                for name, text in client.hgetall(key).items():
                    client.hset(key, name, json.dumps(change(json.loads(text))))


async def check(store: Store, rewrite: Callable[[], None]) -> None:
    """Write one of each, let `rewrite` add the fields, and read it again."""
    one = a_conversation()
    event = appended(one, 1, "m")
    content = TextContent(text="hello", attachments=(Attachment(uri="https://example.org/1.png"),))
    message = event.message.model_copy(update={"content": content})
    events: list[AnyEvent] = [event.model_copy(update={"message": message}), data_set(one, 2, {"a.b": {"c": 1}})]
    events += odd_events(event.session_id)
    commits = [a_commit(one, 1, events=events), a_commit(one, 2)]
    shared = {"stamps": {"/data/a.b": a_stamp()}, "conflicts": (a_conflict(),), "archive": an_archive()}
    head = a_head(one, version=1, data={"a.b": {"c": 1}}).model_copy(update=shared)
    record = a_record(kind=RecordKind.DEADLINE, revision=2, due=0, data={"a.b": 1})
    parked = a_parked(conversation=one)
    await store.log.append(commits[:1])
    await store.log.append(commits[1:])
    await store.heads.save([head])
    await store.parked.put(parked)
    await store.records.put_many([record])
    members = await store.members.heartbeat("group", a_member(owns=[1, 2]), ttl=HOUR)

    rewrite()

    assert await store.log.read(one, limit=10) == commits
    loaded = (await store.log.load([one]))[one]
    assert (loaded.head, loaded.commits) == (head, tuple(commits[1:]))
    assert await store.heads.get(head.session_id) == head
    assert await store.parked.get(parked.parked_id) == parked
    assert (await store.parked.page()).items == (parked,)
    assert await store.members.live("group", ttl=HOUR) == members
    assert await store.records.due(record.kind, a_moment(), limit=1) == [record]


async def test_sqlite_reads_what_a_later_release_wrote(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        await check(store, lambda: rewrite_sqlite(tmp_path / "store.db"))


async def test_file_store_reads_what_a_later_release_wrote(tmp_path: Path) -> None:
    async with open_store(f"file://{tmp_path}/store") as store:
        await check(store, lambda: rewrite_files(tmp_path / "store"))


@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_mongo_reads_what_a_later_release_wrote(driver: MongoDriver, mongo_url: str) -> None:
    async with open_store(mongo_url, mongo_driver=driver) as store:
        await check(store, lambda: rewrite_mongo(mongo_url))


async def test_redis_reads_what_a_later_release_wrote(redis_url: str) -> None:
    async with open_store(redis_url) as store:
        await check(store, lambda: rewrite_redis(redis_url))


def with_a_later_status(member: Any) -> Any:
    return member | {"status": "resting"} if "pid" in member else member


def unreadable(member: Any) -> Any:
    return member | {"owns": "0-63"} if "pid" in member else member


odd_members = pytest.mark.parametrize("change", [with_a_later_status, unreadable])


async def check_members(store: Store, rewrite: Callable[[], None]) -> None:
    """Let `rewrite` change what the store keeps of a member: another's heartbeat must not suffer."""
    await store.members.heartbeat("group", a_member("later"), ttl=HOUR)

    rewrite()

    live = await store.members.heartbeat("group", a_member("w1"), ttl=HOUR)
    assert live == await store.members.live("group", ttl=HOUR)
    statuses = {member.worker_id: member.status for member in live}
    assert statuses.pop(WorkerId("w1")) is WorkerStatus.RUNNING
    assert set(statuses.values()) <= {WorkerStatus.UNKNOWN}


@odd_members
async def test_sqlite_heartbeats_go_on_beside_a_later_release(tmp_path: Path, change: Change) -> None:
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        await check_members(store, lambda: rewrite_sqlite(tmp_path / "store.db", change))


@odd_members
async def test_file_store_heartbeats_go_on_beside_a_later_release(tmp_path: Path, change: Change) -> None:
    async with open_store(f"file://{tmp_path}/store") as store:
        await check_members(store, lambda: rewrite_files(tmp_path / "store", change))


@odd_members
@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_mongo_heartbeats_go_on_beside_a_later_release(
    driver: MongoDriver, mongo_url: str, change: Change
) -> None:
    async with open_store(mongo_url, mongo_driver=driver) as store:
        await check_members(store, lambda: rewrite_mongo(mongo_url, change))


@odd_members
async def test_redis_heartbeats_go_on_beside_a_later_release(redis_url: str, change: Change) -> None:
    async with open_store(redis_url) as store:
        await check_members(store, lambda: rewrite_redis(redis_url, change))


LATER: Final = "written-by-a-later-release"
"""In the documents whose values are changed, and in no others."""


def with_later_values(document: Any) -> Any:
    """Return what a later release might have written: a status, a kind of event that this one does not know."""
    if not isinstance(document, dict) or LATER not in str(document):
        return document
    if events := document.get("events"):
        return document | {"events": [event | {"kind": "session_hibernated"} for event in events]}
    return document | {"status": "hibernated"} if "status" in document else document


async def check_values(store: Store, rewrite: Callable[[], None]) -> None:
    """Write two of each, let `rewrite` change the values of one: whoever asks for the other must not suffer."""
    await store.records.put(Record(kind=RecordKind.EXPIRY_RULE, key="plain", created_at=a_moment(), data={}))
    later, plain = a_conversation(), a_conversation()
    parked: dict[str, ParkedInput] = {}
    for one, words in ((later, LATER), (plain, "plain")):
        address = an_address(user=words)
        event = begun(one).model_copy(update={"address": address})
        await store.log.append([a_commit(one, 1, events=[event])])
        await store.heads.save([a_head(one, version=1, data={"words": words}).model_copy(update={"address": address})])
        parked[words] = a_parked(words, conversation=one).model_copy(update={"reason": words})
        await store.parked.put(parked[words])

    rewrite()

    loaded = await store.log.load([later, plain])
    assert loaded[plain].head is not None
    with pytest.raises(StoreDamaged):
        assert loaded[later].commits
    with pytest.raises(StoreDamaged):
        await store.heads.get(session_id_for(later, 1))
    assert [head.session_id for head in (await store.heads.page(SessionFilter(), limit=10)).items] == [
        session_id_for(plain, 1)
    ]
    assert list(await store.heads.get_many([session_id_for(one, 1) for one in (later, plain)])) == [
        session_id_for(plain, 1)
    ]
    assert (await store.heads.statistics(SessionFilter())).total == 1
    assert [one.parked_id for one in (await store.parked.page()).items] == [parked["plain"].parked_id]
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        await work_goes_on(bus, store, later, plain)
        findings = {one.check: one.health async for one in _examine_store(store, load_settings(partitions=1))}
        assert findings["parked"] is Health.WARNING


async def work_goes_on(bus: MemoryBus, store: Store, later: ConversationId, plain: ConversationId) -> None:
    """Let a worker have one input for each: it parks that for what it can't read, and commits the other."""
    worker = SessionWorker(bus, store)
    await worker.start()
    for one in (later, plain):
        said = InputEnvelope(id=f"for-{one}", partitionkey=one, data=message("1"))
        await bus.publish(bus.topology.inbound, "0", Message(body=said.to_bytes(), message_id=said.id))
    async with asyncio.timeout(PATIENCE):
        while not await store.log.commits_of_inputs(plain, [InputId(f"for-{plain}")]):
            await asyncio.sleep(0.01)
        while not (found := [one for one in (await store.parked.page()).items if one.message_id == f"for-{later}"]):
            await asyncio.sleep(0.01)
    assert found[0].code == "store_damaged"
    await worker.close()


def rewrite_rows(place: Path) -> None:
    rewrite_sqlite(place, with_later_values)
    with closing(sqlite3.connect(place)) as connection, connection:
        for table, column in (("heads", "body"), ("parked", "details")):  # a status has a column of its own
            change = f"UPDATE {table} SET status = 'hibernated' WHERE {column} LIKE '%{LATER}%'"  # noqa: S608 - constants
            assert connection.execute(change).rowcount == 1


async def test_sqlite_values_of_a_later_release_stop_nobody(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        await check_values(store, lambda: rewrite_rows(tmp_path / "store.db"))


async def test_file_store_values_of_a_later_release_stop_nobody(tmp_path: Path) -> None:
    async with open_store(f"file://{tmp_path}/store") as store:
        await check_values(store, lambda: rewrite_files(tmp_path / "store", with_later_values))


@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_mongo_values_of_a_later_release_stop_nobody(driver: MongoDriver, mongo_url: str) -> None:
    async with open_store(mongo_url, mongo_driver=driver) as store:
        await check_values(store, lambda: rewrite_mongo(mongo_url, with_later_values))


def rewrite_hashes(url: str) -> None:
    rewrite_redis(url, with_later_values)
    with redis.Redis.from_url(url.partition("?")[0], decode_responses=True) as client:
        prefix = url.rpartition("prefix=")[2]
        for name in ("heads", "parked"):  # a status is in a row too
            [changed] = [one for one, body in client.hgetall(f"{prefix}:{{0}}:{name}").items() if LATER in body]
            rows = f"{prefix}:{{0}}:{name}:rows"
            row = json.loads(client.hget(rows, changed) or "")
            row["f"]["status"] = "hibernated"
            assert not client.hset(rows, changed, json.dumps(row))


async def test_redis_values_of_a_later_release_stop_nobody(redis_url: str) -> None:
    async with open_store(redis_url) as store:
        await check_values(store, lambda: rewrite_hashes(redis_url))
