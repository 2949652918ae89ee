"""AgentBus: the session backbone behind chat systems.

What a publisher, a subscriber or a bot needs is imported from here; the session library is `agentbus.sessions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from agentbus.own_packages import ForeignPackage, refuse_foreign_packages

# Before anything that imports one of them.
refuse_foreign_packages()

if TYPE_CHECKING:
    from agentbus.client import AgentBus, Receipt, SyncAgentBus, connect, connect_sync
    from agentbus.received import ReceivedEvent
    from contracts.address import Address, Platform, Scope
    from contracts.commands import CommandReply
    from contracts.envelope import EventEnvelope
    from contracts.errors import (
        AccessDenied,
        AgentBusError,
        BrokerBlocked,
        BrokerRejected,
        BrokerUnavailable,
        BusError,
        ConfigurationError,
        InvalidInput,
        PublishUnconfirmed,
        Refused,
        Reject,
        ReplyTimeout,
        SchemaViolation,
        SessionNotFound,
        TopologyMismatch,
        Unroutable,
    )
    from contracts.events import MessageAppended
    from contracts.messages import CommandContent, InboundMessage, OutboundMessage, Role, TextContent

__all__ = [
    "AgentBus", "Receipt", "SyncAgentBus", "connect", "connect_sync",
    "Address", "Platform", "Scope",
    "CommandContent", "InboundMessage", "OutboundMessage", "Role", "TextContent",
    "CommandReply", "EventEnvelope", "MessageAppended", "ReceivedEvent",
    "AccessDenied", "AgentBusError", "BrokerBlocked", "BrokerRejected", "BrokerUnavailable", "BusError",
    "ConfigurationError", "ForeignPackage", "InvalidInput", "PublishUnconfirmed", "Refused", "Reject", "ReplyTimeout",
    "SchemaViolation", "SessionNotFound", "TopologyMismatch", "Unroutable",
]  # fmt: skip

_MODULES: Final = {
    "agentbus.client": ("AgentBus", "Receipt", "SyncAgentBus", "connect", "connect_sync"),
    "agentbus.received": ("ReceivedEvent",),
    "contracts.address": ("Address", "Platform", "Scope"),
    "contracts.commands": ("CommandReply",),
    "contracts.envelope": ("EventEnvelope",),
    "contracts.events": ("MessageAppended",),
    "contracts.messages": ("CommandContent", "InboundMessage", "OutboundMessage", "Role", "TextContent"),
}
"""Where the names come from that are imported when they are first asked for; those left are errors."""


if not TYPE_CHECKING:  # so that a type checker finds a name that is not there

    def __getattr__(name: str) -> Any:
        """Import what is asked for: `import agentbus` alone stays quick."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = next((module for module, names in _MODULES.items() if name in names), "contracts.errors")
        found = getattr(import_module(module), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """Return what is public."""
    return sorted({*globals(), *__all__})
