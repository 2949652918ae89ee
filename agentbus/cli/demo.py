"""`agentbus demo`: see it work, within a minute, with nothing installed."""

import tempfile
from time import perf_counter
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from agentbus.cli import options
from agentbus.cli.connecting import Given, connecting
from agentbus.cli.output import err, out, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED, settings_of
from agentbus.demo.script import Result, Show, perform
from agentbus.settings import Settings


@connecting("store")
async def demo(
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="How often everyone says their lines.")] = 50,
    *,
    given: Given,
    as_json: options.AsJson = False,
) -> None:
    """Run a whole AgentBus in this process, and check the result.

    Several channels, a reset, a repeat, a bad message; a bot that answers on web chat, as it writes, and on Telegram,
    played by a fake; one person on two channels, linked by a claim code, with a conflict resolved; a session that is
    warned, expires, is archived and restored.

    In-process bus, session worker and router; sessions are kept in a temporary SQLite file, or in `--store`.
    """
    with tempfile.TemporaryDirectory(prefix="agentbus-demo-") as folder:
        settings = settings_of(
            amqp_url="memory://",
            store_url=given["store_url"] or f"sqlite:///{folder}/demo.db",
            partitions=8,
            quiet=True,
            archive_url=f"file://{folder}/archive",
        )
        await _demo(settings, rounds, as_json=as_json)


async def _demo(settings: Settings, rounds: int, *, as_json: bool) -> None:
    begun = perf_counter()
    columns = (
        TextColumn("  committed and announced"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("", total=None)
        show = Show(
            say=lambda text: bar.console.print(f"[green]•[/] {text}"),
            expect=lambda total: bar.update(task, total=total + 7),
            progress=lambda done: bar.update(task, completed=done),
        )
        result = await perform(settings, show, rounds=rounds)
    _print(result, perf_counter() - begun, as_json=as_json)


def _print(result: Result, seconds: float, *, as_json: bool) -> None:
    outcome = result.outcome
    rows = [
        {
            "platform": session.address.platform if session.address else None,
            "chat": session.address.chat if session.address else None,
            "user": session.address.user if session.address else None,
            "session": session.session_id,
            "status": session.status,
            "messages": session.message_count,
        }
        for session in result.sessions
    ]
    if as_json:
        counts = {"published": result.published, "committed": outcome.committed, "parked": outcome.parked}
        checks = {"lost": outcome.lost, "duplicated": outcome.duplicated, "reordered": outcome.reordered}
        print_json(counts | checks | {"seconds": round(seconds, 3), "sessions": rows})
    else:
        print_rows(rows, ("session", "platform", "chat", "user", "status", "messages"), as_json=False, empty="")
        out.print(
            f"\npublished {result.published}, committed {outcome.committed}, parked {outcome.parked}, "
            f"events {outcome.events}, in {seconds:.1f} s"
        )
        out.print(f"lost {outcome.lost}, duplicated {outcome.duplicated}, reordered {outcome.reordered}")
    if outcome.lost or outcome.duplicated or outcome.reordered:
        raise typer.Exit(EXIT_FAILED)
