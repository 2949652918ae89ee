"""Whether a server keeps what it is given: what Redis does by default is meant for a cache."""

from collections.abc import Mapping, Sequence
from typing import Any

from redis.exceptions import ResponseError

from agentbus.storage.redis.client import Client


async def risks_of(client: Client) -> list[str]:
    """Return by what the servers may lose what they have, each with what to do about it."""
    persistence = told_by(await client.ask_all("INFO", "persistence"))
    memory = told_by(await client.ask_all("INFO", "memory"))
    synced = told_by(await client.ask_all("CONFIG", "GET", "appendfsync"))
    found: list[str] = []
    if not persistence:
        found.append("this user may not ask whether it writes to its disk: allow INFO")
    if any(one.get("aof_enabled") == "0" for one in persistence):
        found.append("it does not append what is written to a file: set appendonly yes")
    elif any(one.get("appendfsync") == "no" for one in synced):
        found.append("it leaves it to the system when its file reaches the disk: set appendfsync everysec, or always")
    policies = {one.get("maxmemory_policy", "noeviction") for one in memory} - {"noeviction"}
    if policies:
        found.append(f"it deletes keys when its memory is full ({min(policies)}): set maxmemory-policy noeviction")
    return found


def told_by(answers: Sequence[Any]) -> list[dict[str, str]]:
    """Return what servers said, by name; without those that may not be asked, as hosted ones say of CONFIG."""
    return [_by_name(answer) for answer in answers if not isinstance(answer, ResponseError)]


def _by_name(answer: Any) -> dict[str, str]:
    if isinstance(answer, Mapping):
        return {_text(name): _text(value) for name, value in answer.items()}
    pairs = [_text(one) for one in answer]
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
