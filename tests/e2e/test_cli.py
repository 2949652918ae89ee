"""The command line, as an operator uses it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentbus.cli import app
from tests.e2e.conftest import Distributed
from tests.harness.cli import called
from tests.harness.processes import ROOT, agentbus, started
from tests.services import free_port


@pytest.mark.usefixtures("session_worker")
def test_publish_list_show_and_park(distributed: Distributed, tmp_path: Path) -> None:
    env = distributed.env
    receipt = json.loads(agentbus("publish", "hello [there]", "--user", "ada", "--json", env=env).stdout)
    assert receipt["confirmed"] is True
    # The session's beginning may be announced only now: the tail is as soon there as the worker.
    watching = ("events", "tail", "session.message.*", "--count", "1")
    with started("-m", "agentbus", *watching, folder=tmp_path, env=env) as tail:
        tail.until_printed("listening")
        called("publish", "again", "--user", "ada", env=env)
        assert tail.process.wait(30) == 0
    assert "session.message.api" in tail.output()
    (session,) = json.loads(called("sessions", "list", "--user", "ada", "--json", env=env).stdout)["items"]
    assert "hello [there]" in called("sessions", "history", session["session_id"], env=env).stdout
    shown = json.loads(called("sessions", "show", session["session_id"], "--json", env=env).stdout)
    assert shown["message_count"] == 2


@pytest.mark.usefixtures("session_worker", "ingress_worker")
def test_doctor_is_content_with_a_running_system(distributed: Distributed) -> None:
    done = called("doctor", "--json", env=distributed.env)
    assert done.returncode == 0, done.stderr
    assert {finding["check"]: finding["health"] for finding in json.loads(done.stdout)} == {
        "broker": "ok",
        "declared": "ok",
        "topology": "ok",
        "consumers": "ok",
        "ingress": "ok",
        "backlog": "ok",
        "store": "ok",
        "encryption": "ok",
        "installation": "ok",
        "clock": "ok",
        "workers": "ok",
        "replies": "ok",
        "parked": "ok",
    }


def test_doctor_says_what_to_do_when_nothing_is_there() -> None:
    env = {
        "AGENTBUS_AMQP_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        "AGENTBUS_STORE_URL": f"mongodb://127.0.0.1:{free_port()}/none",
    }
    done = called("doctor", "--wait", "0.5", env=env)
    assert done.returncode == 1
    assert "AGENTBUS_AMQP_URL" in done.stdout
    assert "AGENTBUS_STORE_URL" in done.stdout


def test_doctor_points_at_a_missing_topology(distributed: Distributed) -> None:
    done = called("doctor", env=distributed.env)
    assert done.returncode == 1
    assert "agentbus topology declare" in done.stdout


def test_a_topology_that_exists_with_other_arguments_is_named(distributed: Distributed) -> None:
    env = distributed.env
    assert called("topology", "declare", env=env).returncode == 0
    assert called("topology", "declare", env=env).returncode == 0, "declaring twice is fine"


def test_topology_shows_what_would_be_declared() -> None:
    shown = json.loads(called("topology", "show", "--partitions", "4", "--json").stdout)
    assert [queue["name"] for queue in shown["queues"]] == [
        "agentbus.parked",
        "agentbus.ingress",
        *(f"agentbus.inbound.{number}" for number in range(4)),
    ]
    assert "4 partitions in all" in called("topology", "show", "--partitions", "4").stdout


def test_contracts_export_writes_what_is_committed_and_refuses_to_break_it(tmp_path: Path) -> None:
    assert called("contracts", "export", str(tmp_path)).returncode == 0
    committed = ROOT / "contracts" / "schema" / "v1"
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == sorted(path.name for path in committed.glob("*.json"))
    for name in written:
        assert (tmp_path / name).read_text() == (committed / name).read_text()
    schema = json.loads((tmp_path / "input.json").read_text())
    schema["properties"]["gone"] = {"type": "string"}
    schema["required"].append("gone")
    (tmp_path / "event.json").write_text((tmp_path / "event.json").read_text().replace('"sequence"', '"sequenz"'))
    done = called("contracts", "export", str(tmp_path))
    assert done.returncode == 1
    assert "event.json" in done.stderr


def test_every_command_has_help_that_teaches() -> None:
    runner = CliRunner()
    top = agentbus("--help").stdout
    for command in ("demo", "replay", "worker", "sessions", "events", "parked", "topology", "contracts", "doctor"):
        assert command in top
        assert runner.invoke(app, [command, "--help"]).exit_code == 0
    assert "agentbus demo" in top
