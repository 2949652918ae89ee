"""The HTTP API: what people do with commands and programs with the library, for whoever speaks HTTP; and its client."""

from agentbus.contracts.extras import importing_extras

with importing_extras("http"):
    from agentbus.http.client import Client, Followed, ServerUnavailable
    from agentbus.workers.following.tail import PlaceGone

__all__ = ["Client", "Followed", "PlaceGone", "ServerUnavailable"]
