"""`agentbus up`: everything on this machine for a try, and nothing of it left afterwards."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped]  # its types are a package of their own

from agentbus.operations.up.servers import Programs, _has_user, _mongod
from agentbus.storage.factory import open_store
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program, agentbus, started
from tests.services.programs import erlang_program, mongod_program


def told_by(program: Program) -> dict[str, str]:
    """Wait until it is up, and return what it printed."""
    program.until_printed("}\n")
    told: dict[str, str] = json.loads(re.sub(r"(?s)^[^{]*", "", program.output()))
    return told


def say_hello(told: dict[str, str]) -> dict[str, Any]:
    """Publish by HTTP; return the session that it came to."""
    message = {
        "address": {"platform": "web", "chat": "lobby", "user": "ada"},
        "content": {"kind": "text", "text": "Hi"},
    }
    with httpx.Client(base_url=told["address"], headers={"Authorization": f"Bearer {told['key']}"}) as client:
        published = client.post("/v1/messages", json=message, timeout=PATIENCE)
        assert published.json()["committed"], published.text
        [session] = client.get("/v1/sessions", timeout=PATIENCE).json()["items"]
    found: dict[str, Any] = session
    return found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_in_one_process_it_works_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    with started("-m", "agentbus", "up", "--embedded", "--port", "0", "--json", folder=tmp_path, env=env) as program:
        told = told_by(program)
        assert say_hello(told)["message_count"] == 1
        assert httpx.get(f"{told['address']}/v1/sessions", timeout=PATIENCE).status_code == 401
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(PATIENCE) == 0
    assert list(tmp_path.glob("agentbus-up-*")) == []


def test_with_servers_of_its_own_which_end_with_it_though_it_is_killed(tmp_path: Path) -> None:
    path = os.pathsep.join((os.environ["PATH"], str(mongod_program().parent), str(erlang_program("epmd").parent)))
    env = {"TMPDIR": str(tmp_path), "PATH": path}
    with started("-m", "agentbus", "up", "--servers", "--port", "0", "--json", folder=tmp_path, env=env) as program:
        told = told_by(program)
        assert say_hello(told)["message_count"] == 1
        reached = {"AGENTBUS_AMQP_URL": told["amqp_url"], "AGENTBUS_STORE_URL": told["store_url"]}
        assert agentbus("publish", "hello", "--user", "ada", env=reached).returncode == 0
        servers = psutil.Process(program.process.pid).children(recursive=True)
        assert {one.name() for one in servers} >= {"epmd", "mongod", "beam.smp"}
        program.kill()
    until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in servers))
    until(lambda: list(tmp_path.glob("agentbus-up-*")) == [])


async def test_a_user_that_was_made_before_its_answer_came_is_there(tmp_path: Path) -> None:
    programs = Programs(rabbitmq="", epmd="", mongod=str(mongod_program()))
    async with _mongod(programs, tmp_path) as url, open_store(url) as store:
        assert (await store.info()).name == "agentbus"
        port = urlsplit(url).port
        assert port
        assert await _has_user(port, "another try's")


def test_without_the_servers_it_says_what_is_missing(tmp_path: Path) -> None:
    refused = agentbus("up", "--servers", env={"PATH": str(tmp_path)})
    assert refused.returncode == 1
    assert "mongod not found on PATH" in refused.stderr.replace("\n", " ")
