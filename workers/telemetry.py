"""The metrics of `contracts.telemetry`, counted with prometheus-client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from contracts import telemetry

_LATENESS_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_TURN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class WorkerMetrics:
    """What the workers of one process count, in a registry of its own unless one is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.inputs = _counter(telemetry.INPUTS, registry)
        self.parked = _counter(telemetry.PARKED, registry)
        self.commits = _counter(telemetry.COMMITS, registry)
        self.events = _counter(telemetry.EVENTS, registry)
        self.conflicts = _counter(telemetry.CONFLICTS, registry)
        self.routed = _counter(telemetry.ROUTED, registry)
        self.round_seconds = Histogram(telemetry.ROUND_SECONDS.name, telemetry.ROUND_SECONDS.help, registry=registry)
        self.round_turns = Histogram(
            telemetry.ROUND_TURNS.name, telemetry.ROUND_TURNS.help, registry=registry, buckets=_TURN_BUCKETS
        )
        self.expiry_commands = _counter(telemetry.EXPIRY_COMMANDS, registry)
        self.expiry_failures = _counter(telemetry.EXPIRY_FAILURES, registry)
        self.expiry_lateness = Histogram(
            telemetry.EXPIRY_LATENESS.name,
            telemetry.EXPIRY_LATENESS.help,
            registry=registry,
            buckets=_LATENESS_BUCKETS,
        )
        self.notifications = _counter(telemetry.NOTIFICATIONS, registry)
        self.live_actors = Gauge(telemetry.LIVE_ACTORS.name, telemetry.LIVE_ACTORS.help, registry=registry)


def _counter(metric: telemetry.Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)
