"""`agentbus expiry`: the rules by which sessions end, a look at what is due, and what was done."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.output import err, out, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED, run, settings_of
from agentbus.composition.app import connected, make_clock, make_store
from agentbus.composition.workers import make_sweep
from agentbus.settings import Settings
from contracts.errors import ConfigurationError
from contracts.expiry import ExpiryRule
from workers.domain.expiry import parsed_rules
from workers.expiry.rules import ExpiryRules
from workers.expiry.statistics import Outcome, StatisticsRecorder
from workers.expiry.sweep import Finding, SweepOutcome

app = typer.Typer(
    help="Sessions that end by rules: the rules, what is due, what was done.\n\n"
    "A worker does it all the time: agentbus worker expiry.",
    no_args_is_help=True,
)
rules_app = typer.Typer(help="The rules by which sessions end.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")

RuleArgument = Annotated[str, typer.Argument(metavar="RULE_ID", help="As `agentbus expiry rules list` shows it.")]


@rules_app.command("list")
def list_(
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """List the rules, the highest priority first."""
    run(_list(settings_of(store_url=store, wait=wait), as_json=as_json))


@rules_app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Rules in TOML or JSON (.json).")
    ],
    store: options.StoreUrl = None,
    wait: options.Wait = None,
) -> None:
    """Add the rules of a file, each in place of the one of the same id. All are checked before any is added."""
    form = "json" if file.suffix == ".json" else "toml"
    run(_add(settings_of(store_url=store, wait=wait), file.read_text("utf-8"), form))


@rules_app.command("remove")
def remove(rule_id: RuleArgument, store: options.StoreUrl = None, wait: options.Wait = None) -> None:
    """Take a rule away. What it did to sessions stays done."""
    run(_remove(settings_of(store_url=store, wait=wait), rule_id))


@rules_app.command("enable")
def enable(rule_id: RuleArgument, store: options.StoreUrl = None, wait: options.Wait = None) -> None:
    """Switch a rule on."""
    run(_enable(settings_of(store_url=store, wait=wait), rule_id, enabled=True))


@rules_app.command("disable")
def disable(rule_id: RuleArgument, store: options.StoreUrl = None, wait: options.Wait = None) -> None:
    """Switch a rule off; it stays in the list."""
    run(_enable(settings_of(store_url=store, wait=wait), rule_id, enabled=False))


@app.command("run")
def run_(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    archive: options.ArchiveUrl = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Look at all sessions once and do what is due; say what came of it for each. Exits with 1 if something failed.

    Session workers must run, unless it is a dry run. A condition of one's own is known to expiry workers alone.
    """
    settings = settings_of(
        archive_url=archive, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait
    )
    run(_run(settings, dry_run=dry_run, as_json=as_json))


@app.command("stats")
def stats(
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show how often each rule did what, since it was first there."""
    run(_stats(settings_of(store_url=store, wait=wait), as_json=as_json))


async def _list(settings: Settings, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        rules = await ExpiryRules(store, make_clock()).list()
    rows = [rule.model_dump(mode="json") if as_json else _row(rule) for rule in rules]
    columns = ("rule_id", "name", "strategy", "conditions", "actions", "warn_before", "priority", "enabled")
    print_rows(
        rows,
        columns,
        as_json=as_json,
        empty="No rules. Add some: agentbus expiry rules add FILE",
        shorten=("conditions", "actions"),
    )


async def _add(settings: Settings, text: str, form: str) -> None:
    found = parsed_rules(text, "json" if form == "json" else "toml")
    async with make_store(settings) as store:
        rules = ExpiryRules(store, make_clock())
        for rule in found:
            await rules.add(rule)
    out.print(f"{len(found)} rules added: {', '.join(rule.rule_id for rule in found)}", markup=False)


async def _remove(settings: Settings, rule_id: str) -> None:
    async with make_store(settings) as store:
        if not await ExpiryRules(store, make_clock()).remove(rule_id):
            raise _no_such(rule_id)
    out.print(f"{rule_id} removed", markup=False)


async def _enable(settings: Settings, rule_id: str, *, enabled: bool) -> None:
    async with make_store(settings) as store:
        if not await ExpiryRules(store, make_clock()).enable(rule_id, enabled):
            raise _no_such(rule_id)
    out.print(f"{rule_id} {'enabled' if enabled else 'disabled'}", markup=False)


async def _run(settings: Settings, *, dry_run: bool, as_json: bool) -> None:
    findings: list[Finding] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    async with connected(settings) as app:
        sweep = await make_sweep(app)
        with ProgressBar(*columns, console=err, transient=True) as bar:
            task = bar.add_task("0 sessions looked at")
            async for found in sweep.run(dry_run=dry_run):
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


async def _stats(settings: Settings, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        statistics = await StatisticsRecorder(store, make_clock()).statistics()
    if as_json:
        print_json({"rules": statistics.rules, "total": statistics.total})
        return
    rows: list[dict[str, Any]] = [{"rule": rule} | counts for rule, counts in statistics.rules.items()]
    columns = ("rule", *(outcome.value for outcome in Outcome))
    print_rows(rows, columns, as_json=False, empty="No rule did anything yet.")


def _row(rule: ExpiryRule) -> dict[str, Any]:
    steps = [f"{step.action} after {step.after:g} s" if step.after else step.action.value for step in rule.actions]
    conditions = rule.conditions.model_dump(mode="json", exclude_defaults=True)
    shown = rule.model_dump(mode="json", include={"rule_id", "name", "strategy", "warn_before", "priority", "enabled"})
    return shown | {"conditions": conditions, "actions": ", then ".join(steps)}


def _no_such(rule_id: str) -> ConfigurationError:
    return ConfigurationError(f"there is no expiry rule {rule_id!r}; see: agentbus expiry rules list")
