"""`agentbus expiry`: the rules by which sessions end, a look at what is due, and what was done."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import connected, make_store
from agentbus.contracts.expiry import ExpiryRule
from agentbus.operations.expiry import (
    OUTCOMES,
    Finding,
    SweepOutcome,
    add_rules,
    enable_rule,
    list_rules,
    parsed_rules,
    remove_rule,
    rule_statistics,
    sweep,
)
from agentbus.settings import Settings

app = typer.Typer(
    help="Sessions that end by rules: the rules, what is due, what was done.\n\n"
    "A worker does it all the time: agentbus worker expiry.",
    no_args_is_help=True,
)
rules_app = typer.Typer(help="The rules by which sessions end.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")

RuleArgument = Annotated[str, typer.Argument(metavar="RULE_ID", help="As `agentbus expiry rules list` shows it.")]


@rules_app.command("list")
@connecting("store", "wait")
async def list_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List the rules, the highest priority first."""
    async with make_store(settings) as store:
        rules = await list_rules(store)
    rows = [rule.model_dump(mode="json") if as_json else _row(rule) for rule in rules]
    columns = ("rule_id", "name", "strategy", "conditions", "actions", "warn_before", "priority", "enabled")
    print_rows(
        rows,
        columns,
        as_json=as_json,
        empty="No rules. Add some: agentbus expiry rules add FILE",
        shorten=("conditions", "actions"),
    )


@rules_app.command("add")
@connecting("store", "wait")
async def add(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Rules in TOML or JSON (.json).")
    ],
    *,
    settings: Settings,
) -> None:
    """Add the rules of a file, each in place of the one of the same id. All are checked before any is added."""
    rules = parsed_rules(options.text_in(file), "json" if file.suffix == ".json" else "toml")
    async with make_store(settings) as store:
        await add_rules(store, rules)
    out.print(f"{len(rules)} rules added: {', '.join(rule.rule_id for rule in rules)}", markup=False)


@rules_app.command("remove")
@connecting("store", "wait")
async def remove(rule_id: RuleArgument, *, settings: Settings) -> None:
    """Take a rule away. What it did to sessions stays done."""
    async with make_store(settings) as store:
        await remove_rule(store, rule_id)
    out.print(f"{rule_id} removed", markup=False)


@rules_app.command("enable")
@connecting("store", "wait")
async def enable(rule_id: RuleArgument, *, settings: Settings) -> None:
    """Switch a rule on."""
    async with make_store(settings) as store:
        await enable_rule(store, rule_id)
    out.print(f"{rule_id} enabled", markup=False)


@rules_app.command("disable")
@connecting("store", "wait")
async def disable(rule_id: RuleArgument, *, settings: Settings) -> None:
    """Switch a rule off; it stays in the list."""
    async with make_store(settings) as store:
        await enable_rule(store, rule_id, enabled=False)
    out.print(f"{rule_id} disabled", markup=False)


@app.command("run")
@connecting("archive", "amqp", "store", "prefix", "partitions", "wait")
async def run_(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Look at all sessions once and do what is due; say what came of it for each. Exits with 1 if something failed.

    Session workers must run, unless it is a dry run. A condition of one's own is known to expiry workers alone.
    """
    findings: list[Finding] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    async with connected(settings) as app:
        with ProgressBar(*columns, console=err, transient=True) as bar:
            task = bar.add_task("0 sessions looked at")
            async for found in sweep(app, dry_run=dry_run):
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    bar.update(task, description=f"{found.looked_at} sessions looked at, {len(findings)} things due")
    rows: list[dict[str, Any]] = [
        {"session_id": one.session_id, "rule": one.rule_id, "step": one.step, "action": one.action}
        | {"outcome": one.came.value, "reason": one.reason}
        for one in findings
    ]
    shown = ("session_id", "rule", "step", "action", "outcome", "reason")
    print_rows(rows, shown, as_json=as_json, empty="Nothing is due.", shorten=("reason",))
    if any(one.came is SweepOutcome.FAILED for one in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command("stats")
@connecting("store", "wait")
async def stats(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Show how often each rule did what, since it was first there."""
    async with make_store(settings) as store:
        statistics = await rule_statistics(store)
    if as_json:
        print_json({"rules": statistics.rules, "total": statistics.total})
        return
    rows: list[dict[str, Any]] = [{"rule": rule} | counts for rule, counts in statistics.rules.items()]
    print_rows(rows, ("rule", *OUTCOMES), as_json=False, empty="No rule did anything yet.")


def _row(rule: ExpiryRule) -> dict[str, Any]:
    steps = [f"{step.action} after {step.after:g} s" if step.after else step.action.value for step in rule.actions]
    conditions = rule.conditions.model_dump(mode="json", exclude_defaults=True)
    shown = rule.model_dump(mode="json", include={"rule_id", "name", "strategy", "warn_before", "priority", "enabled"})
    return shown | {"conditions": conditions, "actions": ", then ".join(steps)}
