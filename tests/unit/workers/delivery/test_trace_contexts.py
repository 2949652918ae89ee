"""Traces: from what somebody says to the answer at the platform, as one or linked, and nothing of what was said."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider, SpanKind

import agentbus.workers.reactive.handler
from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import Partition
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import ReplyId
from agentbus.contracts.topology import Topology
from agentbus.received import ReceivedEvent
from agentbus.storage.memory import MemoryStore
from agentbus.workers.adapters.port import Capabilities, Guarantee
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.spans import SpanTraces
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.delivery.trace_contexts import Processed, Traces, cause_in, trace_of, traces, using
from agentbus.workers.outbound.channels import Way, Ways
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.outbound.worker import OutboundConfig, OutboundWorker
from tests.docs.markdown import ROOT
from tests.expiry.world import World, a_world
from tests.harness.api import a_message, api_world
from tests.harness.builders import a_conversation, appended
from tests.harness.outbound import FakeChannel, Fate
from tests.harness.patience import PATIENCE

WHERE = Address(platform=Platform.TELEGRAM, chat="lobby", user="ada")
SAID, ANSWERED = "my card is 4000 1234", "thank you for that"
CAME = f"00-{'a' * 32}-{'b' * 16}-01"
INPUTS, EVENTS = "agentbus.inbound", "agentbus.events"
WHOLE_WAY = [
    *(f"publish {INPUTS}", f"process {INPUTS}", f"publish {EVENTS}", f"process {EVENTS}"),
    *(f"publish {INPUTS}", f"process {INPUTS}", f"publish {EVENTS}", f"process {EVENTS}"),
    *("send telegram", f"publish {INPUTS}", f"process {INPUTS}"),
]


class Spans(InMemorySpanExporter):
    """What was told, and how many spans were begun."""

    begun = 0

    def named(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.get_finished_spans() if one.name == name]

    def way_to(self, span: ReadableSpan) -> list[str]:
        """Return the names of what caused a span, by parents and links, from the first cause to itself."""
        known = {one.context.span_id: one for one in self.get_finished_spans()}
        way: list[str] = []
        at: ReadableSpan | None = span
        while at is not None:
            way.insert(0, at.name)
            before = at.parent or (at.links[0].context if at.links else None)
            at = known[before.span_id] if before else None
        return way


class Counting(SimpleSpanProcessor):
    """Counts what is begun: what is not told in the end was left open."""

    def __init__(self, spans: Spans) -> None:
        super().__init__(spans)
        self._spans = spans

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self._spans.begun += 1
        super().on_start(span, parent_context)


def told_to(spans: Spans, *, as_parent: bool) -> SpanTraces:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Counting(spans))
    return SpanTraces(provider.get_tracer("agentbus"), system="agentbus", as_parent=as_parent)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(params=[True, False], ids=["parent", "links"])
def as_parent(request: pytest.FixtureRequest, spans: Spans) -> Iterator[bool]:
    """Tell spans for as long as a test takes, in both ways; all that were begun are ended."""
    with using(told_to(spans, as_parent=request.param)):
        yield request.param
    assert spans.begun == len(spans.get_finished_spans())


async def say(world: World, text: str = SAID) -> None:
    content = TextContent(text=text)
    await world.client.publish(
        InboundMessage(address=WHERE, message_id="1", sent_at=world.clock.now(), content=content)
    )


async def converse(fails_first: bool = False) -> FakeChannel:
    """Let somebody say something, a bot answer it, and an outbound worker send the answer; all is over then."""
    channel = FakeChannel(Guarantee.IDEMPOTENT, Fate(), Fate())
    can = Capabilities(receives=frozenset(), key_seconds=60.0, guarantee=Guarantee.IDEMPOTENT)
    tries: list[str] = []
    async with a_world() as world:
        worker = OutboundWorker(
            world.bus,
            world.store,
            world.listen,
            Inputs(world.bus),
            Ways(lambda _: {("telegram", "default"): Way(channel, can)}),
            clock=world.clock,
            metrics=WorkerMetrics(),
            config=OutboundConfig(interval=0.005, beat=0.02, ttl=2.0),
        )
        await worker.start()

        @world.client.on("session.message.*", durable="bot")
        async def answer(event: ReceivedEvent) -> None:
            tries.append(event.id)
            if isinstance(event.data, MessageAppended) and event.data.message.role == "user":
                if fails_first and len(tries) == 1:
                    raise RuntimeError(SAID)
                await event.reply(ANSWERED)

        async def sent() -> bool:
            return any(one.kind == "reply_sent" for one in world.events)

        await world.client.start()
        await say(world)
        await world.until(sent)
        await worker.close()
    return channel


async def test_what_somebody_says_leads_to_its_answer(as_parent: bool, spans: Spans) -> None:
    channel = await converse()
    assert channel.texts() == [ANSWERED]
    (send,) = spans.named("send telegram")
    reported = [one for one in spans.named(f"process {INPUTS}") if "send telegram" in spans.way_to(one)]
    assert [spans.way_to(one) for one in reported] == [WHOLE_WAY]
    assert send.kind is SpanKind.CLIENT
    ids = {one.context.trace_id for one in spans.get_finished_spans()}
    assert (len(ids) == 1) == as_parent
    begin = [one for one in spans.get_finished_spans() if one.parent is None and not one.links]
    assert [spans.way_to(one) for one in begin] == [WHOLE_WAY[:1]]
    for one in spans.get_finished_spans():
        consumes = one.name.startswith(("process", "send"))
        assert bool(one.links) == (consumes and not as_parent)


async def test_spans_keep_the_conventions(as_parent: bool, spans: Spans) -> None:  # noqa: ARG001 - in both ways
    await converse()
    kinds = {"publish": SpanKind.PRODUCER, "process": SpanKind.CONSUMER, "send": SpanKind.CLIENT}
    kinds |= {"commit": SpanKind.INTERNAL}
    for one in spans.get_finished_spans():
        name, _, where = one.name.partition(" ")
        attributes = dict(one.attributes or {})
        assert one.kind is kinds[name]
        if name in {"publish", "process"}:
            assert attributes["messaging.system"] == "agentbus"
            assert attributes["messaging.operation.name"] == name
            assert attributes["messaging.operation.type"] == {"publish": "send"}.get(name, name)
            assert attributes["messaging.destination.name"] == where
        assert one.start_time is not None
        assert one.end_time is not None
        assert one.start_time <= one.end_time
    commits = [spans.way_to(one)[-2:] for one in spans.named("commit")]
    assert commits
    assert all(way == [f"process {INPUTS}", "commit"] for way in commits)
    processed = spans.named(f"process {INPUTS}")
    assert all("messaging.message.id" not in (one.attributes or {}) for one in processed), "anybody may make it up"


async def test_no_span_has_what_was_said_also_when_a_handler_fails_with_it(
    as_parent: bool, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_parent in {True, False}
    failing = replace(agentbus.workers.reactive.handler.FAILING, first_wait=0, longest_wait=0)
    monkeypatch.setattr(agentbus.workers.reactive.handler, "FAILING", failing)
    await converse(fails_first=True)
    told = "".join(one.to_json() for one in spans.get_finished_spans())
    assert f"process {EVENTS}" in told
    for text in (SAID, ANSWERED, WHERE.chat):
        assert text not in told


class Went(Exception):
    """Something failed."""


@pytest.mark.parametrize("error", [Went(SAID), asyncio.CancelledError(SAID)], ids=["failed", "cancelled"])
@pytest.mark.parametrize(
    ("during", "count"),
    [
        (lambda: traces().publishing(INPUTS, 1), 1),
        (lambda: traces().publishing(INPUTS, 3), 4),
        (lambda: traces().handling(EVENTS, an_event()), 1),
        (lambda: traces().sending("telegram", CAME), 1),
    ],
)
def test_what_fails_or_is_cancelled_ends_its_spans_and_tells_its_kind_alone(
    error: BaseException, during: Callable[[], Any], count: int, as_parent: bool, spans: Spans
) -> None:
    assert as_parent in {True, False}
    with pytest.raises(type(error)), during():
        raise error
    told = spans.get_finished_spans()
    assert len(told) == count
    for one in told:
        assert (one.attributes or {})["error.type"] == type(error).__name__
        assert not one.status.is_ok
        assert not one.events
        assert SAID not in one.to_json()
    assert trace.get_current_span() is trace.INVALID_SPAN


def an_event(cause: str | None = CAME) -> EventEnvelope:
    return EventEnvelope.of(appended(a_conversation("ada"), 1, SAID), cause)


def test_many_messages_have_a_context_each_and_are_published_by_one_span(as_parent: bool, spans: Spans) -> None:
    assert as_parent in {True, False}
    with traces().publishing(INPUTS, 0) as causes:
        assert causes == []
    with traces().publishing(INPUTS, 3) as causes:
        assert len({cause for cause in causes if cause}) == 3
    created = spans.named(f"create {INPUTS}")[::-1]  # the last to begin is the first to end
    (published,) = spans.named(f"publish {INPUTS}")
    assert {one.kind for one in created} == {SpanKind.PRODUCER}
    assert published.kind is SpanKind.CLIENT
    assert [link.context.span_id for link in published.links] == [one.context.span_id for one in created]
    assert [trace_of(cause)["span_id"] for cause in causes] == [f"{one.context.span_id:016x}" for one in created]


@pytest.mark.parametrize(
    ("news", "told"),
    [
        ({}, ["commit", f"publish {EVENTS}", f"process {INPUTS}"]),
        ({"appended": None}, [f"publish {EVENTS}", f"process {INPUTS}"]),  # it was committed before
        ({"appended": None, "events": 0, "failed": "access_denied"}, [f"process {INPUTS}"]),
    ],
)
def test_an_input_s_span_tells_what_became_of_it(news: dict[str, Any], told: list[str], spans: Spans) -> None:
    conversation, now = a_conversation("ada"), monotonic()
    processed = Processed(
        **{
            "cause": CAME,
            "arrived": now - 3,
            "appended": (now - 2, now - 1),
            "conversation": conversation,
            "partition": Partition(3),
            "session": f"{conversation}.1",
            "version": 7,
            "events": 2,
            **news,
        }
    )
    with using(told_to(spans, as_parent=True)), traces().processing(INPUTS, EVENTS, [processed]) as causes:
        pass
    assert [one.name for one in spans.get_finished_spans()] == told
    whole = spans.named(f"process {INPUTS}")[0]
    assert whole.parent is not None
    assert (whole.attributes or {}).get("error.type") == news.get("failed")
    assert (whole.attributes or {})["messaging.destination.partition.id"] == "3"
    first = spans.named(f"publish {EVENTS}")[0] if len(told) > 1 else whole
    assert [trace_of(cause)["span_id"] for cause in causes] == [f"{first.context.span_id:016x}"]
    assert whole.start_time is not None
    for commit in spans.named("commit"):
        assert commit.start_time is not None
        assert whole.start_time < commit.start_time


def test_a_program_that_has_set_no_provider_passes_on_what_came() -> None:
    tracer = NoOpTracerProvider().get_tracer("agentbus")
    for as_parent in (True, False):
        told = SpanTraces(tracer, system="agentbus", as_parent=as_parent)
        with told.publishing(INPUTS, 1) as causes:
            assert causes == [None]
        with told.handling(EVENTS, an_event()), told.publishing(INPUTS, 2) as causes:
            assert causes == [CAME, CAME]


async def test_without_spans_the_context_that_came_goes_all_the_way() -> None:
    seen: dict[str, str | None] = {}
    async with a_world() as world:

        @world.client.on("session.#", durable="bot")
        async def answer(event: ReceivedEvent) -> None:
            seen[event.data.kind] = event.traceparent
            if isinstance(event.data, MessageAppended) and event.data.message.role == "user":
                await event.reply(ANSWERED)

        async def asked() -> bool:
            return "reply_requested" in seen

        await world.client.start()
        message = InboundMessage(
            address=WHERE, message_id="1", sent_at=world.clock.now(), content=TextContent(text=SAID)
        )
        envelope = InputEnvelope(id="1", traceparent=CAME, data=message)
        await Inputs(world.bus).publish([Inputs(world.bus).routed(envelope)])
        await world.until(asked)
    assert set(seen.values()) == {CAME}
    assert traces().current() is None


PASS_ON = {
    "workers/delivery/inputs.py": "where it is said",
    "workers/ingress/router.py": "what came by the ingress has its publisher's",
    "agentbus/operations/parked.py": "what is replayed goes on with the trace that it came with",
}
"""Who asks where an input goes and gives it no trace context, and why."""


def test_whoever_publishes_inputs_begins_a_trace() -> None:
    files = [file for package in ("workers", "agentbus") for file in (ROOT / package).rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if ".routed(" in file.read_text("utf-8")}
    assert found == PASS_ON.keys(), "`Inputs.on_their_way` gives inputs their trace contexts"


def test_what_ends_first_takes_nothing_from_what_began_after_it(spans: Spans) -> None:
    """Two session systems in one program, say."""
    first, second = (using(told_to(spans, as_parent=True)) for _ in range(2))
    at_first = traces()
    first.__enter__()
    second.__enter__()
    last = traces()
    first.__exit__(None, None, None)
    assert traces() is last
    assert last.on
    second.__exit__(None, None, None)
    assert traces() is at_first


def test_what_is_no_trace_context_is_told_as_none() -> None:
    assert trace_of(CAME) == {"trace_id": "a" * 32, "span_id": "b" * 16}
    assert trace_of(None) == trace_of("") == trace_of(CAME + "x") == trace_of(CAME.upper()) == {}
    with Traces().handling(EVENTS, an_event(None)):
        assert traces().current() is None


def test_an_instance_hears_from_records_which_trace_a_reply_belongs_to() -> None:
    outbox = Outbox(MemoryStore(), Topology(partitions=4), ManualClock())
    first, second = (ReplyId(f"{'a' * 26}.1/{number}") for number in (1, 2))
    outbox.caused(second, f"00-{'c' * 32}-{'d' * 16}-01")
    odd: list[object] = [None, 7, "x", [CAME], {first: 7}, {first: "nonsense", second: CAME}, {first: CAME}]
    for data in odd:
        outbox.heard_of(a_record(data))
    assert outbox.cause_of(first) == CAME
    assert outbox.cause_of(second) == f"00-{'c' * 32}-{'d' * 16}-01", "it knows better itself"
    for number in range(3000):
        outbox.caused(ReplyId(f"{'a' * 26}.1/{number + 10}"), CAME)
    assert outbox.cause_of(first) is None
    assert len(outbox._causes) == 1000


def a_record(data: object) -> Record:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Record(kind=RecordKind.OUTBOX, key="a" * 26, group="0", created_at=at, data={"traces": data})


@pytest.mark.usefixtures("as_parent")
async def test_a_call_by_http_goes_on_with_the_trace_that_it_came_with(spans: Spans) -> None:
    async with api_world() as world, world.caller() as by:
        answer = await by.post("/v1/messages", json=a_message(SAID), headers={"traceparent": CAME})
        assert answer.status_code == 200
        assert (await by.get("/v1/nowhere", headers={"traceparent": "nonsense"})).status_code == 404
    [call] = spans.named("POST /v1/messages")
    assert (call.kind, call.parent and call.parent.span_id) == (SpanKind.SERVER, int("b" * 16, 16))
    assert call.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 200,
    }
    [published] = [one for one in spans.named(f"publish {INPUTS}") if one.parent]
    assert (published.parent and published.parent.span_id, published.context.trace_id) == (
        call.context.span_id,
        int("a" * 32, 16),
    )
    [lost] = spans.named("GET unknown")
    assert lost.parent is None


async def test_without_spans_a_call_by_http_passes_on_what_it_came_with() -> None:
    came: list[str | None] = []
    async with api_world() as world, world.caller() as by:
        client = AgentBus(world.app.bus)

        @client.on("session.message.*")
        async def heard(_: ReceivedEvent) -> None:
            came.append(traces().current())

        await client.start()
        await by.post("/v1/messages", json=a_message(SAID), headers={"traceparent": CAME})
        async with asyncio.timeout(PATIENCE):
            while not came:
                await asyncio.sleep(0.005)
        await client.close()
    assert came == [CAME]


def test_what_is_no_trace_context_is_none() -> None:
    zeros = "0" * 32
    for wrong in (None, "", "x", CAME.upper(), f"{CAME}-00", f"ff{CAME[2:]}", f"00-{zeros}-{'b' * 16}-01", CAME[:-1]):
        assert cause_in(wrong) is None, wrong
    assert cause_in(f"00-{'a' * 32}-{'0' * 16}-01") is None
    assert cause_in(CAME) == CAME
