"""The API as a worker: where it listens, and what of it ends when."""

import asyncio

import httpx
import pytest
import structlog

from agentbus.composition.running import embedded
from agentbus.contracts.errors import ConfigurationError
from agentbus.http.hosting import make_api_worker
from agentbus.operations.api_keys import Role, create_key
from agentbus.settings import Settings, load_settings
from tests.harness.patience import PATIENCE


def settings(**given: object) -> Settings:
    return load_settings(amqp_url="memory://", store_url="memory://", partitions=4, api_port=0, **given)


async def test_it_answers_on_its_port_and_says_how_to_make_a_key() -> None:
    async with embedded(settings()) as app:
        worker = make_api_worker(app)
        with structlog.testing.capture_logs() as lines:
            await worker.start()
        try:
            said = [line for line in lines if line["event"] == "api_open"]
            assert [("agentbus api-keys create" in line["advice"], line["port"]) for line in said] == [
                (True, worker.port)
            ]
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.port}") as client:
                answer = await client.get("/v1/sessions")
                assert (answer.status_code, answer.json()) == (200, {"items": [], "cursor": None})
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "agentbus api-keys create" in (await client.get("/sign-in")).text
                assert (await client.get("/v1/nope")).headers["content-type"] == "application/problem+json"
                worker._api.parts.ending.set()
                assert (await client.get("/v1/sessions")).status_code == 503
                assert not worker.health().ready
        finally:
            await worker.close()
        assert worker.port is None


async def test_beyond_this_machine_it_does_not_listen_without_a_key() -> None:
    async with embedded(settings(api_host="0.0.0.0")) as app:  # noqa: S104 - it does not listen
        worker = make_api_worker(app)
        with pytest.raises(ConfigurationError, match="agentbus api-keys create"):
            await worker.start()
        assert worker.port is None
        await create_key(app.store, app.clock, "n", [Role.READ])
        await worker.start()
        assert worker.health().live
        await worker.close()


async def test_a_call_under_way_is_answered_before_it_ends() -> None:
    async with embedded(settings()) as app:
        worker = make_api_worker(app)
        await worker.start()
        with worker._api.under_way.one():
            draining = asyncio.create_task(worker.drain(within=PATIENCE))
            await asyncio.sleep(0)
            assert not draining.done()
        async with asyncio.timeout(PATIENCE):
            await draining
        await worker.close()


async def test_who_follows_events_is_let_go_when_it_ends() -> None:
    async with embedded(settings()) as app:
        worker = make_api_worker(app)
        await worker.start()
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.port}", timeout=PATIENCE) as client,
            client.stream("GET", "/v1/events") as answer,
        ):
            blocks = answer.aiter_lines()
            assert (await anext(blocks)).startswith("retry: ")
            said = {"address": {"platform": "web", "chat": "lobby", "user": "ann"}, "content": {"kind": "text"}}
            said["content"] |= {"text": "heard"}
            assert (await client.post("/v1/messages", json=said)).status_code == 200
            while '"heard"' not in await anext(blocks):
                pass
            await worker.close()
            assert [line async for line in blocks if line and not line.startswith(("id: ", "data: "))] == []
