"""Alerts and dashboards ask for what is counted, in a way that means something, and each alert says what to do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own

from agentbus.contracts.telemetry import METRICS, PROCESS, Metric
from tests.docs.markdown import spans

ROOT: Final = Path(__file__).parents[2]
ALERTS: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy/grafana/agentbus.json").read_text("utf-8"))
PANELS: Final[list[dict[str, Any]]] = [one for one in DASHBOARD["panels"] if one["type"] != "row"]
RUNBOOK: Final = (ROOT / "docs/runbook.md").read_text("utf-8")
SECTIONS: Final = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))

BY_SERIES: Final = {
    name: metric
    for metric in METRICS
    for name in (
        [f"{metric.name}{end}" for end in ("_bucket", "_sum", "_count")]
        if metric.type == "histogram"
        else [metric.name]
    )
}
COUNTERS: Final = {name for name, metric in BY_SERIES.items() if metric.type != "gauge"} | {"process_cpu_seconds_total"}
OVER_TIME: Final = {"rate", "increase", "irate"}
SCRAPED: Final = {"job", "instance"}
"""Labels that Prometheus itself puts on everything."""


def parsed(query: str) -> promql.Expr:
    """Read a query as Prometheus does, with Grafana's variables put in. Raises ValueError for what is no query."""
    return promql.parse(query.replace("$__rate_interval", "1m"))


def selectors(expr: Any, within: str = "") -> Iterator[tuple[promql.VectorSelector, str]]:
    """Yield the selectors of a query, each with the function that it is given to at once."""
    match expr:
        case promql.VectorSelector():
            yield expr, within
        case promql.MatrixSelector():
            yield from selectors(expr.vector_selector, within)
        case promql.Call():
            for one in expr.args:
                yield from selectors(one, expr.func.name)
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from selectors(expr.expr)
        case promql.BinaryExpr():
            yield from selectors(expr.lhs)
            yield from selectors(expr.rhs)
        case promql.NumberLiteral() | promql.StringLiteral():
            return
        case _:
            raise AssertionError(f"an expression of a kind that nothing is known of: {type(expr)}")


def grouped(expr: Any) -> Iterator[str]:
    """Yield the labels that a query is grouped by."""
    match expr:
        case promql.AggregateExpr():
            yield from expr.modifier.labels if expr.modifier else ()
            yield from grouped(expr.expr)
        case promql.Call():
            for one in expr.args:
                yield from grouped(one)
        case promql.ParenExpr():
            yield from grouped(expr.expr)
        case promql.BinaryExpr():
            yield from grouped(expr.lhs)
            yield from grouped(expr.rhs)


def faults(query: str) -> list[str]:
    """Return what is wrong with a query."""
    try:
        expr = parsed(query)
    except ValueError as error:
        return [str(error)]
    found: list[str] = []
    labels = SCRAPED | {"le"}
    for selector, within in selectors(expr):
        name = str(selector.name)
        metric = BY_SERIES.get(name)
        if metric is None and name not in {*PROCESS, "up"}:
            found.append(f"{name} is not counted")
        labels |= set(metric.labels if metric else ())
        if (within in OVER_TIME) != (name in COUNTERS):
            found.append(f"{name} is a {'counter' if name in COUNTERS else 'gauge'}, in {within or 'no function'}")
        found += [fault for matcher in selector.matchers.matchers for fault in unknown(matcher, metric)]
    return found + [f"nothing has the label {label}" for label in grouped(expr) if label not in labels]


def unknown(matcher: promql.Matcher, metric: Metric | None) -> Iterator[str]:
    """Yield why a matcher can match nothing."""
    if matcher.name in SCRAPED:
        return
    if metric is None or matcher.name not in metric.labels:
        yield f"it has no label {matcher.name}"
        return
    values = {one[metric.labels.index(matcher.name)] for one in metric.series}
    patterned = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
    for value in matcher.value.split("|") if patterned else [matcher.value]:
        if value not in values:
            yield f"{matcher.name} is never {value!r}"


def test_alerts_ask_for_what_is_counted() -> None:
    found = {rule["alert"]: faults(rule["expr"]) for rule in ALERTS}
    assert len(found) == len(ALERTS) > 10
    assert {alert: some for alert, some in found.items() if some} == {}


def test_the_dashboard_asks_for_what_is_counted_and_shows_all_of_it() -> None:
    queries = {(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]}
    found = {asked: faults(asked[1]) for asked in queries}
    assert {asked: some for asked, some in found.items() if some} == {}
    shown = {str(selector.name) for _, query in queries for selector, _ in selectors(parsed(query))}
    assert {
        metric for metric in METRICS if not shown & {name for name, one in BY_SERIES.items() if one is metric}
    } == set()


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(agentbus_nothing)", "agentbus_nothing is not counted"),
        ("sum(agentbus_parked_total) > 0", "agentbus_parked_total is a counter, in no function"),
        ("rate(agentbus_backlog_seconds[5m])", "agentbus_backlog_seconds is a gauge, in rate"),
        ("histogram_quantile(0.9, rate(agentbus_round_seconds[5m]))", "agentbus_round_seconds is not counted"),
        ('rate(agentbus_replies_total{outcome="lost"}[5m])', "outcome is never 'lost'"),
        ('rate(agentbus_replies_total{session="a"}[5m])', "it has no label session"),
        ("sum by (session) (rate(agentbus_replies_total[5m]))", "nothing has the label session"),
    ],
)
def test_a_query_that_asks_for_nothing_is_found(query: str, fault: str) -> None:
    assert fault in faults(query)


def test_what_is_no_query_is_found() -> None:
    assert faults("sum(rate(agentbus_parked_total[5m])") != []
    assert faults("max(agentbus_backlog_seconds) >") != []


def test_an_alert_has_all_that_somebody_needs() -> None:
    for rule in ALERTS:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"AgentBus[A-Z]\w+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
        assert rule["annotations"].keys() == {"summary", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    assert list(SECTIONS) == [rule["alert"] for rule in ALERTS]


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_a_section_says_what_it_means_where_to_look_and_what_to_do(alert: str) -> None:
    """The commands and settings that it names are checked with those of all documents."""
    paragraphs = [one.replace("\n", " ") for one in SECTIONS[alert].strip().split("\n\n")]
    assert [re.match(r"\*\*[\w ]+\*\*", one).group() for one in paragraphs] == [  # type: ignore[union-attr] # it says so
        "**It means**",
        "**Look**",
        "**Do**",
    ]
    named = [span for span in spans(SECTIONS[alert]) if span.startswith(("agentbus_", "messaging_"))]
    assert {span for span in named if span not in {metric.name for metric in METRICS}} == set()


def test_the_dashboard_is_one_that_grafana_shows() -> None:
    ids = [one["id"] for one in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource"]
    taken: set[tuple[int, int]] = set()
    for one in DASHBOARD["panels"]:
        at = one["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, f"{one['title']} lies on another"
        taken |= cells
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_prometheus_reads_the_alerts() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    assert [Path(file).name for file in config["rule_files"]] == ["alerts.yml"]
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    asked = {
        matcher.value
        for rule in ALERTS
        for selector, _ in selectors(parsed(rule["expr"]))
        for matcher in selector.matchers.matchers
        if matcher.name == "job"
    }
    assert asked == jobs
