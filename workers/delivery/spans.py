"""Spans of what AgentBus does, by OpenTelemetry's API and its conventions for messaging.

A span tells where, when, how long, and of which conversation. What people write is in none, nor is what a publisher may
have made up: ids of inputs, errors' words.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic, time_ns
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agentbus.contracts.envelope import EventEnvelope
from agentbus.workers.delivery.trace_contexts import Processed, Traces

_NANO: Final = 1_000_000_000
_FAULTS: Final = 500
"""From this status on it is the server that is at fault."""
_propagator: Final = TraceContextTextMapPropagator()

Attributes = Mapping[str, str | int]


class SpanTraces(Traces):
    """Tells spans by a tracer. `system` is what carries the messages, in the conventions' words.

    What consumes a message begins a trace of its own, linked to the one that the message was created in; if it is
    `as_parent`, it goes on with that one instead.
    """

    on = True

    def __init__(self, tracer: Tracer, *, system: str, as_parent: bool) -> None:
        self._tracer = tracer
        self._system = system
        self._as_parent = as_parent

    def current(self) -> str | None:
        return _traceparent(contexts.get_current()) or super().current()

    @contextmanager
    def publishing(self, where: str, count: int) -> Iterator[list[str | None]]:
        if not count:
            yield []
            return
        if count == 1:
            with self._during(f"publish {where}", SpanKind.PRODUCER, self._about("publish", "send", where)):
                yield [self.current()]
            return
        with ExitStack() as made:
            created = [made.enter_context(self._ended(self._created(where))) for _ in range(count)]
            about = {**self._about("publish", "send", where), "messaging.batch.message_count": count}
            links = [Link(span.get_span_context()) for span in created]
            with self._during(f"publish {where}", SpanKind.CLIENT, about, links=links):
                came = super().current()  # passed on where a program wants no spans
                yield [_traceparent(trace.set_span_in_context(span, Context())) or came for span in created]

    @contextmanager
    def handling(self, where: str, event: EventEnvelope) -> Iterator[None]:
        about = {
            **self._about("process", "process", where),
            "messaging.message.id": event.id,
            "messaging.message.conversation_id": event.partitionkey,
            "agentbus.event.kind": event.data.kind,
        }
        with (
            super().handling(where, event),
            self._caused(f"process {where}", SpanKind.CONSUMER, about, event.traceparent),
        ):
            yield

    @contextmanager
    def sending(self, platform: str, cause: str | None) -> Iterator[None]:
        about = {"messaging.operation.name": "send", "messaging.operation.type": "send", "agentbus.platform": platform}
        with super().sending(platform, cause), self._caused(f"send {platform}", SpanKind.CLIENT, about, cause):
            yield

    @contextmanager
    def serving(self, method: str, cause: str | None) -> Iterator[None]:
        # A call goes on with the trace that it came with, whatever holds for messages: somebody waits for its answer.
        context = _propagator.extract({"traceparent": cause}, Context()) if cause else Context()
        about = {"http.request.method": method}
        with super().serving(method, cause), self._during(method, SpanKind.SERVER, about, context=context):
            yield

    def served(self, route: str, status: int) -> None:
        span = trace.get_current_span()
        span.update_name(route)
        span.set_attribute("http.route", route.partition(" ")[2])
        span.set_attribute("http.response.status_code", status)
        if status >= _FAULTS:
            _fail(span, str(status))

    @contextmanager
    def processing(self, where: str, events: str, inputs: Sequence[Processed]) -> Iterator[list[str | None]]:
        now = monotonic()
        offset = time_ns() - round(now * _NANO)
        with ExitStack() as ends:
            yield [self._processed(where, events, one, offset, ends) for one in inputs]

    def _processed(self, where: str, events: str, one: Processed, offset: int, ends: ExitStack) -> str | None:
        """Begin the span of an input as of when it came, with its commit inside; return what its events are told."""
        about = {
            **self._about("process", "process", where),
            "messaging.destination.partition.id": str(one.partition),
            "messaging.message.conversation_id": one.conversation,
            "agentbus.session.version": one.version,
            **({"agentbus.session.id": one.session} if one.session else {}),
        }
        context, links = self._came_with(one.cause)
        begun = round(one.arrived * _NANO) + offset
        span = self._tracer.start_span(f"process {where}", context, SpanKind.CONSUMER, about, links, begun)
        ends.enter_context(self._ended(span))
        if one.failed:
            _fail(span, one.failed)
        inside = trace.set_span_in_context(span, Context())
        if not one.events:
            return _traceparent(inside)
        if one.appended:
            first, last = (round(moment * _NANO) + offset for moment in one.appended)
            self._tracer.start_span("commit", inside, SpanKind.INTERNAL, start_time=first).end(last)
        told = self._about("publish", "send", events)
        announcing = self._tracer.start_span(f"publish {events}", inside, SpanKind.PRODUCER, told)
        ends.enter_context(self._ended(announcing))
        return _traceparent(trace.set_span_in_context(announcing, Context()))

    @contextmanager
    def _caused(self, name: str, kind: SpanKind, about: Attributes, cause: str | None) -> Iterator[None]:
        context, links = self._came_with(cause)
        with self._during(name, kind, about, context=context, links=links):
            yield

    def _came_with(self, cause: str | None) -> tuple[Context, list[Link]]:
        """Return what a span that was caused by something begins in, and what it is linked to."""
        if cause is None:
            return Context(), []
        context = _propagator.extract({"traceparent": cause}, Context())
        if self._as_parent:
            return context, []
        came: SpanContext = trace.get_current_span(context).get_span_context()
        return Context(), [Link(came)] if came.is_valid else []

    @contextmanager
    def _during(
        self,
        name: str,
        kind: SpanKind,
        about: Attributes,
        *,
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[None]:
        """Tell of the body by a span, within which is what is told of meanwhile."""
        span = self._tracer.start_span(name, context, kind, about, links)
        token = contexts.attach(trace.set_span_in_context(span, context))
        try:
            with self._ended(span):
                yield
        finally:
            contexts.detach(token)

    @contextmanager
    def _ended(self, span: Span) -> Iterator[Span]:
        """End a span with the body, however it ends. What an error says may be what people wrote: its kind is told."""
        try:
            yield span
        except BaseException as error:
            _fail(span, type(error).__name__)
            raise
        finally:
            span.end()

    def _created(self, where: str) -> Span:
        about = self._about("create", "create", where)
        return self._tracer.start_span(f"create {where}", None, SpanKind.PRODUCER, about)

    def _about(self, name: str, operation: str, where: str) -> dict[str, str | int]:
        return {
            "messaging.system": self._system,
            "messaging.operation.name": name,
            "messaging.operation.type": operation,
            "messaging.destination.name": where,
        }


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def _traceparent(context: Context) -> str | None:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context)
    return carrier.get("traceparent")
