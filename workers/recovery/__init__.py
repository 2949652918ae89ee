"""Restoring backups: what each session would become, and how it comes into a store that is in use, or is not."""

from agentbus.workers.recovery.options import Difference, RecoveryOptions
from agentbus.workers.recovery.receipts import Erasures
from agentbus.workers.recovery.running import Target, look, restore

__all__ = ["Difference", "Erasures", "RecoveryOptions", "Target", "look", "restore"]
