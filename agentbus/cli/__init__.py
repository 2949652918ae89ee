"""The command line: `agentbus --help`."""

from agentbus.cli.app import app, main

__all__ = ["app", "main"]
