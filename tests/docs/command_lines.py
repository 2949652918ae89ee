"""Command lines as documents show them, held against the commands that there are; nothing is run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.harness.cli import whole_command_line

_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OPERATORS: Final = frozenset({"&&", "||", "|", ";", "&"})


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command with the variables that are set for it."""

    words: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def agentbus(self) -> list[str] | None:
        """The arguments, if it is the `agentbus` command."""
        if self.words and Path(self.words[0]).name == "agentbus":
            return list(self.words[1:])
        if self.words[1:3] == ("-m", "agentbus"):
            return list(self.words[3:])
        return None

    def __str__(self) -> str:
        return shlex.join(self.words)


def command_lines(text: str) -> Iterator[CommandLine]:
    """Yield the commands of a shell session. Where lines begin with `$ `, the others are output, but for exports."""
    text = text.replace("\\\n", " ")
    session = any(line.startswith("$ ") for line in text.splitlines())
    for line in text.splitlines():
        if session and not line.startswith(("$ ", "export ")):
            continue
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        yield from _split(list(lexer))


def _split(words: list[str]) -> Iterator[CommandLine]:
    """Yield what stands between operators, redirections left out, variables taken apart."""
    current: list[str] = []
    for word in [*words, ";"]:
        if word not in _OPERATORS:
            current.append(word)
            continue
        if current:
            yield _with_variables(current)
        current = []


def _with_variables(words: list[str]) -> CommandLine:
    variables: dict[str, str] = {}
    if words[0] == "export":
        words = words[1:]
    while words and (assignment := _ASSIGNMENT.fullmatch(words[0])):
        variables[assignment[1]] = assignment[2]
        words = words[1:]
    return CommandLine(tuple(words), variables)


def check_agentbus(arguments: list[str], folder: Path) -> None:
    """Let the command line parse `arguments`: commands, options, values; raises what it would tell its user.

    Files that are named by relative paths are made in `folder`, the working directory, so that they exist.
    """
    for word in arguments:
        if not word.startswith(("-", "/")) and "://" not in word:
            (folder / word).parent.mkdir(parents=True, exist_ok=True)
            (folder / word).touch()
    command = whole_command_line()
    _disarm(command)
    command.main(arguments, prog_name="agentbus", standalone_mode=False)


def _disarm(command: Any) -> None:
    """Keep a command and all below it from doing anything."""
    command.callback = lambda **_: None
    for below in getattr(command, "commands", {}).values():
        _disarm(below)
