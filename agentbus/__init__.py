"""AgentBus: the session backbone behind chat systems."""

from agentbus.own_packages import ForeignPackage, refuse_foreign_packages

# Before anything that imports one of them.
refuse_foreign_packages()

__all__ = ["ForeignPackage"]
