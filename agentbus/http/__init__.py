"""The HTTP API: what people do with commands and programs with the library, for whoever speaks HTTP; and its client."""

from agentbus.contracts.extras import importing_extras

with importing_extras("http"):
    from agentbus.http.client import Client, ServerUnavailable

__all__ = ["Client", "ServerUnavailable"]
