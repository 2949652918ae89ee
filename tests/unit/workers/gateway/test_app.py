"""The gateway as platforms meet it, in this process: over ASGI, with an in-process bus."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import BrokerUnavailable, PublishUnconfirmed
from agentbus.contracts.messages import InboundMessage, TextContent, UnsupportedContent
from agentbus.contracts.topology import Topology
from agentbus.workers.adapters.factory import Connected, accounts_in
from agentbus.workers.adapters.port import Inbound, Received, Request
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.intake import Intake
from tests.harness.patience import PATIENCE
from tests.platforms.webhook import signed

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
MESSAGE = {"chat": "c", "user": "ann", "message_id": "m1", "text": "hello"}


class Noon(Clock):
    def now(self) -> datetime:
        return NOON


class Publishing(Inputs):
    """Notes what is published; fails, or waits, as long as it is told to."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.failing: Exception | None = None
        self.held: asyncio.Event | None = None
        self.waiting = asyncio.Event()
        self.published: list[InboundMessage] = []

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:
        self.waiting.set()
        if self.held:
            await self.held.wait()
        if self.failing:
            raise self.failing
        for one in left:
            data = InputEnvelope.from_bytes(one.message.body).data
            assert isinstance(data, InboundMessage)
            assert within < 3
            self.published.append(data)


@pytest.fixture
async def inputs() -> AsyncIterator[Publishing]:
    async with MemoryBus(Topology(partitions=2)) as bus:
        yield Publishing(bus)


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics()


@pytest.fixture
def accounts() -> list[Connected]:
    return accounts_in({"webhook": {"shop": {"secret": SECRET}}})


@pytest.fixture
def opened(inputs: Publishing, metrics: WorkerMetrics, accounts: list[Connected]) -> Callable[..., Gateway]:
    def open_gateway(*, rate: float = 100, confirm_within: float = 2.0, **settings: Any) -> Gateway:
        intake = Intake(inputs, accounts, rate=rate, metrics=metrics, confirm_within=confirm_within)
        limits = {"max_body": 4096, **settings}
        return Gateway(intake, clock=Noon(), metrics=metrics, **limits)

    return open_gateway


def client(gateway: Gateway) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app), base_url="http://gateway")


async def post(
    to: httpx.AsyncClient, body: Any = MESSAGE, where: str = "/channels/webhook/shop", **headers: str
) -> httpx.Response:
    made = signed(SECRET, body if isinstance(body, bytes) else json.dumps(body).encode(), told="told-1", at=NOON)
    return await to.post(where, content=made.body, headers={**made.headers, **headers})


def outcomes(metrics: WorkerMetrics) -> dict[str, float]:
    """Return what was counted."""
    [metric] = metrics.channel_requests.collect()
    counted = [sample for sample in metric.samples if sample.name.endswith("_total") and sample.value]
    return {sample.labels["outcome"]: sample.value for sample in counted}


async def test_what_is_signed_is_published_and_then_accepted(
    opened: Callable[..., Gateway], inputs: Publishing, metrics: WorkerMetrics
) -> None:
    async with client(opened()) as to:
        answered = await post(to)

    assert (answered.status_code, answered.content) == (200, b"")
    [message] = inputs.published
    assert (message.message_id, message.content) == ("m1", TextContent(text="hello"))
    assert (message.address.platform, message.address.account) == ("webhook", "shop")
    assert outcomes(metrics) == {"accepted": 1}


async def test_no_answer_is_given_before_the_broker_has_confirmed(
    opened: Callable[..., Gateway], inputs: Publishing
) -> None:
    inputs.held = asyncio.Event()
    async with client(opened()) as to:
        posting = asyncio.create_task(post(to))
        await asyncio.wait_for(inputs.waiting.wait(), PATIENCE)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not posting.done()
        inputs.held.set()
        assert (await posting).status_code == 200
    assert len(inputs.published) == 1


@pytest.mark.parametrize("error", [BrokerUnavailable(), PublishUnconfirmed()])
async def test_while_the_broker_is_down_the_platform_is_to_come_back(
    opened: Callable[..., Gateway], inputs: Publishing, metrics: WorkerMetrics, error: Exception
) -> None:
    inputs.failing = error
    async with client(opened()) as to:
        refused = await post(to)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        inputs.failing = None
        assert (await post(to)).status_code == 200

    assert outcomes(metrics) == {"unavailable": 1, "accepted": 1}


async def test_a_broker_that_never_confirms_is_waited_for_no_longer_than_platforms_wait(
    opened: Callable[..., Gateway], inputs: Publishing
) -> None:
    inputs.held = asyncio.Event()
    async with client(opened(confirm_within=-0.45)) as to:
        assert (await post(to)).status_code == 503
    assert not inputs.published


async def test_what_is_wrong_is_refused_with_nothing_published_and_counted(
    opened: Callable[..., Gateway], inputs: Publishing, metrics: WorkerMetrics
) -> None:
    async with client(opened()) as to:
        assert (await post(to, where="/channels/webhook/other")).status_code == 404
        assert (await post(to, where="/channels/telegram/shop")).status_code == 404
        assert (await to.post("/channels/webhook/shop", json=MESSAGE)).status_code == 401
        assert (await post(to, **{"webhook-signature": "v1,nonsense"})).status_code == 401
        assert (await post(to, b"no json")).status_code == 400
        assert (await post(to, b"x" * 4097)).status_code == 413
        assert (await to.post("/channels/webhook/shop", content=Body(more=True))).status_code == 413
        assert (await to.put("/channels/webhook/shop")).status_code == 405
        assert (await to.get("/")).status_code == 404

    assert not inputs.published
    assert outcomes(metrics) == {
        "unknown": 2,
        "unverified": 2,
        "malformed": 1,
        "too_large": 2,
    }


class Body(AsyncIterator[bytes]):
    """A body that never ends: it goes on for ever, or nothing more comes."""

    def __init__(self, *, more: bool) -> None:
        self._more = more
        self._begun = False

    async def __anext__(self) -> bytes:
        if self._begun and not self._more:
            await asyncio.Event().wait()
        self._begun = True
        return b"x" * 1000


async def test_an_account_that_sends_too_much_is_to_come_back_later_and_strangers_use_up_none_of_it(
    opened: Callable[..., Gateway], inputs: Publishing
) -> None:
    async with client(opened(rate=0.001)) as to:
        for _ in range(5):
            assert (await to.post("/channels/webhook/shop", json=MESSAGE)).status_code == 401
        assert (await post(to)).status_code == 200
        refused = await post(to)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert len(inputs.published) == 1


async def test_bodies_that_are_held_at_once_are_bounded_and_let_go(
    opened: Callable[..., Gateway], inputs: Publishing
) -> None:
    inputs.held = asyncio.Event()
    gateway = opened(most_held=150)
    async with client(gateway) as to:
        first = asyncio.create_task(post(to))
        await asyncio.wait_for(inputs.waiting.wait(), PATIENCE)
        assert (await post(to, {**MESSAGE, "text": "x" * 100})).status_code == 503
        inputs.held.set()
        assert (await first).status_code == 200
        assert (await post(to)).status_code == 200
    assert gateway._held == 0


async def test_a_body_that_does_not_come_to_an_end_is_not_waited_for(opened: Callable[..., Gateway]) -> None:
    async with client(opened(body_seconds=0.05)) as to:
        assert (await to.post("/channels/webhook/shop", content=Body(more=False))).status_code == 408


class Failing(Inbound):
    def verify(self, request: Request) -> None:
        assert request.body

    def parse(self, request: Request) -> Received:
        raise KeyError(request.body)


async def test_what_an_adapter_fails_to_read_is_kept_whole(
    opened: Callable[..., Gateway], inputs: Publishing, metrics: WorkerMetrics, accounts: list[Connected]
) -> None:
    failing = replace(accounts[0].channel, inbound=lambda _name, _account: Failing())
    accounts[:] = [replace(accounts[0], channel=failing)]
    async with client(opened()) as to:
        assert (await post(to, b'{"odd": \xff}')).status_code == 200

    [message] = inputs.published
    assert message.content == UnsupportedContent(what="not read", raw='{"odd": \ufffd}')
    assert outcomes(metrics) == {"accepted": 1}


async def test_what_an_adapter_fails_to_verify_is_not_the_platforms(
    opened: Callable[..., Gateway], inputs: Publishing, metrics: WorkerMetrics, accounts: list[Connected]
) -> None:
    failing = replace(accounts[0].channel, inbound=lambda _name, _account: Failing())
    accounts[:] = [replace(accounts[0], channel=failing)]
    async with client(opened()) as to:
        assert (await post(to, b"")).status_code == 401

    assert not inputs.published
    assert outcomes(metrics) == {"unverified": 1}


async def test_a_gateway_that_drains_takes_no_more_and_answers_those_under_way(
    opened: Callable[..., Gateway], inputs: Publishing
) -> None:
    inputs.held, gateway = asyncio.Event(), opened()
    async with client(gateway) as to:
        first = asyncio.create_task(post(to))
        await asyncio.wait_for(inputs.waiting.wait(), PATIENCE)
        draining = asyncio.create_task(gateway.drain(PATIENCE))
        while not gateway.draining:
            await asyncio.sleep(0)
        assert (await post(to)).status_code == 503
        assert not draining.done()
        inputs.held.set()
        assert (await first).status_code == 200
        await draining
    assert len(inputs.published) == 1


async def test_no_secret_and_no_text_is_in_a_refusal_or_a_log_line(
    opened: Callable[..., Gateway], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client(opened()) as to:
        told = (await post(to, **{"webhook-signature": "v1,the-wrong-one"})).text
    said = told + caplog.text + capsys.readouterr().out + capsys.readouterr().err
    assert not any(word in said for word in (SECRET, SECRET[6:], "the-wrong-one", "hello"))
