"""What holds across the contracts: the error tree, documented enum members, metric names, JSON limits, time."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from typing import Any, Final

import pytest
from pydantic import TypeAdapter, ValidationError

from agentbus.contracts import errors, telemetry
from agentbus.contracts.base import JsonObject, Timestamp, json_size
from agentbus.contracts.clock import ManualClock, SystemClock
from agentbus.contracts.errors import AgentBusError, Refused, SessionNotFound, refusal
from agentbus.contracts.telemetry import METRICS, Action, Metric
from agentbus.contracts.topology import DEFAULT_PARTITIONS, Topology

_OBJECT: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(JsonObject)
_TIMESTAMP: Final[TypeAdapter[datetime]] = TypeAdapter(Timestamp)

# Errors


def _kinds(kind: type[AgentBusError] = AgentBusError) -> Iterator[type[AgentBusError]]:
    yield kind
    for narrower in kind.__subclasses__():
        if narrower.__module__ == errors.__name__:
            yield from _kinds(narrower)


def _drawn() -> dict[str, str]:
    """Return the tree at the top of the module: each class and what stands above it."""
    above: list[str] = []
    tree: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines()[2:]:
        if drawn := re.match(r"((?:[│├└─ ]{4})*)([A-Z]\w+)", line):
            depth = len(drawn[1]) // 4
            above[depth:] = [drawn[2]]
            tree[drawn[2]] = above[depth - 1] if depth else "Exception"
    return tree


def test_the_error_tree_is_drawn_as_it_is() -> None:
    assert _drawn() == {kind.__name__: kind.__bases__[0].__name__ for kind in _kinds()}


def test_error_codes_are_unique_and_in_snake_case() -> None:
    codes = [kind.code for kind in _kinds()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_an_error_says_what_went_wrong_by_default(kind: type[AgentBusError]) -> None:
    assert str(kind()) == kind.__doc__
    assert str(kind("in other words", count=1)) == "in other words"
    assert kind(count=1).details == {"count": 1}


def test_a_refusal_is_raised_as_what_it_was() -> None:
    assert type(refusal("session_not_found", "gone")) is SessionNotFound
    assert type(refusal("of_a_later_release", "?")) is Refused


# Enums


def _enum_members() -> Iterator[tuple[str, ast.stmt | None]]:
    """Yield each enum member in the contracts' source, and the statement after it."""
    contracts = resources.files("agentbus.contracts")
    for file in (*contracts.iterdir(), *(contracts / "events").iterdir()):
        if file.name.endswith(".py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases):
                    yield from _members(node)


def _members(node: ast.ClassDef) -> Iterator[tuple[str, ast.stmt | None]]:
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.Assign):
            yield f"{node.name}.{ast.unparse(statement.targets[0])}", following


def test_each_enum_member_says_what_it_means() -> None:
    members = dict(_enum_members())
    assert len(members) > 50
    silent = [
        name
        for name, following in members.items()
        if not (
            isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        )
    ]
    assert silent == []


# Telemetry


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_follows_the_conventions_of_prometheus(metric: Metric) -> None:
    """Source: prometheus.io, Metric and label naming."""
    assert re.fullmatch("(agentbus|messaging)(_[a-z]+)+", metric.name)  # `messaging_` is OpenTelemetry's
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert not metric.name.endswith(("_count", "_sum", "_bucket"))
    # `_info` is what is always 1, and says all by its labels.
    assert metric.name.endswith("_info") == (metric.type == "gauge" and metric.help.startswith("1, with "))
    assert not re.search("_(ms|milliseconds|minutes|hours|kb|megabytes|percent)(_|$)", metric.name)
    assert ("seconds" in metric.help.lower()) == metric.name.endswith("_seconds")
    assert metric.help.endswith(".")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_no_label_is_an_id_or_reserved(metric: Metric) -> None:
    for label in metric.labels:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", label)
        assert label not in {"le", "quantile", "job", "instance"}
        assert not re.search("id$|key$|session|conversation|user|chat", label)


def test_metrics_are_listed_once_each() -> None:
    defined = [value for value in vars(telemetry).values() if isinstance(value, Metric)]
    assert {metric.name for metric in METRICS} == {metric.name for metric in defined}
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_an_action_is_searched_for_by_its_name() -> None:
    assert all(action == action.name.lower() for action in Action)


# JSON


def _nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "value", [{}, _nested(32), {"a": 2**63 - 1}, {"a": -(2**63)}, {"a": "\x00"}, {"a": "x" * 262_000}]
)
def test_json_that_every_store_can_keep(value: dict[str, Any]) -> None:
    assert _OBJECT.validate_python(value) == value


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (_nested(33), "deeper than 32"),
        ({"a": 2**63}, "64 bits"),
        ({"a": [-(2**63) - 1]}, "64 bits"),
        ({"a": {"b\x00": 1}}, "NUL"),
        ({"a": "x" * 262_144}, "the limit is 262144"),
        ({"a": "é" * 131_072}, "the limit is 262144"),
        ({"a": [0] * 40_000}, "the limit is 262144"),
    ],
)  # fmt: skip
def test_json_that_some_store_cannot_keep(value: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        _OBJECT.validate_python(value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_json_does_not_have(number: str) -> None:
    with pytest.raises(ValidationError):
        _OBJECT.validate_json(f'{{"a": {number}}}')


def test_booleans_are_no_integers() -> None:
    assert json_size(True) == json_size(None) == json_size(1.5) == 8


# Time


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-03-01T10:00:00.123999+01:00", datetime(2026, 3, 1, 9, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-03-01T00:00:00-00:30", datetime(2026, 3, 1, 0, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_kept_in_utc_with_milliseconds(given: str, kept: datetime) -> None:
    moment = _TIMESTAMP.validate_python(given)
    assert moment == kept
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("given", ["2026-03-01T10:00:00", "2026-03-01", datetime(2026, 3, 1)])  # noqa: DTZ001 - meant
def test_moments_without_a_zone_are_refused(given: object) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        _TIMESTAMP.validate_python(given)


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_moments_that_utc_does_not_have_are_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        _TIMESTAMP.validate_python(given)


def test_the_clock_of_the_machine_tells_utc_in_milliseconds() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now() == clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
    clock.advance(timedelta(seconds=1, microseconds=1500))
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 1, 1000, tzinfo=UTC)


# Topology


def test_every_partition_has_a_queue_bound_to_its_number() -> None:
    topology = Topology(prefix="test", partitions=3)
    bound = {
        queue.name: (binding.exchange, binding.routing_key) for queue in topology.queues() for binding in queue.bindings
    }
    assert bound == {
        "test.parked": ("test.parked", ""),
        "test.ingress": ("test.ingress", ""),
        "test.inbound.0": ("test.inbound", "0"),
        "test.inbound.1": ("test.inbound", "1"),
        "test.inbound.2": ("test.inbound", "2"),
    }


def test_every_queue_is_a_quorum_queue_with_an_explicit_positive_delivery_limit() -> None:
    topology = Topology(partitions=2)
    for queue in (*topology.queues(), topology.subscription("bot", ("session.#",))):
        assert queue.arguments["x-queue-type"] == "quorum"
        assert int(queue.arguments["x-delivery-limit"]) > 0


def test_every_exchange_that_is_bound_or_dead_letters_is_declared() -> None:
    topology = Topology()
    declared = {exchange.name for exchange in topology.exchanges()}
    for queue in topology.queues():
        assert {binding.exchange for binding in queue.bindings} <= declared
        assert queue.arguments.get("x-dead-letter-exchange", topology.parked) in declared


@pytest.mark.parametrize("settings", [{"partitions": 0}, {"partitions": 4097}, {"prefix": ""}, {"prefix": "A.b"}])
def test_a_topology_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Topology(**settings)


def test_unless_told_otherwise_there_are_64_partitions() -> None:
    assert len(Topology().all_partitions()) == DEFAULT_PARTITIONS == 64
