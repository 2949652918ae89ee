"""On what it was measured."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from pymongo import MongoClient

from agentbus.composition.app import make_bus
from agentbus.settings import load_settings
from tests.benchmarks.usage import memory_bytes

_PACKAGES = ("agentbus", "aio-pika", "aiormq", "faststream", "motor", "pymongo", "pydantic")


def machine() -> dict[str, str | int | float]:
    """Describe the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


async def versions(amqp_url: str, mongo_url: str) -> dict[str, str]:
    """Return the versions of all that took part."""
    async with make_bus(load_settings(amqp_url=amqp_url)) as bus:
        broker = await bus.info()
    with MongoClient[dict[str, object]](mongo_url) as client:
        store = str(client.server_info()["version"])
    packages = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "rabbitmq": broker.version, "mongodb": store} | packages


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
