"""Spans of a process of workers: told over HTTP where the environment says, the last ones at the end."""

import threading
from collections.abc import Iterator

import pytest

import agentbus.composition.tracing
from agentbus.composition.tracing import exporting_traces, tracing
from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.settings import Settings, TraceMode, load_settings
from agentbus.workers.delivery.trace_contexts import Traces, traces
from tests.harness.collector import Collector, collecting
from tests.harness.patience import PATIENCE


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def settings(mode: TraceMode) -> Settings:
    return load_settings(traces=mode, amqp_url="amqp://localhost/")


async def test_the_last_spans_are_told_where_the_environment_says(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=shop")
    monkeypatch.setattr(agentbus.composition.tracing, "_LAST_SECONDS", PATIENCE)
    async with exporting_traces(settings(TraceMode.LINKS)):
        with traces().sending("telegram", None):
            pass
    assert type(traces()) is Traces
    ((path, request),) = collector.taken
    (told,) = request.resource_spans
    about = {one.key: one.value.string_value for one in told.resource.attributes}
    assert path == "/v1/traces"
    assert (about["service.name"], about["service.namespace"]) == ("agentbus", "shop")
    assert [span.name for span in collector.spans()] == ["send telegram"]


async def test_which_are_kept_is_said_by_the_environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-bus")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    async with exporting_traces(settings(TraceMode.PARENT)):
        with traces().publishing("agentbus.inbound", 1) as (cause,):
            assert cause is not None
            assert not int(cause[-2:], 16) & 1, "who comes after is told that it is not kept"
    assert collector.taken == []


async def test_where_nobody_takes_them_it_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(agentbus.composition.tracing, "_LAST_SECONDS", 0.01)
    async with exporting_traces(settings(TraceMode.LINKS)):
        with traces().sending("telegram", None):
            pass
    assert type(traces()) is Traces
    for thread in threading.enumerate():
        if "last spans" in thread.name or "Span" in thread.name:
            thread.join(PATIENCE)
            assert not thread.is_alive()


async def test_without_the_setting_nothing_is_told() -> None:
    async with exporting_traces(settings(TraceMode.OFF)):
        assert type(traces()) is Traces
    with tracing(settings(TraceMode.OFF)):
        assert not traces().on


async def test_the_session_library_tells_the_program_s_own_provider() -> None:
    """Told by the environment, as all that it does not take itself."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AGENTBUS_TRACES", "links")
        async with SessionSystem(SessionSystemConfig(enable_cleanup=False, partitions=4)):
            assert traces().on
    assert not traces().on


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"agentbus\[otel\]"), tracing(settings(TraceMode.LINKS)):
        pass
