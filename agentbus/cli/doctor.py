"""`agentbus doctor`: is everything there that AgentBus needs."""

from typing import Final

import typer
from rich.markup import escape

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_json
from agentbus.cli.running import EXIT_FAILED
from agentbus.operations.doctor import Finding, Health, examine
from agentbus.settings import Settings

_MARKS: Final = {Health.OK: "[green]ok[/]     ", Health.WARNING: "[yellow]warning[/]", Health.FAILED: "[red]failed[/] "}


@connecting("amqp", "store", "prefix", "partitions", "scope", "wait", wait=5.0, quiet=True)
async def doctor(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Check broker, store, installation, workers and clocks, and say what to do. Exits with 1 on a failure."""
    findings: list[Finding] = []
    async for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        fields = ("check", "health", "found", "advice")
        print_json([{field: getattr(finding, field) for field in fields} for finding in findings])
    if any(finding.health is Health.FAILED for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _show(finding: Finding) -> None:
    out.print(f"{_MARKS[finding.health]} [bold]{finding.check:<12}[/] {escape(finding.found)}", soft_wrap=True)
    if finding.advice:
        out.print(f"{'':8}{'':12} [dim]{escape(finding.advice)}[/]", soft_wrap=True)
