"""The command line as a tree of commands."""

from typing import cast

import typer
from typer.core import TyperGroup

from agentbus.cli.app import Commands, app


def whole_command_line() -> TyperGroup:
    """Return it with every command imported: by itself it imports one when it is called."""
    group = cast("TyperGroup", typer.main.get_command(app))
    group.commands = {name: where.load(name) for name, where in Commands.places.items()}
    return group
