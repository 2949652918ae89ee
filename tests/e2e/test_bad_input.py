"""Bad input of every kind: a clear error, or parked with its reason; never a crash, and nothing lost."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.parked import ParkedInput
from agentbus.storage.factory import open_store
from agentbus.storage.reading import iter_parked
from tests.chaos.system.proxy import Proxy
from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program, agentbus, started
from tests.services import LOOPBACK, free_port


def envelope(**changes: Any) -> dict[str, Any]:
    data = {
        "kind": "message",
        "address": {"platform": "web", "chat": "lobby", "user": "ada"},
        "message_id": "1",
        "sent_at": "2026-01-01T00:00:00Z",
        "content": {"kind": "text", "text": "hello"},
    }
    top = {"specversion": "1.0", "type": "agentbus.input.v1", "id": "bad", "source": "/test"}
    return {**top, "data": {**data, **changes.pop("data", {})}, **changes}


def as_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


IN_A_DAY = (datetime.now(UTC) + timedelta(days=1)).isoformat()
ADDRESS = {"platform": "web", "chat": "lobby", "user": "ada"}
BAD = {
    "undecodable bytes": (b"\xff\x00\xfe", "undecodable", "not JSON"),
    "empty body": (b"", "undecodable", "not JSON"),
    "no envelope": (b"[1, 2]", "undecodable", "CloudEvents"),
    "deeply nested": (b"[" * 100_000, "undecodable", "not"),
    "wrong schema version": (as_bytes(envelope(type="agentbus.input.v2")), "unsupported_type", "agentbus.input.v1"),
    "no word for a platform": (
        as_bytes(envelope(data={"address": {**ADDRESS, "platform": "My Space"}})),
        "schema_violation",
        "platform",
    ),
    "an id of 300 characters": (
        as_bytes(envelope(data={"address": {**ADDRESS, "user": "x" * 300}})),
        "schema_violation",
        "at most 255 characters",
    ),
    "an envelope id of 300 characters": (as_bytes(envelope(id="x" * 300)), "schema_violation", "at most 255"),
    "a text of 300 KB": (
        as_bytes(envelope(data={"content": {"kind": "text", "text": "x" * 300_000}})),
        "schema_violation",
        "at most 262144 characters",
    ),
    "a text of 5 MB": (
        as_bytes(envelope(data={"content": {"kind": "text", "text": "x" * 5_000_000}})),
        "too_large",
        "the limit is",
    ),
    "a timestamp without zone": (
        as_bytes(envelope(data={"sent_at": "2026-01-01T00:00:00"})),
        "schema_violation",
        "timezone",
    ),
    "a timestamp in the future": (as_bytes(envelope(data={"sent_at": IN_A_DAY})), "future_timestamp", "clock"),
}


async def publish(url: str, body: bytes, message_id: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        ingress = await channel.get_exchange("agentbus.ingress")
        await ingress.publish(aio_pika.Message(body, message_id=message_id), routing_key="", timeout=30)


async def parked_in(url: str, count: int, workers: list[Program]) -> list[ParkedInput]:
    async with open_store(url) as store, asyncio.timeout(PATIENCE):
        while True:
            found = [parked async for parked in iter_parked(store)]
            if len(found) >= count:
                return [whole for one in found if (whole := await store.parked.get(one.parked_id))]
            assert all(worker.process.poll() is None for worker in workers), "a worker ended"
            await asyncio.sleep(0.05)


async def until_committed(url: str) -> None:
    async with open_store(url) as store, asyncio.timeout(PATIENCE):
        while not (await store.heads.page(SessionFilter())).items:
            await asyncio.sleep(0.05)


def test_bad_input_is_parked_and_the_workers_go_on(
    distributed: Distributed, session_worker: Program, ingress_worker: Program
) -> None:
    async def parked_of_all() -> list[ParkedInput]:
        for name, (body, _, _) in BAD.items():
            await publish(distributed.amqp_url, body, name)
        await publish(distributed.amqp_url, as_bytes(envelope(id="good")), "good")
        parked = await parked_in(distributed.store_url, len(BAD), [session_worker, ingress_worker])
        await until_committed(distributed.store_url)
        return parked

    parked = asyncio.run(parked_of_all())
    found = {one.message_id: one for one in parked}
    assert len(found) == len(BAD)
    for name, (body, code, reason) in BAD.items():
        one = found.get(name) or found["bad"]
        assert (one.code, one.body == body or name == "a timestamp in the future") == (code, True), name
        assert reason in one.reason, name
    done = called("sessions", "list", "--json", env=distributed.env)
    assert len(json.loads(done.stdout)["items"]) == 1
    listed = json.loads(called("parked", "list", "--json", env=distributed.env).stdout)["items"]
    assert len(listed) == len(BAD)


def test_a_parked_input_is_shown_corrected_replayed_and_discarded(
    distributed: Distributed, session_worker: Program, ingress_worker: Program, tmp_path: Path
) -> None:
    env = distributed.env
    workers = [session_worker, ingress_worker]

    async def two_parked() -> None:
        body = as_bytes(envelope(data={"address": {**ADDRESS, "platform": "My Space"}}))
        await publish(distributed.amqp_url, body, "one")
        await publish(distributed.amqp_url, b"rubbish", "two")
        await parked_in(distributed.store_url, 2, workers)

    asyncio.run(two_parked())
    rows = {row["message_id"]: row for row in json.loads(called("parked", "list", "--json", env=env).stdout)["items"]}
    shown = json.loads(called("parked", "show", rows["one"]["parked_id"], "--json", env=env).stdout)
    mended = tmp_path / "mended.json"
    mended.write_text(shown["body"].replace("My Space", "web"))
    replayed = called("parked", "replay", rows["one"]["parked_id"], "--body", str(mended), env=env)
    assert replayed.returncode == 0, replayed.stderr
    assert called("parked", "discard", rows["two"]["parked_id"], env=env).returncode == 0
    assert "Nothing is parked" in called("parked", "list", env=env).stderr
    kept = json.loads(called("parked", "list", "--all", "--json", env=env).stdout)["items"]
    assert {row["message_id"]: row["status"] for row in kept} == {"one": "replayed", "two": "discarded"}
    assert called("parked", "replay", "no-such-id", env=env).returncode == 1


@pytest.mark.parametrize("command", ["publish", "worker"])
def test_a_broker_that_is_down_is_waited_for_and_given_up_with_a_clear_error(command: str, mongo_url: str) -> None:
    arguments = {"publish": ("publish", "hello"), "worker": ("worker", "session", "--store", mongo_url)}[command]
    url = f"amqp://guest:secret@127.0.0.1:{free_port()}/"
    done = agentbus(*arguments, "--amqp", url, "--wait", "1")
    assert done.returncode == 1
    assert "broker_waiting" in done.stderr
    assert "broker_unavailable" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_broker_that_comes_up_late_is_waited_for(amqp_url: str, tmp_path: Path) -> None:
    """To whom it is not there yet it is one that nothing leads to."""
    parts, port = urlsplit(amqp_url), free_port()
    late = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{LOOPBACK}:{port}").geturl()
    env = {"AGENTBUS_AMQP_URL": late, "AGENTBUS_PARTITIONS": "2"}
    waiting = ("-m", "agentbus", "topology", "declare", "--wait", str(2 * PATIENCE))
    with started(*waiting, folder=tmp_path, env=env) as declaring:
        declaring.until_printed("broker_waiting")
        assert parts.hostname is not None
        assert parts.port is not None
        async with Proxy((parts.hostname, parts.port), port=port):
            assert await asyncio.to_thread(declaring.process.wait, PATIENCE) == 0, declaring.output()


def test_a_wrong_password_is_told_at_once(amqp_url: str) -> None:
    wrong = amqp_url.replace("guest:guest", "guest:wrong")
    assert wrong != amqp_url
    done = called("topology", "declare", "--amqp", wrong)
    assert done.returncode == 1
    assert "broker_rejected" in done.stderr
    assert "wrong@" not in done.stderr


def test_a_store_that_is_missing_is_given_up_with_a_clear_error(amqp_url: str) -> None:
    store = f"mongodb://ada:secret@127.0.0.1:{free_port()}/none"
    done = agentbus("worker", "session", "--amqp", amqp_url, "--store", store, "--wait", "1")
    assert done.returncode == 1
    assert "store_unavailable" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("store", "told"),
    [
        ("sqlite:////no/such/folder/sessions.db", "folder"),
        ("cassandra://host/keyspace", "mongodb"),
        ("redis://localhost/a", "redis"),
    ],
)
def test_a_store_url_that_cannot_be_is_told(store: str, told: str) -> None:
    done = called("sessions", "list", "--store", store)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_settings_are_named() -> None:
    done = called("topology", "show", env={"AGENTBUS_PARTITIONS": "many"})
    assert done.returncode == 1
    assert "AGENTBUS_PARTITIONS" in done.stderr


def test_a_bad_file_and_a_bad_session_id_are_told(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.json"
    rubbish.write_text("{ not json")
    done = called("replay", str(rubbish), "--format", "telegram")
    assert done.returncode == 1
    assert "rubbish.json" in done.stderr
    assert called("sessions", "show", "nonsense", "--store", "memory://").returncode == 2
