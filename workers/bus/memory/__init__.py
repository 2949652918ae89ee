"""The bus inside one process, with RabbitMQ's meaning of order, acknowledgement, redelivery and parking."""

from agentbus.workers.bus.memory.bus import MemoryBus

__all__ = ["MemoryBus"]
