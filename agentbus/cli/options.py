"""Options that several commands share. What is not given comes from the environment (`AGENTBUS_...`)."""

from pathlib import Path
from typing import Annotated

import typer

from agentbus.cli.output import Format, asked_format
from agentbus.contracts.address import Platform, Scope, is_platform


def platform_of(word: str) -> Platform:
    """Read a platform's name."""
    if not is_platform(word):
        raise typer.BadParameter(f"{word!r} names no platform: one of {', '.join(Platform)}, or another such word")
    return Platform(word)


_SAFER = "A password in it shows in the list of processes: set {0}, or {0}_FILE to a file that holds it."


def text_in(file: Path) -> str:
    """Return what a text file says. Raises typer.BadParameter for one that is not UTF-8."""
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not UTF-8: byte {error.start} can't be read") from None


def _remember(asked: Format | None) -> Format | None:
    asked_format.set(asked)
    return asked


def _as_json(asked: bool) -> bool:
    return asked or asked_format.get() is Format.JSON


Amqp = Annotated[
    str | None,
    typer.Option(
        "--amqp", metavar="URL", help=f"The broker, amqp://user:password@host/. {_SAFER.format('AGENTBUS_AMQP_URL')}"
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        "--mongo",
        metavar="URL",
        help="The store: mongodb://host/database, sqlite:///file.db or file:///folder. "
        + _SAFER.format("AGENTBUS_STORE_URL"),
    ),
]
ArchiveUrl = Annotated[
    str | None,
    typer.Option(
        "--archive",
        metavar="URL",
        help=f"The archive: file:///folder or another fsspec URL. {_SAFER.format('AGENTBUS_ARCHIVE_URL')}",
    ),
]
BackupUrl = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URL",
        help=f"The place of the backups: file:///folder or another fsspec URL. {_SAFER.format('AGENTBUS_BACKUP_URL')}",
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(metavar="WORD", help="First word of all queue names. [env: AGENTBUS_PREFIX]"),
]
Partitions = Annotated[
    int | None,
    typer.Option(metavar="N", help="Partition queues, the same for everyone. [env: AGENTBUS_PARTITIONS]"),
]
ScopePolicy = Annotated[
    Scope | None,
    typer.Option("--scope", help="Which messages form one conversation. [env: AGENTBUS_SCOPE]"),
]
AsJson = Annotated[
    bool, typer.Option("--json", callback=_as_json, help="Print JSON instead of a table: the same as -o json.")
]
Output = Annotated[
    Format | None,
    typer.Option(
        "--output",
        "-o",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="wide: aligned, nothing shortened; json. [default: fits a terminal; tab-separated lines in a pipe]",
    ),
]
"""Beside `AsJson`, which it answers for too: a command takes no notice of it."""

Limit = Annotated[int, typer.Option(min=1, max=1000, help="Rows on a page.")]
Cursor = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where the page before ended.")]
Wait = Annotated[
    float | None,
    typer.Option("--wait", min=0.1, metavar="SECONDS", help="How long to wait for a broker or store that is down."),
]
