"""Backups of many sessions while messages come in, killed on the way, and held to the store: `make backups`."""
