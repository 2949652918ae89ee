"""A bus by its URL."""

from typing import Any
from urllib.parse import urlsplit

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.contracts.topology import Topology
from agentbus.contracts.urls import check_credentials
from agentbus.workers.bus.port import Bus


def open_bus(url: str, topology: Topology, **settings: Any) -> Bus:
    """Return the bus at `url`, not started yet; `settings` are those of `RabbitBus`, and nothing to `MemoryBus`.

    Raises ConfigurationError for a URL that names no bus, or whose extra is not installed.
    """
    check_credentials(url)
    try:
        parts = urlsplit(url)
        known = bool(parts.port or parts.hostname) or parts.scheme == "memory"
    except ValueError as error:
        raise ConfigurationError(f"the bus URL has a wrong part: {error}") from error
    match parts.scheme:
        # Each brings what takes long to import: nobody needs both.
        case "memory":
            from agentbus.workers.bus.memory import MemoryBus  # noqa: PLC0415 - see above

            return MemoryBus(topology)
        case "amqp" | "amqps" if known:
            with importing_extras():
                from agentbus.workers.bus.rabbit import RabbitBus  # noqa: PLC0415 - see above

            return RabbitBus(url, topology, **settings)
        case "amqp" | "amqps":
            raise ConfigurationError("the bus URL names no host: amqp://user:password@host:5672/virtual-host")
        case scheme:
            raise ConfigurationError(f"no bus for {scheme or 'a URL without a scheme'!r}: use amqp, amqps or memory")
