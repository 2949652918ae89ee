"""How a program that tries AgentBus runs: what it is asked for, what it says meanwhile, and how it ends.

Progress goes to standard error; tables go to standard output, and figures in one JSON object as its last line.
"""

import json
import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from rich.console import Console

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.harness.processes import exit_on_sigterm

Something = TypeVar("Something")

_WIDTH: Final = 150
_LONGEST: Final = 100


def run(main: Callable[[], int]) -> NoReturn:
    """Run a program's `main` and exit with what it returns; SIGTERM ends it with what it started."""
    exit_on_sigterm()
    sys.exit(main())


def parser(name: str, about: str | None, *, quick: str | None = None, seed: str | None = None) -> ArgumentParser:
    """Return the parser of `python -m tests.NAME`; `quick` and `seed` say what these do, if it takes them."""
    made = ArgumentParser(prog=f"python -m tests.{name}", description=about)
    if quick:
        made.add_argument("--quick", action="store_true", help=quick)
    if seed:
        made.add_argument("--seed", type=int, default=1, help=f"{seed} (%(default)s)")
    return made


def some_of(known: Mapping[str, Something]) -> Callable[[str], list[Something]]:
    """Return the type of an argument that names some of what is known, with commas between them."""

    def named(names: str) -> list[Something]:
        try:
            return [known[name] for name in names.split(",")]
        except KeyError as error:
            raise ArgumentTypeError(f"there is no {error}; there are {', '.join(known)}") from None

    return named


def at_least_one(text: str) -> int:
    """Return a number of times, as an argument's type."""
    if (number := int(text)) < 1:
        raise ArgumentTypeError("at least 1")
    return number


def part_of(names: Iterable[str], whole: str, *, quick: bool = False) -> str:
    """Return what the results of a run are filed under: what was asked for by name, or that it was the whole."""
    part = "-".join(names)[:_LONGEST] or whole
    return f"{part}-quick" if quick else part


def quieten() -> None:
    """Keep our own clients' complaints about what we do to them out of what is said."""
    configure_logs(LogSettings(log_level="error"))
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)


def say(words: str) -> None:
    """Say how far it is."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(words, markup=False)


def screen(*, stderr: bool = False) -> Console:
    """Return where tables go."""
    return Console(stderr=stderr, width=None if sys.stdout.isatty() else _WIDTH)


def tell(figures: Mapping[str, Any]) -> None:
    """Print figures for programs: the last line."""
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()
