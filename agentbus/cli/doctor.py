"""`agentbus doctor`: is everything there that AgentBus needs."""

from typing import Final

import typer
from rich.markup import escape

from agentbus.cli import options
from agentbus.cli.output import out, print_json
from agentbus.cli.running import EXIT_FAILED, run, settings_of
from agentbus.doctor import Finding, Health, examine
from agentbus.settings import Settings

_MARKS: Final = {Health.OK: "[green]ok[/]     ", Health.WARNING: "[yellow]warning[/]", Health.FAILED: "[red]failed[/] "}


def doctor(
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = 5.0,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Check broker, store, installation, workers and clocks, and say what to do. Exits with 1 on a failure."""
    settings = settings_of(
        amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait, quiet=True
    )
    run(_doctor(settings, as_json=as_json))


async def _doctor(settings: Settings, *, as_json: bool) -> None:
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
