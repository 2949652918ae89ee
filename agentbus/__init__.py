"""AgentBus: the session backbone behind chat systems.

What a publisher, a subscriber or a bot needs is imported from here; the session library is `agentbus.sessions`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agentbus.client import AgentBus, Receipt, SyncAgentBus, connect, connect_sync
    from agentbus.contracts.address import Address, Platform, Scope
    from agentbus.contracts.commands import CommandReply
    from agentbus.contracts.envelope import EventEnvelope
    from agentbus.contracts.errors import (
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
    from agentbus.contracts.events import MessageAppended
    from agentbus.contracts.messages import (
        ButtonContent,
        CommandContent,
        InboundMessage,
        MembershipContent,
        OutboundMessage,
        Role,
        TextContent,
        UnsupportedContent,
    )
    from agentbus.received import ReceivedEvent, ReceivedMessage

__all__ = [
    "AgentBus", "Receipt", "SyncAgentBus", "connect", "connect_sync",
    "Address", "Platform", "Scope",
    "ButtonContent", "CommandContent", "MembershipContent", "TextContent", "UnsupportedContent",
    "InboundMessage", "OutboundMessage", "Role",
    "CommandReply", "EventEnvelope", "MessageAppended", "ReceivedEvent", "ReceivedMessage",
    "AccessDenied", "AgentBusError", "BrokerBlocked", "BrokerRejected", "BrokerUnavailable", "BusError",
    "ConfigurationError", "InvalidInput", "PublishUnconfirmed", "Refused", "Reject", "ReplyTimeout", "SchemaViolation",
    "SessionNotFound", "TopologyMismatch", "Unroutable",
]  # fmt: skip

_MODULES: Final = {
    "agentbus.client": ("AgentBus", "Receipt", "SyncAgentBus", "connect", "connect_sync"),
    "agentbus.received": ("ReceivedEvent", "ReceivedMessage"),
    "agentbus.contracts.address": ("Address", "Platform", "Scope"),
    "agentbus.contracts.commands": ("CommandReply",),
    "agentbus.contracts.envelope": ("EventEnvelope",),
    "agentbus.contracts.events": ("MessageAppended",),
    "agentbus.contracts.messages": (
        "ButtonContent",
        "CommandContent",
        "InboundMessage",
        "MembershipContent",
        "OutboundMessage",
        "Role",
        "TextContent",
        "UnsupportedContent",
    ),
}
"""Where the names come from that are imported when they are first asked for; those left are errors."""


if not TYPE_CHECKING:  # so that a type checker finds a name that is not there

    def __getattr__(name: str) -> Any:
        """Import what is asked for: `import agentbus` alone stays quick."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = next((module for module, names in _MODULES.items() if name in names), "agentbus.contracts.errors")
        found = getattr(import_module(module), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """Return what is public."""
    return sorted({*globals(), *__all__})
