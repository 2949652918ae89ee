"""The versions of all that took part."""

from importlib.metadata import version
from typing import Final

from pymongo import MongoClient

from agentbus.composition.app import make_bus
from agentbus.settings import load_settings

_PACKAGES: Final = ("agentbus", "faststream", "pydantic")
"""Beside those that every file of results names."""


async def versions(amqp_url: str, mongo_url: str) -> dict[str, str]:
    """Return what measuring on this broker and this store depends on."""
    async with make_bus(load_settings(amqp_url=amqp_url)) as bus:
        broker = await bus.info()
    with MongoClient[dict[str, object]](mongo_url) as client:
        store = str(client.server_info()["version"])
    return {"rabbitmq": broker.version, "mongodb": store} | {name: version(name) for name in _PACKAGES}
