"""`agentbus replay`: a chat history, published as if it happened now."""

import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agentbus.cli import options
from agentbus.cli.connecting import Given, connecting
from agentbus.cli.output import err, print_fields, print_json
from agentbus.cli.running import EXIT_FAILED, settings_of
from agentbus.composition.app import App, connected
from agentbus.composition.running import embedded
from agentbus.operations.replay.running import HistoryFormat, Report, replay_file
from agentbus.operations.replay.running import Progress as Step
from agentbus.settings import Settings


@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def replay(
    file: Annotated[Path, typer.Argument(help="A chat history: see --format.", exists=True, readable=True)],
    format: Annotated[  # noqa: A002 - the option is called --format
        HistoryFormat, typer.Option("--format", help="What the file is; auto looks at its content.")
    ] = HistoryFormat.AUTO,
    *,
    given: Given,
    patience: Annotated[float, typer.Option(min=1, help="Seconds without progress after which to give up.")] = 30.0,
    as_json: options.AsJson = False,
) -> None:
    """Replay a chat history: publish its messages in order, wait for them, check what became of them.

    Without `--amqp` everything runs in this process (in-process bus; `--store` says where sessions are kept, by
    default a temporary SQLite file). With it, messages go to that broker, and the running session workers do the
    work; `--store` (or `--mongo`) is then where those workers keep sessions. Replaying a file again changes nothing.

    Exits with 1 if anything was lost, duplicated or reordered.
    """
    with tempfile.TemporaryDirectory(prefix="agentbus-") as folder:
        if given["amqp_url"] is None and given["store_url"] is None:
            given["store_url"] = f"sqlite:///{folder}/replay.db"
        given["amqp_url"] = given["amqp_url"] or "memory://"
        settings = settings_of(quiet=True, **given)
        async with _app(settings) as app:
            with _bar(file) as bar:
                task = bar.add_task("published", total=None)

                def show(step: Step) -> None:
                    bar.update(task, description="committed" if step.done else "published", total=step.published)
                    bar.update(task, completed=step.done or step.published)

                report = await replay_file(app, file, format, patience=patience, on_progress=show)
    _print(report, as_json=as_json)


def _app(settings: Settings) -> AbstractAsyncContextManager[App]:
    return embedded(settings) if settings.bus.amqp_url.startswith("memory:") else connected(settings)


def _bar(file: Path) -> Progress:
    return Progress(
        TextColumn(file.name),
        BarColumn(),
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )


def _print(report: Report, *, as_json: bool) -> None:
    fields = report.as_dict()
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
    if report.outcome.lost or report.outcome.duplicated or report.outcome.reordered:
        raise typer.Exit(EXIT_FAILED)
