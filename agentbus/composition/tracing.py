"""Spans, where the settings want them: a program's own provider, or, in a process of workers, one by `OTEL_...`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Final

from agentbus.contracts.extras import importing_extras
from agentbus.settings import Settings, TraceMode
from agentbus.workers.concurrency import afterwards
from agentbus.workers.delivery.trace_contexts import using
from agentbus.workers.release import release

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

_LAST_SECONDS: Final = 5.0
"""Seconds that the last spans may take to get away, once all workers are closed."""


@contextmanager
def tracing(settings: Settings, provider: "TracerProvider | None" = None) -> Iterator[None]:
    """Tell spans while the body runs, if the settings say so: to `provider`, or to the one that the program has set.

    Raises ConfigurationError if OpenTelemetry is not installed.
    """
    if settings.log.traces is TraceMode.OFF:
        yield
        return
    with importing_extras("otel"):
        from opentelemetry import trace  # noqa: PLC0415 - for who wants it

        from agentbus.workers.delivery.spans import SpanTraces  # noqa: PLC0415 - as above

    tracer = trace.get_tracer("agentbus", release(), provider)
    system = "rabbitmq" if settings.bus.amqp_url.startswith("amqp") else "agentbus"
    with using(SpanTraces(tracer, system=system, as_parent=settings.log.traces is TraceMode.PARENT)):
        yield


@asynccontextmanager
async def exporting_traces(settings: Settings) -> AsyncIterator[None]:
    """Tell spans as `tracing` does, by OTLP over HTTP, to where the `OTEL_EXPORTER_OTLP_...` variables say.

    What is left is told at the end, for some seconds. Raises ConfigurationError if OpenTelemetry is not installed.
    """
    if settings.log.traces is TraceMode.OFF:
        yield
        return
    with importing_extras("otel"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - as above
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

    ours = Resource.create({"service.name": "agentbus", "service.version": release()})
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    processor = BatchSpanProcessor(exporter)
    provider.add_span_processor(processor)
    try:
        with tracing(settings, provider):
            yield
    finally:
        await afterwards("tell the last spans", _shut_down(processor, exporter))


async def _shut_down(processor: "SpanProcessor", exporter: "SpanExporter") -> None:
    """Wait for the processor's own thread, in a thread that keeps no process alive, and not for long."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def shut_down() -> None:
        processor.shutdown()
        with suppress(RuntimeError):  # the loop is closed: it was not waited for any more
            loop.call_soon_threadsafe(over.set)

    Thread(target=shut_down, name="tell the last spans", daemon=True).start()
    try:
        async with asyncio.timeout(_LAST_SECONDS):
            await over.wait()
    except TimeoutError:
        exporter.shutdown()  # it was trying again
