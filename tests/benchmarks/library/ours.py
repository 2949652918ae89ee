"""Our way to append: `agentbus.sessions` as a program uses it: `python -m tests.benchmarks.library.ours NAME PLACE`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.storage.sql.dialects.sqlite import PRAGMAS
from tests.benchmarks.library.serving import Way, serve
from tests.harness.program import quieten

_USER: Final = "ann"
_PAGE: Final = 1000


@asynccontextmanager
async def opened(store_url: str, amqp_url: str | None) -> AsyncIterator[Way]:
    """Open a session system, over a broker's workers if there is one, else embedded."""
    config = SessionSystemConfig(storage_type=_kind(store_url), storage_config=_where(store_url), amqp_url=amqp_url)
    ids: dict[str, str] = {}
    async with SessionSystem(config) as system:

        async def session(name: str) -> str:
            if name not in ids:
                ids[name] = (await system.create_session(name, _USER, "telegram", keep_live=True)).session_id
            return ids[name]

        async def append(name: str, text: str) -> None:
            await system.add_message(await session(name), _USER, "user", text)

        async def texts(name: str) -> list[str]:
            found: list[str] = []
            cursor = None
            while True:
                page = await system.get_session_messages(await session(name), limit=_PAGE, before=cursor)
                found = [*(one.content for one in page.items), *found]
                if (cursor := page.cursor) is None:
                    return found

        yield Way(append, texts, _durability(store_url))


def _kind(url: str) -> str:
    kinds = {"sqlite": "database", "file": "file", "mongodb": "mongodb", "redis": "redis", "memory": "memory"}
    return kinds[url.partition(":")[0]]


def _where(url: str) -> dict[str, Any]:
    match _kind(url):
        case "memory":
            return {}
        case "database":
            return {"db_path": url.removeprefix("sqlite:///")}
        case "file":
            return {"storage_dir": url.removeprefix("file://")}
        case _:
            return {"url": url}


def _durability(url: str) -> str:
    match _kind(url):
        case "memory":
            return "none"
        case "database":
            told = {name: value for name, _, value in (one.removeprefix("PRAGMA ").partition(" = ") for one in PRAGMAS)}
            return f"{told['journal_mode']}, synchronous {told['synchronous']}"
        case "file":
            return "fsync"
        case "mongodb":
            return "majority, journal"
        case _:
            return "as the server's"


if __name__ == "__main__":
    quieten()
    serve(opened(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
