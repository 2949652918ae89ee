"""The metrics of `agentbus.contracts.telemetry`, counted with prometheus-client.

It is imported when something is to be counted: it brings an HTTP server and its hundred modules.
"""

from platform import python_version
from typing import TYPE_CHECKING

from agentbus.contracts import telemetry
from agentbus.workers.release import release

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LATENESS_BUCKETS = (0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_COMMIT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_OPERATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""As OpenTelemetry's conventions advise."""
_TURN_BUCKETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class WorkerMetrics:
    """What the workers of one process count, in a registry of its own unless one is given."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - see above

        registry = registry or CollectorRegistry()
        self.inputs = _counter(telemetry.INPUTS, registry)
        self.parked = _counter(telemetry.PARKED, registry)
        self.commits = _counter(telemetry.COMMITS, registry)
        self.events = _counter(telemetry.EVENTS, registry)
        self.conflicts = _counter(telemetry.CONFLICTS, registry)
        self.routed = _counter(telemetry.ROUTED, registry)
        self.channel_requests = _counter(telemetry.CHANNEL_REQUESTS, registry)
        self.channel_events = _counter(telemetry.CHANNEL_EVENTS, registry)
        self.channel_connections = _gauge(telemetry.CHANNEL_CONNECTIONS, registry)
        self.round_seconds = _histogram(telemetry.ROUND_SECONDS, registry, _OPERATION_BUCKETS)
        self.round_turns = _histogram(telemetry.ROUND_TURNS, registry, _TURN_BUCKETS)
        self.expiry_commands = _counter(telemetry.EXPIRY_COMMANDS, registry)
        self.expiry_failures = _counter(telemetry.EXPIRY_FAILURES, registry)
        self.expiry_lateness = _histogram(telemetry.EXPIRY_LATENESS, registry, _LATENESS_BUCKETS)
        self.expiry_held_back = _gauge(telemetry.EXPIRY_HELD_BACK, registry)
        self.notifications = _counter(telemetry.NOTIFICATIONS, registry)
        self.publish_to_commit = _histogram(telemetry.PUBLISH_TO_COMMIT, registry, _COMMIT_BUCKETS)
        self.replies = _counter(telemetry.REPLIES, registry)
        self.replies_in_doubt = _gauge(telemetry.REPLIES_IN_DOUBT, registry)
        self.reply_seconds = _histogram(telemetry.REPLY_SECONDS, registry, _COMMIT_BUCKETS)
        self.reconnections = _counter(telemetry.RECONNECTIONS, registry)
        self.handler_failures = _counter(telemetry.HANDLER_FAILURES, registry)
        self.live_actors = _gauge(telemetry.LIVE_ACTORS, registry)
        self.large_sessions = _counter(telemetry.LARGE_SESSIONS, registry)
        self.owned = _gauge(telemetry.OWNED, registry)
        self.stopped = _gauge(telemetry.STOPPED, registry)
        self.oldest = _gauge(telemetry.OLDEST, registry)
        self.backlog = _gauge(telemetry.BACKLOG, registry)
        self.sent = _counter(telemetry.MESSAGES_SENT, registry)
        self.consumed = _counter(telemetry.MESSAGES_CONSUMED, registry)
        self.operation_seconds = _histogram(telemetry.OPERATION_SECONDS, registry, _OPERATION_BUCKETS)
        self.process_seconds = _histogram(telemetry.PROCESS_SECONDS, registry, _OPERATION_BUCKETS)
        self.build = _gauge(telemetry.BUILD, registry)
        self.build.labels(release(), python_version()).set(1)

    def published(self, where: str, count: int, seconds: float | None) -> None:
        """Count messages that were confirmed together, and in how many seconds, where that is known."""
        self.sent.labels("rabbitmq", "publish", where).inc(count)
        if seconds is not None:
            self.operation_seconds.labels("rabbitmq", "publish", where).observe(seconds)


def process_registry() -> "CollectorRegistry":
    """Return a registry for the metrics of a process of its own: those of the process are in it already."""
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - see above

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def _counter(metric: telemetry.Metric, registry: "CollectorRegistry") -> "Counter":
    from prometheus_client import Counter  # noqa: PLC0415 - see above

    counter = Counter(metric.name, metric.help, metric.labels, registry=registry)
    for values in metric.series:
        counter.labels(*values)
    return counter


def _gauge(metric: telemetry.Metric, registry: "CollectorRegistry") -> "Gauge":
    from prometheus_client import Gauge  # noqa: PLC0415 - see above

    gauge = Gauge(metric.name, metric.help, metric.labels, registry=registry)
    for values in metric.series:
        gauge.labels(*values)
    return gauge


def _histogram(metric: telemetry.Metric, registry: "CollectorRegistry", buckets: tuple[float, ...]) -> "Histogram":
    from prometheus_client import Histogram  # noqa: PLC0415 - see above

    histogram = Histogram(metric.name, metric.help, metric.labels, registry=registry, buckets=buckets)
    for values in metric.series:
        histogram.labels(*values)
    return histogram
