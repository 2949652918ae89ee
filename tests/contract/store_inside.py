"""Looking inside the stores: what their public calls can't do, done by each backend's own means."""

import fcntl
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from agentbus.contracts.events import Commit
from agentbus.contracts.members import Member
from agentbus.contracts.parked import ParkedId, ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.encryption import EncryptedStore
from agentbus.storage.files import FileStore
from agentbus.storage.files.layout import file_name
from agentbus.storage.memory import MemoryStore
from agentbus.storage.mongo import MongoStore
from agentbus.storage.port import Store
from agentbus.storage.redis import RedisStore
from agentbus.storage.redis.client import Client, Cluster, OneServer
from agentbus.storage.redis.codec import record_id
from agentbus.storage.sql import SqlStore, schema
from agentbus.storage.sql.dialects.sqlite import FileConnections
from agentbus.testing.conformance.inside import Spoiled, look_inside
from tests.harness.encryption import bare


async def age_heartbeat(store: Store, group: str, name: str, seconds: float) -> None:
    """Make a member's last heartbeat older, as if the time had passed."""
    store = bare(store)
    match store:
        case MemoryStore():
            members: dict[Any, Any] = store.members._members[group]
            seen_at = members[name].seen_at - timedelta(seconds=seconds)
            members[name] = members[name].model_copy(update={"seen_at": seen_at})
        case FileStore():
            path = store._folder.layout.members / file_name(group) / f"{file_name(name)}.json"
            member = Member.model_validate_json(path.read_bytes())
            assert member.seen_at is not None
            earlier_at = member.seen_at - timedelta(seconds=seconds)
            path.write_text(member.model_copy(update={"seen_at": earlier_at}).model_dump_json())
        case SqlStore():
            table = schema.members
            aged = update(table).where(table.c.group == group, table.c.worker_id == name)
            aged = aged.values(seen_at=table.c.seen_at - int(seconds * 1000))
            await store._database.write(lambda connection: connection.execute(aged))
        case MongoStore():
            earlier = {"$set": {"seen_at": {"$subtract": ["$seen_at", int(seconds * 1000)]}}}
            await store._database.collection("members").update_one({"_id": {"g": group, "w": name}}, [earlier])
        case RedisStore():
            place = _place(store, group, "seen")
            await store._database.ask("ZINCRBY", place, -int(seconds * 1000), name)
        case _:
            raise AssertionError(f"no means to age a heartbeat in a {type(store).__name__}")


async def kept_of(store: Store, parked_id: ParkedId) -> list[str]:
    """Return the names of all that a store keeps of a parked input, pieces of its body too."""
    store = bare(store)
    match store:
        case MemoryStore():
            return [one for one in store.parked._parked if one == parked_id]
        case FileStore():
            folders = [store._folder.layout.parked / file_name(parked_id), store._folder.layout.temporary]
            return [str(path) for folder in folders for path in folder.rglob("*")]
        case SqlStore():
            return [
                found
                for table in (schema.parked, schema.parked_bodies)
                for [found] in await store._database.rows(
                    select(table.c.parked_id).where(table.c.parked_id == parked_id)
                )
            ]
        case MongoStore():
            parked = await store._database.collection("parked").find({"_id": parked_id}).to_list(None)
            pieces = await store._database.collection("parked_bodies").find({"_id.p": parked_id}).to_list(None)
            return [str(document["_id"]) for document in [*parked, *pieces]]
        case RedisStore():
            layout = store._database.layout
            shard = layout.shard_of(parked_id)
            hashes = ("parked", "parked:rows", "parked:beginnings")
            kept = [one for one in hashes if await store._database.ask("HEXISTS", layout.key(shard, one), parked_id)]
            places = await store._database.ask("ZRANGE", layout.key(shard, "parked:index"), 0, -1)
            rest = await store._database.ask("EXISTS", layout.key(shard, "parked:rest", parked_id))
            return kept + [str(one) for one in places if parked_id.encode() in one] + ["rest"] * rest
        case _:
            raise AssertionError(f"no means to look into a {type(store).__name__}")


async def spoil(store: Store, kept: Spoiled) -> None:
    """Damage what a store keeps of something, in a way that leaves it where it is."""
    store = bare(store)
    match store:
        case FileStore():
            _file_of(store, kept).write_bytes(b'{"half a file')
        case SqlStore():
            name, column, keys = _row_of(kept)
            table = schema.metadata.tables[name]
            damage = update(table).where(*(table.c[key] == value for key, value in keys.items()))
            damage = damage.values({column: '{"half a row'})
            assert await store._database.write(lambda connection: connection.execute(damage).rowcount) == 1
        case MongoStore():
            collection, identity, field = _document_of(kept)
            done = await store._database.collection(collection).update_one({"_id": identity}, {"$set": {field: 1.5}})
            assert done.matched_count == 1
        case RedisStore():
            assert not await store._database.ask("HSET", *_field_of(store, kept), '{"half a document'), "it was there"
        case _:
            raise AssertionError(f"no means to damage a {type(store).__name__}")


def _file_of(store: FileStore, kept: Spoiled) -> Path:
    layout = store._folder.layout
    match kept:
        case SessionState():
            return layout.head(kept.session_id)
        case Commit():
            return layout.conversation(kept.conversation_id).commit(kept.version)
        case ParkedInput():
            return layout.parked / file_name(kept.parked_id) / "details.json"
        case Record():
            return layout.records / kept.kind / f"{file_name(kept.key)}.json"


def _row_of(kept: Spoiled) -> tuple[str, str, dict[str, Any]]:
    match kept:
        case SessionState():
            return "heads", "body", {"session_id": kept.session_id}
        case Commit():
            return "commits", "body", {"conversation_id": kept.conversation_id, "version": kept.version}
        case ParkedInput():
            return "parked", "details", {"parked_id": kept.parked_id}
        case Record():
            return "records", "body", {"kind": kept.kind.value, "key": kept.key}


def _document_of(kept: Spoiled) -> tuple[str, Any, str]:
    match kept:
        case SessionState():
            return "heads", kept.session_id, "metadata"
        case Commit():
            return "log", {"c": kept.conversation_id, "v": kept.version}, "events"
        case ParkedInput():
            return "parked", kept.parked_id, "reason"
        case Record():
            return "records", {"k": kept.kind.value, "n": kept.key}, "data"


def _place(store: RedisStore, name: str, what: str) -> str:
    layout = store._database.layout
    return layout.key(layout.shard_of(name), what, name)


def _field_of(store: RedisStore, kept: Spoiled) -> tuple[str, str]:
    layout = store._database.layout
    match kept:
        case SessionState():
            return layout.key(layout.shard_of(kept.conversation_id), "heads"), kept.session_id
        case Commit():
            return _place(store, kept.conversation_id, "log"), str(kept.version)
        case ParkedInput():
            return layout.key(layout.shard_of(kept.parked_id), "parked"), kept.parked_id
        case Record():
            identity = record_id(kept.kind, kept.key)
            return layout.key(layout.shard_of(identity), "records"), identity


def held_by(store: Store) -> list[str]:
    """Return what an idle store holds on to: transactions, snapshots, connections, locks, files half written."""
    store = bare(store)
    match store:
        case SqlStore():
            connections = store._database.opened()
            held = ["connections"] if connections.engine.pool.checkedout() else []  # type: ignore[attr-defined]  # Pools that queue have it.
            return [*held, *_held_in_sqlite(connections)] if isinstance(connections, FileConnections) else held
        case FileStore():
            root = store._folder.layout.root
            locked = [str(folder) for folder in (root, *root.rglob("*/")) if _is_locked(folder)]
            return locked + [str(path) for path in store._folder.layout.temporary.iterdir()]
        case RedisStore():
            return ["connections"] * connections_in_use(store._database.opened())
        case _:
            return []


def connections_in_use(client: Client) -> int:
    """Return how many connections of a client for Redis have not been given back."""
    match client:
        case OneServer():
            return len(client._pool._in_use_connections)
        case Cluster():
            nodes = client._client.nodes_manager.nodes_cache.values()
            return sum(len(node._connections) - len(node._free) for node in nodes)
        case _:
            raise AssertionError(f"no means to count the connections of a {type(client).__name__}")


def _held_in_sqlite(connections: FileConnections) -> list[str]:
    file = connections.engine.url.database
    held = ["the turn"] if connections.written else []
    assert file
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE").close()
            connection.execute("COMMIT").close()
        except sqlite3.OperationalError:
            return [*held, "the write lock"]
        [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return [*held, "a snapshot"] if busy else held


def _is_locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class _Ours:
    """The means of all our stores."""

    age_heartbeat = staticmethod(age_heartbeat)
    kept_of = staticmethod(kept_of)
    spoil = staticmethod(spoil)
    held_by = staticmethod(held_by)


for _kind in (EncryptedStore, FileStore, MemoryStore, MongoStore, RedisStore, SqlStore):
    look_inside(_kind, _Ours())
