"""`agentbus store`: what is kept, held to itself."""

from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, print_rows
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import make_store
from agentbus.operations.store_check import Finding, check_store
from agentbus.settings import Settings

app = typer.Typer(help="Look after the store.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look after the store."""


@app.command("check")
@connecting("store", "wait", quiet=True)
async def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild damaged, missing and wrong heads from their logs; nothing else.")
    ] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Read every conversation's log, and hold the sessions' heads to it. Exits with 1 if anything is wrong in the end.

    Workers may go on meanwhile; one that has loaded a wrong head must be restarted after it was repaired. What was
    archived or erased is not brought back: where events have left a log, its heads are left as they are.
    """
    findings: list[Finding] = []
    looked_at = 0
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    async with make_store(settings) as store:
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("", total=None)
            async for one in check_store(store, repair=repair):
                if isinstance(one, Finding):
                    findings.append(one)
                else:
                    looked_at = one.conversations
                bar.update(task, description=f"conversations read: {looked_at}, findings: {len(findings)}")
    print_rows(
        [_row(finding) for finding in findings],
        ("subject", "problem", "version", "found", "advice"),
        as_json=as_json,
        empty=f"Nothing is wrong with {looked_at} conversations.",
        shorten=("found", "advice"),
    )
    if not all(finding.repaired for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "subject": finding.session_id or finding.conversation_id,
        "conversation_id": finding.conversation_id,
        "session_id": finding.session_id,
        "problem": finding.problem,
        "version": finding.version,
        "found": finding.found,
        "advice": "repaired" if finding.repaired else finding.advice,
        "repaired": finding.repaired,
    }
