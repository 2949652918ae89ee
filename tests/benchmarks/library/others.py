"""Other libraries' ways to append, in an environment that has them: `python -m ...others NAME PLACE`.

Each as its documentation shows it, with its own defaults. A saver of checkpoints keeps the whole list of messages each
time, as a graph whose state they are has it kept.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

from tests.benchmarks.library.serving import Way, serve

_LEVELS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


@asynccontextmanager
async def agents_sqlite(place: str) -> AsyncIterator[Way]:
    """Append by the OpenAI Agents SDK's `SQLiteSession`."""
    make = import_module("agents").SQLiteSession
    sessions: dict[str, Any] = {}

    def session(name: str) -> Any:
        return sessions.get(name) or sessions.setdefault(name, make(name, place))

    with session("about")._locked_connection() as connection:
        asked = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    yield _agents(session, _of_sqlite(*asked))
    for one in sessions.values():
        one.close()


@asynccontextmanager
async def agents_redis(place: str) -> AsyncIterator[Way]:
    """Append by the OpenAI Agents SDK's `RedisSession`."""
    client = import_module("redis.asyncio").from_url(place.partition("?")[0])
    make = import_module("agents.extensions.memory.redis_session").RedisSession
    sessions: dict[str, Any] = {}

    def session(name: str) -> Any:
        return sessions.get(name) or sessions.setdefault(name, make(name, redis_client=client))

    yield _agents(session, await _of_redis(client))
    await client.aclose()


def _agents(session: Any, durability: str) -> Way:
    async def append(name: str, text: str) -> None:
        await session(name).add_items([{"role": "user", "content": text}])

    async def texts(name: str) -> list[str]:
        return [one["content"] for one in await session(name).get_items()]

    return Way(append, texts, durability)


@asynccontextmanager
async def langgraph_sqlite(place: str) -> AsyncIterator[Way]:
    """Append by LangGraph's `AsyncSqliteSaver`."""
    async with import_module("langgraph.checkpoint.sqlite.aio").AsyncSqliteSaver.from_conn_string(place) as saver:
        await saver.setup()
        asked = [
            await (await saver.conn.execute(f"PRAGMA {one}")).fetchone() for one in ("journal_mode", "synchronous")
        ]
        yield _checkpoints(saver, _of_sqlite(*(value for [value] in asked)))


@asynccontextmanager
async def langgraph_redis(place: str) -> AsyncIterator[Way]:
    """Append by LangGraph's `AsyncRedisSaver`, which needs a server with Redis' search and JSON modules."""
    url = place.partition("?")[0]
    async with import_module("langgraph.checkpoint.redis.aio").AsyncRedisSaver.from_conn_string(url) as saver:
        await saver.asetup()
        client = import_module("redis.asyncio").from_url(url)
        said = await _of_redis(client)
        await client.aclose()
        yield _checkpoints(saver, said)


def _checkpoints(saver: Any, durability: str) -> Way:
    empty = import_module("langgraph.checkpoint.base").empty_checkpoint

    def config(name: str) -> dict[str, Any]:
        return {"configurable": {"thread_id": name, "checkpoint_ns": ""}}

    async def append(name: str, text: str) -> None:
        found = await saver.aget_tuple(config(name))
        said = found.checkpoint["channel_values"]["messages"] if found else []
        version = len(said) + 1
        made = {
            **empty(),
            "channel_values": {"messages": [*said, {"role": "user", "content": text}]},
            "channel_versions": {"messages": version},
        }
        told = {"source": "loop", "step": version, "parents": {}}
        await saver.aput(found.config if found else config(name), made, told, {"messages": version})

    async def texts(name: str) -> list[str]:
        found = await saver.aget_tuple(config(name))
        return [one["content"] for one in found.checkpoint["channel_values"]["messages"]] if found else []

    return Way(append, texts, durability)


@asynccontextmanager
async def push(place: str) -> AsyncIterator[Way]:
    """Append by a bare `$push` to one document a session, by PyMongo's async client."""
    client = import_module("pymongo").AsyncMongoClient(place, w="majority", journal=True)
    sessions = client.get_default_database()["pushed"]

    async def append(name: str, text: str) -> None:
        message = {"role": "user", "content": text}
        await sessions.update_one({"_id": name}, {"$push": {"messages": message}}, upsert=True)

    async def texts(name: str) -> list[str]:
        return [one["content"] for one in (await sessions.find_one({"_id": name}) or {"messages": []})["messages"]]

    yield Way(append, texts, "majority, journal")
    await client.close()


def _of_sqlite(journal: str, level: int) -> str:
    return f"{journal.upper()}, synchronous {_LEVELS[level]}"


async def _of_redis(client: Any) -> str:
    return f"appendfsync {(await client.config_get('appendfsync'))['appendfsync']}"


if __name__ == "__main__":
    serve(globals()[sys.argv[1]](sys.argv[2]))
