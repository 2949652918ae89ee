"""`agentbus worker all`: every kind in one process, behind one port."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from agentbus.contracts.members import WorkerKind
from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.collector import Collector, collecting
from tests.harness.processes import started
from tests.platforms.webhook import signed

COMMAND: Final = ("-m", "agentbus", "worker", "all", "--http-port", "0")
PATIENCE: Final = 90.0
SECRET: Final = "whsec_c2VjcmV0c2VjcmV0"  # noqa: S105 - nobody's


def shown(env: dict[str, str], *arguments: str) -> Any:
    done = called(*arguments, "--json", env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_keeps_sessions_routes_syncs_and_answers_probes(distributed: Distributed, tmp_path: Path) -> None:
    channels = {"webhook": {"shop": {"secret": SECRET}}}
    env = distributed.env | {
        "AGENTBUS_CHANNELS": json.dumps(channels),
        "AGENTBUS_GATEWAY_PORT": "0",
        "AGENTBUS_API_IN_ALL": "true",
        "AGENTBUS_API_PORT": "0",
        "AGENTBUS_BACKUP_URL": f"file://{tmp_path}/backups",
        "AGENTBUS_TRACES": "parent",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (
        collecting() as collector,
        started(*COMMAND, folder=tmp_path, env={**env, **collector.environment}) as program,
    ):
        program.until_printed("serving_http")
        port = re.search(r"serving_http.*port=(\d+)", program.output())
        assert port is not None
        at = f"http://127.0.0.1:{port[1]}"
        ready = until_ready(at)
        assert set(ready["workers"]) == {kind.value for kind in WorkerKind}
        assert httpx.get(f"{at}/live").status_code == 200
        metrics = httpx.get(f"{at}/metrics").text
        for kind in ("session", "sync", "expiry", "tracking", "backup"):
            assert f'agentbus_owned_partitions{{worker="{kind}"}} 8.0' in metrics
        until_listed(distributed.env, {kind.value for kind in WorkerKind})
        gateway = re.search(r"worker_started\s+port=(\d+)", program.output())
        assert gateway is not None
        post(f"http://127.0.0.1:{gateway[1]}/channels/webhook/shop")
        until_committed(distributed.env, "ada")
        assert sent(httpx.get(f"{at}/metrics").text, "inbound") > 0
        until_traced(collector)
        program.until_printed("backup_made")
        begun = time.monotonic()
        assert program.stop() == 0
        assert time.monotonic() - begun < PATIENCE / 3
    assert shown(distributed.env, "workers", "list")["items"] == []


def sent(metrics: str, where: str) -> float:
    """Return how many messages were confirmed, by what the metrics tell."""
    labels = f'messaging_destination_template="{where}",messaging_operation_name="publish",messaging_system="rabbitmq"'
    found = re.search(rf"^messaging_client_sent_messages_total\{{{labels}\}} (\S+)$", metrics, re.MULTILINE)
    assert found, metrics
    return float(found[1])


def until_traced(collector: Collector) -> None:
    """Wait for a trace that goes from what was published to what reacted to it."""
    wanted = {"commit", *(f"{what} {where}" for what in ("publish", "process") for where in ("inbound", "events"))}
    deadline = time.monotonic() + PATIENCE
    while not any(wanted <= names for names in traces_in(collector)):
        assert time.monotonic() < deadline, traces_in(collector)
        time.sleep(0.1)


def traces_in(collector: Collector) -> list[set[str]]:
    """Return the names of each trace's spans, without the prefix of their exchanges."""
    found: dict[bytes, set[str]] = {}
    for span in collector.spans():
        what, _, where = span.name.partition(" ")
        found.setdefault(span.trace_id, set()).add(f"{what} {where.rpartition('.')[2]}".strip())
    return list(found.values())


def post(to: str) -> None:
    """Post a message as a platform does, twice, and once with another signature."""
    body = json.dumps({"chat": "lobby", "user": "ada", "text": "hello"}).encode()
    request = signed(SECRET, body, told="1", at=datetime.now(UTC))
    for _ in range(2):
        assert httpx.post(to, content=body, headers=dict(request.headers)).status_code == 200
    assert httpx.post(to, content=body + b" ", headers=dict(request.headers)).status_code == 401


def until_ready(at: str) -> Any:
    """Ask until the process is ready, and return what it says of itself."""
    deadline = time.monotonic() + PATIENCE
    while (answer := httpx.get(f"{at}/ready")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return answer.json()


def until_listed(env: dict[str, str], kinds: set[str]) -> None:
    """Ask until there are workers of these kinds."""
    deadline = time.monotonic() + PATIENCE
    while (found := {row["kind"] for row in shown(env, "workers", "list")["items"]}) != kinds:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def until_committed(env: dict[str, str], user: str) -> None:
    """Ask until there is one session, of a user."""
    deadline = time.monotonic() + PATIENCE
    while not (found := shown(env, "sessions", "list")["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert user in json.dumps(found)
