"""The HTTP port of a worker: probes, metrics, and a port that is taken."""

import asyncio
import inspect
import socket
from collections.abc import Callable

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from agentbus.composition.probes import MOST_FRAME, Connections, probes_app, serving
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.members import WorkerKind, WorkerStatus
from agentbus.contracts.urls import LOOPBACK
from agentbus.workers.adapters.port import LASTING
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.worker import Health
from tests.harness.builders import a_member

SECONDS = 10.0


def health(*, live: bool = True, ready: bool = True, lag: float = 0.0123456) -> Health:
    return Health(live=live, ready=ready, lag=lag, member=a_member("w1", owns=(0, 1), status=WorkerStatus.RUNNING))


async def get(app: Starlette, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        return await client.get(path)


def app_of(tell: Callable[[], Health]) -> Starlette:
    return probes_app({WorkerKind.SESSION: tell}, CollectorRegistry())


@pytest.mark.parametrize(
    ("live", "ready", "codes"),
    [(True, True, (200, 200)), (True, False, (200, 503)), (False, False, (503, 503))],
)
async def test_probes_tell_by_their_status(live: bool, ready: bool, codes: tuple[int, int]) -> None:
    app = app_of(lambda: health(live=live, ready=ready))
    assert ((await get(app, "/live")).status_code, (await get(app, "/ready")).status_code) == codes


async def test_probes_say_why() -> None:
    shown = (await get(app_of(lambda: health(ready=False)), "/ready")).json()
    assert (shown["live"], shown["ready"], shown["loop_lag_seconds"]) == (True, False, 0.012)
    session = shown["workers"]["session"]
    assert (session["live"], session["ready"]) == (True, False)
    assert session["member"]["worker_id"] == "w1"
    assert session["member"]["owns"] == [0, 1]
    assert session["member"]["status"] == "running"


async def test_a_probe_asks_anew_each_time() -> None:
    states = [health(), health(ready=False)]
    app = app_of(lambda: states[0])
    assert (await get(app, "/ready")).status_code == 200
    del states[0]
    assert (await get(app, "/ready")).status_code == 503


async def test_a_process_is_as_well_as_the_worst_of_its_workers() -> None:
    well, late = health(), health(ready=False, lag=2.0)
    nobody = Health(live=True, ready=True, lag=0.0, member=None)
    kinds = {WorkerKind.SESSION: lambda: well, WorkerKind.SYNC: lambda: late, WorkerKind.INGRESS: lambda: nobody}
    app = probes_app(kinds, CollectorRegistry())
    assert (await get(app, "/live")).status_code == 200
    answer = await get(app, "/ready")
    assert (answer.status_code, answer.json()["loop_lag_seconds"]) == (503, 2.0)
    assert {kind: one["ready"] for kind, one in answer.json()["workers"].items()} == {
        "session": True,
        "sync": False,
        "ingress": True,
    }
    assert answer.json()["workers"]["ingress"]["member"] is None


async def test_metrics_are_those_of_the_registry() -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry).commits.inc(7)
    response = await get(probes_app({WorkerKind.SESSION: health}, registry), "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert "agentbus_commits_total 7.0" in response.text.splitlines()


async def test_it_serves_while_the_body_runs() -> None:
    async with serving(app_of(health), 0, host="127.0.0.1") as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/live"
        assert (await client.get(url)).json()["live"] is True
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


async def test_a_body_that_fails_ends_the_server() -> None:
    ports: list[int] = []

    async def fail() -> None:
        async with serving(app_of(health), 0, host="127.0.0.1") as port, httpx.AsyncClient() as client:
            ports.append(port)
            assert (await client.get(f"http://127.0.0.1:{port}/live")).status_code == 200
            raise RuntimeError("the worker failed")

    with pytest.raises(RuntimeError, match="the worker failed"):
        await fail()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", ports[0]))


async def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=rf"port {port} \(Address already in use.*choose another --http-port"
        ):
            async with serving(app_of(health), port, host="127.0.0.1"):
                pytest.fail("it must not begin")


async def test_a_body_that_ends_at_once_lets_go_of_the_port() -> None:
    async with serving(app_of(health), 0, host="127.0.0.1") as port:
        pass
    with socket.create_server(("127.0.0.1", port)):
        pass


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Read until the server ends the connection, in whatever way."""
    try:
        return await asyncio.wait_for(reader.read(), SECONDS)
    except ConnectionError:
        return b""


async def test_one_connection_too_many_ends_the_oldest_and_a_probe_is_answered() -> None:
    connections = Connections(most=3)
    async with serving(app_of(health), 0, connections=connections) as port:
        idle = [await asyncio.open_connection(LOOPBACK, port) for _ in range(20)]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{LOOPBACK}:{port}/live")).status_code == 200
        for reader, _ in idle[:17]:
            assert await read_to_end(reader) == b""
        assert len(connections) <= 3
        for _, writer in idle:
            writer.close()


async def test_no_answer_waits_for_the_clients_acknowledgement_of_its_head() -> None:
    """On a connection that is used again it took 40 ms, whatever the call: Nagle's algorithm against delayed ACKs."""
    found: list[int] = []

    async def tell(scope: Scope, receive: Receive, send: Send) -> None:
        transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]  # nothing else tells of them
        sockets = [one.get_extra_info("socket") for one in transports.values()]
        ours = [one for one in sockets if one.getsockname()[1] == port]
        found.extend(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in ours)
        await app_of(health)(scope, receive, send)

    async with serving(tell, 0) as port, httpx.AsyncClient() as client:
        await client.get(f"http://{LOOPBACK}:{port}/live")
    assert found == [1]


@pytest.mark.parametrize("sent", [b"", b"GET /live HTTP/1.1\r\nHost: a\r\nSlow: "])
async def test_a_connection_that_comes_to_nothing_is_ended(sent: bytes) -> None:
    connections = Connections(seconds=0.05)
    async with serving(app_of(health), 0, connections=connections) as port:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(sent)
        assert await read_to_end(reader) == b""
        assert len(connections) == 0
        writer.close()


async def test_it_listens_on_loopback_alone_unless_told_to() -> None:
    assert inspect.signature(serving).parameters["host"].default == LOOPBACK == "127.0.0.1"
    async with serving(app_of(health), 0) as port:
        with pytest.raises(OSError, match="in use"), socket.create_server((LOOPBACK, port)):
            pass
        with socket.create_server(("127.0.0.2", port)):
            """The port is free at other addresses."""


async def test_a_response_that_is_to_last_has_no_time_and_its_connection_has_again_once_it_is_over() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    connections = Connections(seconds=0.05)

    async def last(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an ASGI application
        scope[LASTING]()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        begun.set()
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"done"})

    async with serving(Starlette(routes=[Mount("/", last)]), 0, connections=connections) as port:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.wait_for(begun.wait(), SECONDS)
        assert len(connections) == 0
        go_on.set()
        assert (await read_to_end(reader)).endswith(b"done")
        writer.close()


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    while (await socket.receive())["type"] != "websocket.disconnect":
        await socket.send_text("heard")


async def test_websockets_are_served_where_that_is_asked_for_and_none_of_their_frames_is_huge() -> None:
    app, connections = Starlette(routes=[WebSocketRoute("/", echo)]), Connections(seconds=0.05)
    async with (
        serving(app, 0, connections=connections, sockets=True) as port,
        connect(f"ws://{LOOPBACK}:{port}/") as one,
        connect(f"ws://{LOOPBACK}:{port}/") as other,
    ):
        assert len(connections) == 0
        await one.send("x" * MOST_FRAME)
        assert await one.recv() == "heard"
        await one.send("x" * (MOST_FRAME + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await one.recv()
        assert closed.value.rcvd
        assert closed.value.rcvd.code == CloseCode.MESSAGE_TOO_BIG
        await other.send("x")
        assert await other.recv() == "heard"
    async with serving(app, 0) as port:
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{LOOPBACK}:{port}/")


async def test_the_oldest_connection_ends_with_what_is_done_for_it() -> None:
    begun, stopped, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            begun.set()
            try:
                await go.wait()
            finally:
                stopped.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving(app, 0, connections=Connections(most=1)) as port, httpx.AsyncClient() as client:
        slow = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/slow", timeout=SECONDS))
        async with asyncio.timeout(SECONDS):
            await begun.wait()
            async with httpx.AsyncClient() as other:
                assert (await other.get(f"http://127.0.0.1:{port}/")).status_code == 200
            await stopped.wait()
        with pytest.raises(httpx.TransportError):
            await slow
