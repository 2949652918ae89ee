"""Commands that are imported when they are called: a list of them all costs nothing but their names."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any, ClassVar, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

MARKUP: Final = "markdown"
"""How help texts are written."""


@dataclass(frozen=True, slots=True)
class CommandAt:
    """Where a command is, and the first line of its help: a test holds it to what the command itself says."""

    module: str
    help: str
    settings: Mapping[str, Any] | None = None
    """Of a command that is a function of its name, what `Typer.command` is given; its help may be the module's `HELP`.
    None for a group of commands, the module's `app`."""
    function: str | None = None
    """The function's name, where the command's can't be one."""

    def load(self, name: str) -> TyperCommand | TyperGroup:
        """Import the command."""
        module = import_module(self.module)
        only = typer.Typer(rich_markup_mode=MARKUP, callback=lambda: None)
        if self.settings is None:
            only.add_typer(module.app, name=name)
        else:
            only.command(name, help=getattr(module, "HELP", None), **self.settings)(
                getattr(module, self.function or name)
            )
        group = cast("TyperGroup", typer.main.get_command(only))
        return cast("TyperCommand | TyperGroup", group.commands[name])


class _Later(TyperCommand):
    """Stands for a command until it is called."""

    def __init__(self, name: str, where: CommandAt) -> None:
        super().__init__(name, help=where.help, rich_markup_mode=MARKUP)
        self._load = partial(where.load, name)

    @cached_property
    def command(self) -> TyperCommand | TyperGroup:
        """The command itself."""
        return self._load()

    def make_context(self, *given: Any, **more: Any) -> Any:
        """Return the context of the command itself, with which it is run, helped and completed."""
        return self.command.make_context(*given, **more)


class LazyGroup(TyperGroup):
    """A group that knows where its commands are. Subclasses say it."""

    places: ClassVar[Mapping[str, CommandAt]]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: _Later(name, where) for name, where in self.places.items()}
