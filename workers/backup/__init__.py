"""Backups: made of a running store, incremental or full, gone on with after whatever interrupted them."""

from agentbus.workers.backup.beginning import Wanted
from agentbus.workers.backup.making import BackedUp, Damaged, back_up

__all__ = ["BackedUp", "Damaged", "Wanted", "back_up"]
