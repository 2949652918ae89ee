"""The bus on RabbitMQ: 3.10 to 4.x, as it ships, with no plugin."""

from agentbus.workers.bus.rabbit.bus import RabbitBus

__all__ = ["RabbitBus"]
