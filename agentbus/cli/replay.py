"""`agentbus replay` and `agentbus import`: a chat history, published as if it happened now; to try, or to keep."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentbus.cli import options
from agentbus.cli.connecting import Given, connecting
from agentbus.cli.export import import_exported
from agentbus.cli.output import as_line, err, print_fields, print_json
from agentbus.cli.running import EXIT_FAILED, settings_of
from agentbus.composition.app import App, connected
from agentbus.composition.running import embedded
from agentbus.contracts.errors import ConfigurationError
from agentbus.operations.replay.running import HistoryFormat, HistoryOptions, Report, replay_file, survey_file, told
from agentbus.operations.replay.running import Progress as Step
from agentbus.operations.restore import is_exported
from agentbus.settings import Settings

_OFFSET: Final = re.compile(r"([+-])(\d\d):?(\d\d)")
_SHOWN: Final = 10
"""Lines that were not understood that are shown; `--json` has them all."""


def _zone(name: str) -> tzinfo:
    """Read a time zone: a name as of the IANA database, or an offset from UTC."""
    if offset := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        if ahead < timedelta(days=1):
            return timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise typer.BadParameter(f"{name!r} is no time zone: such as Europe/Berlin, Asia/Kolkata, +05:30") from None


HistoryPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A chat history: a file, a zip or a folder.", exists=True, readable=True)
]
Format = Annotated[HistoryFormat, typer.Option("--format", help="What it is; auto looks at its content.")]
Zone = Annotated[
    tzinfo | None,
    typer.Option(
        parser=_zone,
        metavar="ZONE",
        help="The zone of times without one: Europe/Berlin, +05:30. [default: UTC, or where none is still to come]",
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option("--day-first/--month-first", help="Whether 01/02/19 is in February, where no date tells. (WhatsApp)"),
]
FirstDay = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="The day on which a log without dates begins. (IRC)"),
]
Chat = Annotated[
    str | None, typer.Option(metavar="ID", help="The chat's id, instead of its name. (WhatsApp, IRC, one of Telegram)")
]
Account = Annotated[
    str, typer.Option(metavar="ID", help="The account through which the messages are said to have come.")
]
Patience = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long to wait while nothing is committed.")]


@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def replay(
    file: HistoryPath,
    format: Format = HistoryFormat.AUTO,  # noqa: A002 - the option is called --format
    *,
    zone: Zone = None,
    day_first: DayFirst = None,
    first_day: FirstDay = None,
    chat: Chat = None,
    account: Account = "default",
    given: Given,
    patience: Patience = 30.0,
    as_json: options.AsJson = False,
) -> None:
    """Replay a chat history: publish its messages in order, wait for them, check what became of them.

    Without `--amqp` everything runs in this process (in-process bus; `--store` says where sessions are kept, by
    default a temporary SQLite file). With it, messages go to that broker, and the running session workers do the
    work; `--store` (or `--mongo`) is then where those workers keep sessions. Replaying a file again changes nothing.

    Tells what it took the history for, and which lines it did not understand. Exits with 1 if there is no message in
    it, or if anything was parked, lost, duplicated or reordered.
    """
    history = _options(zone, day_first, first_day, chat, account)
    with tempfile.TemporaryDirectory(prefix="agentbus-") as folder:
        if given["amqp_url"] is None and given["store_url"] is None:
            given["store_url"] = f"sqlite:///{folder}/replay.db"
        given["amqp_url"] = given["amqp_url"] or "memory://"
        await _replay(settings_of(quiet=True, **given), file, format, history, patience=patience, as_json=as_json)


@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def import_(
    file: HistoryPath,
    format: Format = HistoryFormat.AUTO,  # noqa: A002 - the option is called --format
    *,
    zone: Zone = None,
    day_first: DayFirst = None,
    first_day: FirstDay = None,
    chat: Chat = None,
    account: Account = "default",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read it and tell what is in it; import nothing.")] = False,
    given: Given,
    patience: Patience = 30.0,
    as_json: options.AsJson = False,
) -> None:
    """Import a chat history into the store: Telegram, Slack, WhatsApp, IRC, or JSON lines.

    Its messages become sessions, with their times, as if they came from the channel; importing one again, or another
    export of the same chat, adds what is new. `--store` says where sessions are kept. With a broker (`--amqp`) the
    running session workers on it do the work, and the store has to be theirs; without one this process does it.

    Tells what it took the history for, and which lines it did not understand. Exits with 1 if there is no message in
    it, or if anything was parked, lost, duplicated or reordered. `--dry-run` tells it beforehand.

    A session that `agentbus export` wrote comes back as it was; what is there of it already gets what it lacks.
    """
    history = _options(zone, day_first, first_day, chat, account)
    exported = format is HistoryFormat.AUTO and is_exported(file)
    if exported and dry_run:
        raise ConfigurationError(f"{file} is an exported session: without --dry-run it is brought back")
    if dry_run:
        _survey(file, format, history, as_json=as_json)
        return
    settings = settings_of(quiet=True, **given)
    if "store_url" not in settings.store.model_fields_set:
        raise ConfigurationError("into which store? Say it with --store URL, or AGENTBUS_STORE_URL; or --dry-run")
    if exported:
        await import_exported(settings, file, as_json=as_json)
        return
    if "amqp_url" not in settings.bus.model_fields_set:
        settings = settings_of(quiet=True, **{**given, "amqp_url": "memory://"})
    await _replay(settings, file, format, history, patience=patience, as_json=as_json)


def _options(
    zone: tzinfo | None, day_first: bool | None, first_day: datetime | None, chat: str | None, account: str
) -> HistoryOptions:
    day = first_day.date() if first_day else None
    return HistoryOptions(account=account, chat=chat, day_first=day_first, first_day=day, zone=zone)


async def _replay(
    settings: Settings, file: Path, kind: HistoryFormat, history: HistoryOptions, *, patience: float, as_json: bool
) -> None:
    async with _app(settings) as app:
        with _bar(file) as show:
            report = await replay_file(app, file, kind, history, patience=patience, on_progress=show)
    _print(report.as_dict(), as_json=as_json)
    if not report.sound:
        _warn_of(report)
        raise typer.Exit(EXIT_FAILED)


def _survey(file: Path, kind: HistoryFormat, history: HistoryOptions, *, as_json: bool) -> None:
    with _bar(file) as show:
        found, reading = survey_file(file, kind, history, on_progress=lambda read: show(Step(read, 0)))
    _print(told(found, reading), as_json=as_json)


def _app(settings: Settings) -> AbstractAsyncContextManager[App]:
    return embedded(settings) if settings.bus.amqp_url.startswith("memory:") else connected(settings)


@contextmanager
def _bar(file: Path) -> Iterator[Callable[[Step], None]]:
    """Show a bar, and yield what moves it."""
    columns = (TextColumn("{task.fields[name]}"), BarColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as bar:
        task = bar.add_task("read", total=None, name=escape(file.absolute().name))

        def show(step: Step) -> None:
            bar.update(task, description="committed" if step.done else "read", total=step.published)
            bar.update(task, completed=step.done or step.published)

        yield show


def _print(fields: dict[str, Any], *, as_json: bool) -> None:
    """Print a report; to people, what was guessed and not understood in lines of its own."""
    if as_json:
        print_json(fields)
        return
    remarks, missed = fields.pop("remarks"), fields.pop("not_understood")
    fields.pop("causes", None)
    print_fields(fields)
    for remark in remarks:
        _warn(remark)
    for one in missed[:_SHOWN]:
        _warn(f"not understood: {one['where']}: {one['problem']}")
    if len(missed) > _SHOWN:
        _warn(f"and {fields['lines_not_understood'] - _SHOWN} more: --json lists them")


def _warn_of(report: Report) -> None:
    for cause in report.outcome.causes:
        _warn(f"{cause.inputs} parked as {cause.code}: {cause.reason} See: agentbus parked list")


def _warn(text: str) -> None:
    err.print(f"[yellow]warning[/] {escape(as_line(text))}", soft_wrap=True, emoji=False)
