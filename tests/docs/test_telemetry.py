"""The one list of metrics and log actions is what the code counts and logs."""

import ast
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.telemetry import BUILD, METRICS, PROCESS, Action, Metric, metrics_table
from agentbus.workers.delivery.telemetry import WorkerMetrics, process_registry
from agentbus.workers.expiry.watch.commands import DEADLINE
from tests.docs.markdown import DOCS, ROOT, section

SOURCES = [
    file for package in ("contracts", "storage", "workers", "agentbus") for file in (ROOT / package).rglob("*.py")
]
LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception", "log", "msg"})


def logged(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls that write a line by a logger of ours, or of structlog."""
    loggers = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith(("Logger(", "structlog.get_logger"))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            root = node.func.value
            while isinstance(root, ast.Attribute | ast.Call):
                root = root.value if isinstance(root, ast.Attribute) else root.func
            if isinstance(root, ast.Name) and root.id in loggers:
                yield node


def action_of(call: ast.Call) -> str | None:
    """Return which action a line is written with, or None if it is written with something else."""
    match call.args:
        case [ast.Attribute(value=ast.Name(id="Action"), attr=name), *_]:
            return name
        case _:
            return None


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_counted_as_it_is_listed(metric: Metric) -> None:
    family_name = metric.name.removesuffix("_total") if metric.type == "counter" else metric.name
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    (family,) = [family for family in registry.collect() if family.name == family_name]
    assert (family.type, family.documentation) == (metric.type, metric.help)
    (counted,) = [one for one in vars(metrics).values() if one._name == family_name]
    assert counted._labelnames == metric.labels


def test_every_series_is_there_from_the_start() -> None:
    """One that comes with its first event is missing from graphs and alerts until then."""
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    found = {(sample.name, *sample.labels.values()) for family in registry.collect() for sample in family.samples}
    for metric in METRICS:
        assert all(len(values) == len(metric.labels) for values in metric.series)
        if metric.labels and metric is not BUILD:
            assert metric.series
        for values in metric.series or () if metric.labels else ((),):
            name = f"{metric.name}_count" if metric.type == "histogram" else metric.name
            assert (name, *values) in found


def test_labels_have_the_values_that_are_listed() -> None:
    listed = {value for metric in METRICS for values in metric.series for value in values}
    used = {value for file in SOURCES for value in label_values(ast.parse(file.read_text("utf-8")))}
    assert used
    assert used <= listed
    assert {str(action) for action in CleanupAction} | {DEADLINE} <= listed


def label_values(tree: ast.Module) -> Iterator[str]:
    """Yield the texts that metrics get as labels."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "labels":
            constants = [one for given in node.args for one in ast.walk(given) if isinstance(one, ast.Constant)]
            yield from (one.value for one in constants if isinstance(one.value, str) and one.value != "agentbus")


def test_a_process_tells_of_itself() -> None:
    found = {sample.name for family in process_registry().collect() for sample in family.samples}
    assert found == set(PROCESS)


def test_nothing_else_is_counted() -> None:
    names = {metric.name.removesuffix("_total") for metric in METRICS}
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    assert {family.name for family in registry.collect()} == names
    assert len(names) == len(METRICS)


def test_the_document_lists_every_metric() -> None:
    assert section((DOCS / "observe.md").read_text("utf-8"), "metrics").strip() == metrics_table()


def test_metrics_keep_the_conventions() -> None:
    for metric in METRICS:
        assert metric.name.startswith(("agentbus_", "messaging_"))
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert metric.help.endswith(".")
        assert metric.type != "histogram" or metric.name.endswith(("_seconds", "_bytes", "_turns"))
        assert len(metric.series) <= 10, "few series, however long it runs"
        assert not {label for label in metric.labels if label == "id" or label.endswith("_id")}


def test_lines_are_logged_with_an_action_and_every_action_is_used() -> None:
    used = {
        str(file.relative_to(ROOT)): {action_of(call) for call in logged(ast.parse(file.read_text("utf-8")))}
        for file in SOURCES
    }
    actions = set(Action.__members__)
    assert {file: names - actions for file, names in used.items() if names - actions} == {}
    assert actions - set[str | None]().union(*used.values()) == set()


def test_a_line_without_an_action_is_found() -> None:
    source = (
        "_log = structlog.get_logger(__name__)\n"
        "_log.info(Action.RETRYING, call='x')\n"
        "_log.bind(a=1).warning('free text')\n"
        "other.info('not a logger')\n"
    )
    assert [action_of(call) for call in logged(ast.parse(source))] == ["RETRYING", None]
